// What a conformance suite needs of an adapter: a store and its queue over a clock that can be
// turned. A test program brings one StoreHarness and names it:
//
//   class MyHarness final : public StoreHarness { … };
//   INSTANTIATE_TEST_SUITE_P(My, StateStoreConformance, ::testing::Values(HarnessMaker{
//       "My", [] { return std::unique_ptr<StoreHarness>(new MyHarness); }}));
//
// Used by one thread, the test's; the store may answer from others.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <utility>

#include "marathon/backend.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

class StoreHarness {
 public:
  virtual ~StoreHarness() = default;

  // At first of a store that is new and empty. Store and queue have one domain.
  virtual Ports& ports() = 0;
  virtual void Advance(std::chrono::microseconds by) = 0;

  // Called again and again while a test waits: lets pending calls come further. A store that
  // answers from its own threads lets them; one that answers inline has nothing to do.
  virtual void Pump() {}
  // Closes the store and opens its data again, as the next process would. False: it is not durable.
  virtual bool Reopen() { return false; }
  // Has the store, which is still empty, keep closed runs for so long, and up to about so many bytes. False: it cannot.
  virtual bool KeepClosed(Duration, int64_t) { return false; }
  // Whether closing the store ends its sessions, as a file lock that is let go of does.
  virtual bool SessionsEndWithTheStore() { return false; }
  // Whether a hint that prefers a session waits for it wherever it is. Of a queue that cannot address sessions,
  // anyone may get it.
  virtual bool HintsWaitForTheirSession() { return true; }
  // Whether waiting hints come by their priority and age. A queue that promises no order gives them as it likes.
  virtual bool HintsComeInOrder() { return true; }
  // Whether blobs, streams and limits are forgotten by the clock that Advance turns. A server that expires them goes by
  // its own.
  virtual bool ForgetsByItsClock() { return true; }
  // How many entries of the due index all polls so far have looked at, if the adapter can tell.
  virtual std::optional<int64_t> DueVisited() { return std::nullopt; }
};

struct HarnessMaker {
  const char* name;
  std::unique_ptr<StoreHarness> (*make)();

  friend void PrintTo(const HarnessMaker& maker, std::ostream* out) { *out << maker.name; }
};

// Where an answer arrives, from whatever thread.
template <class T>
class AnswerSlot {
 public:
  void Set(T value) {
    const std::lock_guard lock(mutex_);
    value_.emplace(std::move(value));
  }
  bool has_value() const {
    const std::lock_guard lock(mutex_);
    return value_.has_value();
  }
  T Take() {
    const std::lock_guard lock(mutex_);
    return *std::exchange(value_, std::nullopt);
  }

 private:
  mutable std::mutex mutex_;
  std::optional<T> value_;
};

inline constexpr int kPumpsMax = 100'000;  // then an answer is taken not to come

// Calls `call(done)` and waits for what `done` is called with.
template <class Result, class Call>
Result Await(StoreHarness& harness, Call call) {
  auto slot = std::make_shared<AnswerSlot<Result>>();
  call([slot](Result result) { slot->Set(std::move(result)); });
  for (int i = 0; i < kPumpsMax && !slot->has_value(); ++i) harness.Pump();
  if (slot->has_value()) return slot->Take();
  ADD_FAILURE() << "the store never answered";
  return Result(DeadlineExceeded("no answer"));
}

}  // namespace marathon::inline MARATHON_ABI::testing
