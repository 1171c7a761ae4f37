#include "script.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {

std::string RedisScriptDigest() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_Digest(kRedisStepScript.data(), kRedisStepScript.size(), digest.data(), &size, EVP_sha1(),
             nullptr);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

Time RedisClock::Now() const {
  if (own_ != nullptr) return own_->Now();
  return FromMicros(RedisLoop::Now() + offset_.load(std::memory_order_relaxed));
}

void RedisClock::LearnOffset(Time server, bool at_least) {
  const int64_t offset = ToMicros(server) - RedisLoop::Now();
  if (!at_least || offset > offset_.load(std::memory_order_relaxed)) {
    offset_.store(offset, std::memory_order_relaxed);
  }
}

void RedisScript::Send(RedisStep step, std::optional<Time> now,
                       Callback<void(StatusOr<RedisStepReply>)> done) {
  if (!clock_.is_servers()) now.reset();
  if (nodes_.is_cluster()) step.Key(absent_);
  const RedisCommand command = step.Command("EVALSHA", digest_, now);
  connection_.Send(command, [this, now, step = std::move(step),
                             done = std::move(done)](RedisConnection::Reply reply) mutable {
    const bool writes = step.changes();
    const bool forgotten =
        reply.ok() && reply->is_error() && reply->text().starts_with("NOSCRIPT");
    if (!forgotten) return Answer(reply, writes, done);
    connection_.Send(
        step.Command("EVAL", kRedisStepScript, now),
        [this, writes, done = std::move(done)](RedisConnection::Reply again) mutable {
          Answer(again, writes, done);
        });
  });
}

void RedisScript::Answer(const RedisConnection::Reply& reply, bool writes,
                         Callback<void(StatusOr<RedisStepReply>)>& done) {
  Status status = reply.ok() ? Status() : reply.status();
  if (reply.ok() && reply->is_error()) status = StatusOfError(reply->text());
  if (status.code() == StatusCode::kUnknown && !writes) status = Unavailable(MessageOf(status));
  if (!status.ok()) return done(std::move(status));
  const Time time = FromMicros((*reply)[1].number());
  const auto outcome = static_cast<RedisStepReply::Outcome>((*reply)[0].number());
  if (outcome == RedisStepReply::Outcome::kWrongTime) {
    clock_.Correct(time);
  } else {
    clock_.Learn(time);
  }
  done(RedisStepReply{outcome, (*reply)[2]});
}

}  // namespace marathon::inline MARATHON_ABI::detail
