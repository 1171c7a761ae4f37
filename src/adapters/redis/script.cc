#include "script.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "gather.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

bool IsError(const RedisConnection::Reply& reply, std::string_view code) {
  return reply.ok() && reply->is_error() && reply->text().starts_with(code);
}

}  // namespace

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
  SendHere(std::make_unique<Call>(std::move(step), now, std::move(done)), /*in_full=*/false);
}

RedisCommand RedisScript::CommandHere(const Call& call, bool in_full) {
  RedisCommand arguments;
  if (const RedisShapes::Script* own = shapes_.For(call.step, arguments)) {
    return in_full ? call.step.Command("EVAL", own->text, call.now, arguments)
                   : call.step.Command("EVALSHA", own->digest, call.now, arguments);
  }
  return in_full ? call.step.Command("EVAL", kRedisStepScript, call.now)
                 : call.step.Command("EVALSHA", digest_, call.now);
}

RedisCommand RedisScript::CommandThere(const Call& call, bool in_full) const {
  return in_full ? call.step.Command("EVAL", kRedisStepScript, call.now, absent_)
                 : call.step.Command("EVALSHA", digest_, call.now, absent_);
}

// To the server that has the slot.
void RedisScript::SendHere(std::unique_ptr<Call> call, bool in_full) {
  const RedisCommand command = CommandHere(*call, in_full);
  connection_.Send(command, [this, in_full, call = std::move(call)](const RedisConnection::Reply& reply) mutable {
    if (!in_full && IsError(reply, "NOSCRIPT")) return SendHere(std::move(call), /*in_full=*/true);
    if (IsError(reply, "ASK")) return FollowRedirect(std::move(call), std::string(reply->text()));
    Answer(reply, *call);
  });
}

// The step can be done there when none of its keys is left here; none comes back while the slot is on the move. Before 7.0.3,
// Redis also sends away whoever names keys of which only some have left. So each is asked for by itself: if that is sent
// away, too, the key has left.
void RedisScript::FollowRedirect(std::unique_ptr<Call> call, std::string redirect) {
  const std::optional<RedisPlace> there = RedisNodes::RedirectOf(redirect, connection_.Place());
  const size_t count = call->step.keys();
  if (!there || count == 0) return call->done(StatusOfError(redirect));
  std::vector<RedisCommand> looks;
  for (size_t place = 1; place <= count; ++place) looks.emplace_back("EXISTS", call->step.KeyAt(place));
  const Gather<RedisConnection::Reply> gather(
      count, [this, there = *there, redirect = std::move(redirect),
              call = std::move(call)](const std::vector<RedisConnection::Reply>& replies) mutable {
        for (const RedisConnection::Reply& reply : replies) {
          if (reply.ok() && reply->is_error() && reply->text() == redirect) continue;
          return call->done(Unavailable(fmt::format("only some keys of the step have moved yet: {}", redirect)));
        }
        SendThere(std::move(call), there, /*in_full=*/false);
      });
  for (size_t i = 0; i < count; ++i) connection_.Send(looks[i], gather.Place(i));
}

// To the one that is about to get the slot, which is not asked to send it on: two that did so would never end.
void RedisScript::SendThere(std::unique_ptr<Call> call, const RedisPlace& there, bool in_full) {
  RedisCommand command = CommandThere(*call, in_full);
  redirects_.Send(there, std::move(command),
                  [this, there, in_full, call = std::move(call)](const RedisConnection::Reply& reply) mutable {
                    if (!in_full && IsError(reply, "NOSCRIPT")) return SendThere(std::move(call), there, /*in_full=*/true);
                    Answer(reply, *call);
                  });
}

void RedisScript::Answer(const RedisConnection::Reply& reply, Call& call) {
  Status status = reply.ok() ? Status() : reply.status();
  if (reply.ok() && reply->is_error()) status = StatusOfError(reply->text());
  if (status.code() == StatusCode::kUnknown && !call.step.changes()) status = Unavailable(MessageOf(status));
  if (!status.ok()) return call.done(std::move(status));
  const Time time = FromMicros(reply->is_array() ? (*reply)[1].number() : reply->number());
  const auto outcome = static_cast<RedisStepReply::Outcome>((*reply)[0].number());  // 0, if it is no array
  if (outcome == RedisStepReply::Outcome::kWrongTime) {
    clock_.Correct(time);
  } else {
    clock_.Learn(time);
  }
  call.done(RedisStepReply{outcome, (*reply)[2]});
}

}  // namespace marathon::inline MARATHON_ABI::detail
