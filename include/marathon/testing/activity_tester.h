// ActivityTester: runs an activity's code alone, with the context that a worker would give it, and no engine.
//
//   ActivityTester tester({.attempt = 3});
//   EXPECT_EQ(tester.Run(Charge, order).value(), "receipt-1");
//   EXPECT_EQ(tester.Heartbeats<int>(), (std::vector<int>{50, 100}));
//
// Input, result and heartbeats go through JSON, as they do in a worker. A failure comes as FailureStatus
// (status.h); GetFailure gives it back.
//
// Thread rule: one thread calls; the activity may use its context and its completion from any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/activity.h"
#include "marathon/adapters/memory_blobs.h"
#include "marathon/adapters/memory_limiter.h"
#include "marathon/adapters/memory_streams.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/detail/callables.h"
#include "marathon/status.h"
#include "marathon/testing/manual_clock.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

struct ActivityTesterOptions {
  int attempt = 1;
  ActivityKey key{{"test-workflow", "test-run"}, 3};  // idempotency_key() follows from it
  std::string activity_type = "test";
  std::string workflow_type = "test";
  Headers headers{};
  // What LastHeartbeat() finds of an earlier attempt; see Encode (codec.h).
  Payload last_heartbeat{};
  // Called at each heartbeat; it may call Cancel().
  std::function<void(const Payload& details)> on_heartbeat{};
};

class ActivityTester {
 public:
  explicit ActivityTester(ActivityTesterOptions options = {}) : options_(std::move(options)) {}

  // Runs it once, and waits until it has completed, on whatever thread. kUnavailable: it said CompleteLater(), or Postpone().
  template <class Fn, class In>
  auto Run(Fn fn, const In& input) {
    return RunAs<typename marathon::detail::CallableTraits<Fn>::Signature>(std::move(fn), Encode(input));
  }
  template <class Fn>
  auto Run(Fn fn) {
    return RunAs<typename marathon::detail::CallableTraits<Fn>::Signature>(std::move(fn), Payload());
  }
  template <class Out, class In, class Fn>
  auto Run(const ActivityDef<Out(In)>&, Fn fn, const std::type_identity_t<In>& input) {
    marathon::detail::CheckActivity<Out(In), Fn>();
    return RunAs<Out(In)>(std::move(fn), Encode<In>(input));
  }

  // Fires the stop token, as a cancel does. Before Run: it is fired from the start.
  void Cancel() { stop_.request_stop(); }

  // Lets time pass for ActivityContext::elapsed(), which begins anew with each Run.
  void Advance(Duration by) { clock_.Advance(by); }

  // The details of all heartbeats so far. REQUIRES: they are of that type.
  template <class T>
  std::vector<T> Heartbeats() const {
    std::vector<T> heartbeats;
    for (const Payload& details : attempt_->heartbeats()) heartbeats.push_back(Decode<T>(details).value());
    return heartbeats;
  }
  size_t heartbeat_count() const { return attempt_->heartbeats().size(); }

  // What the activity finds as ctx.blobs(), ctx.streams() and ctx.limiter(): of this tester alone, and kept over its runs.
  BlobStore& blobs() { return *blobs_; }
  StreamLog& streams() { return *streams_; }
  Limiter& limiter() { return *limiter_; }

 private:
  class Attempt final : public marathon::detail::ActivityAttempt {
   public:
    Attempt(std::function<void(const Payload&)> on_heartbeat, const Clock& clock, std::stop_token stop)
        : on_heartbeat_(std::move(on_heartbeat)), clock_(clock), begun_(clock.Now()), stop_(std::move(stop)) {}

    Status Heartbeat(Payload details) override {
      {
        std::lock_guard lock(mutex_);
        if (result_.has_value()) return FailedPrecondition("the activity has completed");
        heartbeats_.push_back(details);
      }
      if (on_heartbeat_) on_heartbeat_(details);
      return {};
    }
    StatusOr<std::string> Detach() override {
      std::lock_guard lock(mutex_);
      if (result_.has_value()) return FailedPrecondition("the activity has completed");
      result_.emplace(marathon::detail::CompletesLater());
      ended_.notify_all();
      return "token";
    }
    Duration Elapsed() const override {
      return std::chrono::duration_cast<Duration>(clock_.Now() - begun_);
    }
    bool Canceled() const override { return stop_.stop_requested(); }
    void Finish(marathon::detail::AttemptResult result) override {
      std::lock_guard lock(mutex_);
      if (!result_.has_value()) result_.emplace(std::move(result));
      ended_.notify_all();
    }
    marathon::detail::AttemptResult Wait() {
      std::unique_lock lock(mutex_);
      ended_.wait(lock, [this] { return result_.has_value(); });
      return *result_;
    }
    std::vector<Payload> heartbeats() const {
      std::lock_guard lock(mutex_);
      return heartbeats_;
    }

   private:
    const std::function<void(const Payload&)> on_heartbeat_;
    const Clock& clock_;
    const Time begun_;
    const std::stop_token stop_;
    mutable std::mutex mutex_;
    std::condition_variable ended_;
    std::vector<Payload> heartbeats_;
    std::optional<marathon::detail::AttemptResult> result_;
  };

  template <class Signature, class Fn>
  auto RunAs(Fn fn, const StatusOr<Payload>& input)
      -> std::conditional_t<std::is_void_v<typename marathon::detail::DefTypes<Signature>::Out>, Status,
                            StatusOr<typename marathon::detail::DefTypes<Signature>::Out>> {
    using Out = typename marathon::detail::DefTypes<Signature>::Out;
    if (!input.ok()) return input.status();
    const StatusOr<Payload> result = RunEncoded(marathon::detail::MakeActivity<Signature>(std::move(fn)), *input);
    if (!result.ok()) return result.status();
    if constexpr (std::is_void_v<Out>) {
      return Status();
    } else {
      return Decode<Out>(*result);
    }
  }
  StatusOr<Payload> RunEncoded(const marathon::detail::ActivityEntry& entry, const Payload& input) {
    attempt_ = std::make_shared<Attempt>(options_.on_heartbeat, clock_, stop_.get_token());
    ActivityInfo info{options_.key, options_.activity_type, options_.workflow_type, "default",
                      options_.attempt, 0, options_.attempt, options_.headers};
    ActivityContext context(std::move(info), options_.last_heartbeat, stop_.get_token(), attempt_, *blobs_,
                            *streams_, *limiter_);
    entry.run(context, input, attempt_);
    const marathon::detail::AttemptResult result = attempt_->Wait();
    if (const auto* payload = std::get_if<Payload>(&result)) return *payload;
    if (const auto* failure = std::get_if<Failure>(&result)) return FailureStatus(*failure);
    if (const auto* postponed = std::get_if<marathon::detail::Postponed>(&result)) {
      return Unavailable("the activity is postponed by " + std::to_string(postponed->delay.count()) + " ms");
    }
    return Unavailable("the activity said CompleteLater(): its outcome comes from elsewhere");
  }

  ActivityTesterOptions options_;
  ManualClock clock_;
  std::shared_ptr<BlobStore> blobs_ = NewMemoryBlobs(clock_);
  std::shared_ptr<StreamLog> streams_ = NewMemoryStreams(clock_);
  std::shared_ptr<Limiter> limiter_ = NewMemoryLimiter(clock_);
  std::stop_source stop_;
  std::shared_ptr<Attempt> attempt_ = std::make_shared<Attempt>(nullptr, clock_, std::stop_token());
};

}  // namespace marathon::inline MARATHON_ABI::testing
