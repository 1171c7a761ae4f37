// PacedCall: one call's dealings with the limiter. Before it is made, it takes a request and as many tokens as it may
// need; afterwards it gives back what it did not, and passes on what the provider says of its limits.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/client.h"
#include "marathon/llm/embed.h"
#include "marathon/llm/error.h"
#include "marathon/llm/pace.h"
#include "marathon/time.h"
#include "src/net/http_loop.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

// What a request may need, in tokens: four bytes of text are one, a picture is as much as a page. The answer is counted
// with what it may have at most, if that is said.
int64_t EstimateTokens(const ChatRequest& request);
int64_t EstimateTokens(const EmbedRequest& request);

class PacedCall {
 public:
  // REQUIRES: pace.limiter is not null.
  PacedCall(const Pace& pace, const Endpoint& endpoint, std::string_view model, int64_t tokens);

  // Whether the call may be made now. Take() says what the answer, which may come on any thread, means: go (0), wait so
  // long and ask again, or the error that the call ends with.
  void Ask(Done<Permit> done);
  std::variant<Duration, Error> Take(const StatusOr<Permit>& permit);

  // It is being made.
  void Sent() { sent_ = true; }
  // The head of an answer, whatever it is.
  void Heard(const marathon::detail::HttpReply& head, Time now);
  void Answered(const Usage& usage);
  // `done` is called once others are held off, if the error says so; on any thread.
  void Failed(const Error& error, Callback<void()> done);

 private:
  void Settle(SettleLimit settle, DoneStatus done);

  Limiter* limiter_;  // null: the store has none
  const std::string key_;
  const bool counts_cached_;
  const int64_t requests_per_minute_, tokens_per_minute_;
  const int64_t tokens_;
  Time permit_{};
  bool taken_ = false;  // and not put off
  bool sent_ = false;
  bool told_ = false;  // the provider counts
};

}  // namespace marathon::inline MARATHON_ABI::llm::internal
