// Gather: one answer out of many, when the last of them has come.
//
// Answers may come on any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

template <class Result>
class Gather {
 public:
  using All = Callback<void(std::vector<Result>)>;

  // `count` is at least one.
  Gather(size_t count, All done) : state_(std::make_shared<State>(count, std::move(done))) {}

  // Where answer number `i` goes.
  Callback<void(Result)> Place(size_t i) const {
    return [state = state_, i](Result result) {
      state->results[i] = std::move(result);
      if (state->left.fetch_sub(1) == 1) state->done(std::move(state->results));
    };
  }

 private:
  struct State {
    State(size_t count, All all) : results(count), left(count), done(std::move(all)) {}
    std::vector<Result> results;
    std::atomic<size_t> left;
    All done;
  };
  std::shared_ptr<State> state_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
