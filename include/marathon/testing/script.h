// Script: an activity that gives prepared outcomes, one a call, and the last one again and again. It can
// stand wherever an activity's code can: in TestEnvironment::Mock, and in Registry::Bind.
//
//   env.Mock(kCharge, Script<std::string>().Fails("the line is busy", 2).Returns("receipt-1"));
//
// Copies go on in one common script. Not safe from several threads while it is being written.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/failure.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::testing {

template <class Out>
class Script {
 public:
  using Answer = std::conditional_t<std::is_void_v<Out>, Status, StatusOr<Out>>;

  Script& Returns(std::conditional_t<std::is_void_v<Out>, std::monostate, Out> value = {},
                  int times = 1) {
    if constexpr (std::is_void_v<Out>) {
      return Add(Status(), times);
    } else {
      return Add(std::move(value), times);
    }
  }
  Script& Fails(Failure failure, int times = 1) {
    return Add(FailureStatus(failure), times);
  }
  Script& Fails(std::string message, int times = 1) {
    return Fails(Failure{.type = "Scripted", .message = std::move(message)}, times);
  }

  int calls() const { return static_cast<int>(state_->calls.load()); }

  // An activity's callable, with an input and without.
  Answer operator()(ActivityContext&) const { return Next(); }
  template <class In>
    requires(!std::is_same_v<In, ActivityCompletion<Out>>)
  Answer operator()(ActivityContext&, const In&) const {
    return Next();
  }

 private:
  struct State {
    std::vector<Answer> answers;
    std::atomic<size_t> calls{0};
  };

  Script& Add(Answer answer, int times) {
    state_->answers.insert(state_->answers.end(), static_cast<size_t>(times), std::move(answer));
    return *this;
  }
  Answer Next() const {
    const size_t call = state_->calls.fetch_add(1);
    if (state_->answers.empty()) {
      return FailureStatus({.non_retryable = true, .message = "a Script without Returns or Fails"});
    }
    return state_->answers[std::min(call, state_->answers.size() - 1)];
  }

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace marathon::inline MARATHON_ABI::testing
