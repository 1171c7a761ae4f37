// Asks a port, and waits for what it answers.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "marathon/status.h"

namespace marathon::tests {

// `call` is given what to call with the reply. What takes longer than two minutes is DeadlineExceeded.
template <class Reply, class Call>
Reply Await(Call call) {
  auto reply = std::make_shared<std::promise<Reply>>();
  auto future = reply->get_future();
  call([reply](Reply given) { reply->set_value(std::move(given)); });
  if (future.wait_for(std::chrono::minutes(2)) != std::future_status::ready) return DeadlineExceeded("no answer");
  return future.get();
}

}  // namespace marathon::tests
