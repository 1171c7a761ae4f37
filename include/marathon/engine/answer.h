// The answer to an asynchronous call, for a thread that waits for it.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

// The answer to one call. Most come before the call returns: those need nothing to wait on.
template <class T>
struct Answer {
  StatusOr<T> value = absl::UnknownError("");

  void Give(StatusOr<T> given) {
    value = std::move(given);
    if (state_.exchange(State::kGiven, std::memory_order_acq_rel) == State::kWaited) ready_->Set();
  }
  void Wait(Runtime& runtime) {
    if (state_.load(std::memory_order_acquire) == State::kGiven) return;
    ready_ = runtime.NewOneShot();
    State asked = State::kAsked;
    if (state_.compare_exchange_strong(asked, State::kWaited, std::memory_order_acq_rel)) {
      ready_->Wait(OneShot::kForever);
    }
  }

 private:
  enum class State { kAsked, kWaited, kGiven };
  std::atomic<State> state_{State::kAsked};
  std::shared_ptr<OneShot> ready_;
};

// Gives an answer, in any case: a call that is dropped, with the threads that were to make it again, was
// given up.
template <class T>
class Answerer {
 public:
  explicit Answerer(std::shared_ptr<Answer<T>> answer) : answer_(std::move(answer)) {}
  Answerer(Answerer&& other) noexcept : answer_(std::move(other.answer_)) {}
  Answerer& operator=(Answerer&&) = delete;
  ~Answerer() {
    if (answer_) answer_->Give(Cancelled("the engine is shutting down"));
  }
  void operator()(StatusOr<T> value) { std::exchange(answer_, nullptr)->Give(std::move(value)); }

 private:
  std::shared_ptr<Answer<T>> answer_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
