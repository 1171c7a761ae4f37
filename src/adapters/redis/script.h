// RedisScript: sends steps to the server, and keeps its time.
//
// Send on the loop's thread only; the clock may be asked from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "connection.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/time.h"
#include "nodes.h"
#include "redirects.h"
#include "shape.h"
#include "step.h"

namespace marathon::inline MARATHON_ABI::detail {

extern const std::string_view kRedisStepScript;  // scripts/step.lua, with its parts

// The server's time as its replies tell it: behind it by no more than a reply needs, and never ahead, for
// as long as neither clock is set.
class RedisClock final : public Clock {
 public:
  // `own`: the clock to go by instead; null: the server's.
  explicit RedisClock(const Clock* own) : own_(own) {}

  Time Now() const override;
  bool is_servers() const { return own_ == nullptr; }
  void Learn(Time server) { LearnOffset(server, /*at_least=*/true); }
  // The server has refused what was thought to be its time.
  void Correct(Time server) { LearnOffset(server, /*at_least=*/false); }

 private:
  void LearnOffset(Time server, bool at_least);

  const Clock* const own_;
  std::atomic<int64_t> offset_{INT64_MIN};  // from RedisLoop::Now() to the server's time
};

// An instant by a clock which says `there` while another one says `here`, by that one.
inline Time InClock(Time at, Time there, Time here) {
  const Time::duration ahead = here - there;
  const bool overflows = ahead.count() > 0 && at > kNever - ahead;
  return at == kNever || overflows ? kNever : at + ahead;
}

struct RedisStepReply {
  enum class Outcome { kDone = 0, kCheckFailed = 1, kWrongTime = 2 };  // as the script answers
  Outcome outcome = Outcome::kDone;
  RedisReply replies;  // to the reads, when done
};

class RedisScript {
 public:
  // `absent`: a key of the same slot that is never there. While a slot of a cluster is on the move, a command that asks for
  // a key which is not there is refused: the whole script before it begins, if it names the key, or else only one of its
  // writes, behind others that have been made.
  RedisScript(RedisConnection& connection, RedisRedirects& redirects, const RedisNodes& nodes, std::string absent,
              RedisClock& clock)
      : connection_(connection),
        redirects_(redirects),
        nodes_(nodes),
        absent_(std::move(absent)),
        clock_(clock),
        digest_(RedisScriptDigest(kRedisStepScript)) {}

  // `now` is the time by which the step was made; none: it does not matter. An error reply becomes a
  // status; `writes` tells what an unknown one may have done.
  void Send(RedisStep step, std::optional<Time> now,
            Callback<void(StatusOr<RedisStepReply>)> done);

 private:
  struct Call {
    RedisStep step;
    std::optional<Time> now;
    Callback<void(StatusOr<RedisStepReply>)> done;
  };

  void SendHere(std::unique_ptr<Call> call, bool in_full);
  void FollowRedirect(std::unique_ptr<Call> call, std::string redirect);
  void SendThere(std::unique_ptr<Call> call, const RedisPlace& there, bool in_full);
  RedisCommand CommandHere(const Call& call, bool in_full);
  RedisCommand CommandThere(const Call& call, bool in_full) const;
  void Answer(const RedisConnection::Reply& reply, Call& call);

  RedisConnection& connection_;
  RedisRedirects& redirects_;
  const RedisNodes& nodes_;
  const std::string absent_;
  RedisClock& clock_;
  const std::string digest_;
  RedisShapes shapes_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
