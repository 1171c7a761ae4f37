// TestEnvironment: the production engine in virtual time and one thread, for tests of workflows. Waiting for
// anything skips the time until it happens, so a month's run takes milliseconds, and the same test always
// takes the same course.
//
//   TestEnvironment env(registry);
//   env.Mock(kCharge, [](const Order&) { return std::string("receipt-1"); });
//   auto run = env.engine().Start(kCheckout, order);
//   env.After(24h, [&] { run->Signal("approved", true).IgnoreError(); });
//   EXPECT_EQ(run->Result<std::string>().value(), "receipt-1");
//
// Every turn is replayed and compared, unless an option says otherwise. The store is the memory store.
// Activities run when they are due and take no virtual time, unless their mock says so; one that completes
// from another thread is for a mock.
//
// Not safe from several threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/activity.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/detail/callables.h"
#include "marathon/engine.h"
#include "marathon/log_sink.h"
#include "marathon/registry.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

struct TestEnvironmentOptions {
  Time start = FromMicros(1'893'456'000'000'000);  // 2030-01-01
  uint64_t seed = 1;  // another one orders what happens at the same instant otherwise
  std::vector<std::string> task_queues{"default"};  // all that the workflows and their activities use

  // As in EngineOptions. Of long loops, a replay of the whole run after every turn is too much.
  bool verify_determinism = true;
  size_t cache_runs = 10'000;
  double max_activities_per_second = 0;
  std::shared_ptr<LogSink> log{};

  // How long one Result without a timeout waits, in virtual time; then it gives kDeadlineExceeded, and what
  // the open runs wait for goes to the log.
  Duration patience = std::chrono::hours(24 * 366);
  // How much may happen in any one wait or Advance, in steps of the engine, a few for each turn and activity:
  // what goes round for ever is told, too.
  uint64_t max_steps = 100'000;
};

struct MockOptions {
  Duration delay{0};  // how long it takes, in virtual time; a stop token ends it earlier
};

// One attempt of an activity, mocked or not.
struct ActivityCall {
  ActivityInfo info;
  Payload input;
  Time at{};
  std::optional<StatusOr<Payload>> outcome{};  // none: it runs, or completes later
};

namespace internal {
class TestWorld;
}

class TestEnvironment {
 public:
  // Aborts with a message if the registry has mistakes. It is copied.
  explicit TestEnvironment(const Registry& registry, TestEnvironmentOptions options = {});
  TestEnvironment(const TestEnvironment&) = delete;
  TestEnvironment& operator=(const TestEnvironment&) = delete;
  // Ends the engine. What is still running is told to stop.
  ~TestEnvironment();

  // With all that an Engine and its Runs can do.
  Engine& engine() { return *engine_; }

  // ---- Time

  Time Now() const;
  // Lets `by` pass, and all happen that is due within.
  void Advance(Duration by);
  // Lets all happen that needs no time to pass.
  void RunUntilIdle();
  // Calls `work` at an instant, while something waits or advances. It may use the engine.
  void After(Duration delay, std::function<void()> work);
  void At(Time time, std::function<void()> work);

  // ---- Activities

  // From the next attempt on, the activity runs `fn`: any callable that Registry::Bind takes, or a Script.
  // The registry need not know it. An activity that neither is mocked nor bound fails for good.
  template <class Signature, class Fn>
  void Mock(const ActivityDef<Signature>& def, Fn fn, MockOptions options = {}) {
    marathon::detail::CheckActivity<Signature, Fn>();
    AddMock(def.name, marathon::detail::MakeActivity<Signature>(std::move(fn)), options);
  }
  template <class Fn>
  void Mock(std::string_view name, Fn fn, MockOptions options = {}) {
    using Signature = typename marathon::detail::CallableTraits<Fn>::Signature;
    AddMock(name, marathon::detail::MakeActivity<Signature>(std::move(fn)), options);
  }
  // As it was bound, or not, from the next attempt on.
  void Unmock(std::string_view name);

  // All attempts so far, in their order.
  std::vector<ActivityCall> Calls(std::string_view activity_type) const;
  template <class Signature>
  std::vector<ActivityCall> Calls(const ActivityDef<Signature>& def) const {
    return Calls(def.name);
  }
  // Their inputs. REQUIRES: they are of that type.
  template <class In>
  std::vector<In> Inputs(std::string_view activity_type) const {
    std::vector<In> inputs;
    for (const ActivityCall& call : Calls(activity_type)) inputs.push_back(Decode<In>(call.input).value());
    return inputs;
  }
  template <class Out, class In>
  std::vector<In> Inputs(const ActivityDef<Out(In)>& def) const {
    return Inputs<In>(def.name);
  }

  // The open runs and what they wait for, a line each, for people.
  std::string DescribeOpenRuns() const;

 private:
  void AddMock(std::string_view name, marathon::detail::ActivityEntry entry, MockOptions options);

  std::shared_ptr<internal::TestWorld> world_;
  std::optional<Engine> engine_;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/test_environment-inl.h"
#endif
