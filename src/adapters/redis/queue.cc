// RedisStore: its part of the task queue, and what other processes push.
//
// A hint goes to a receiver of this process if one is parked, else into a sorted set of its queue, each once; there the
// smallest priority is first, and of one the oldest.
// Whoever receives looks there before it waits; the first hint in an empty set wakes all who wait.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// After so many looks without being told anything, it is said: a server that comes back is not heard at once.
constexpr int kDeafLooks = 3;

}  // namespace

// ---- Giving

// Leaves in `hints` those that receivers of this process wait for, or all for a queue of another domain.
void RedisStore::WriteHints(RedisStep& step, std::vector<TaskHint>& hints, bool given_back) {
  if (hub_.outlet() != nullptr) return;
  // A turn's goes behind the others, as LocalHub::Nack has it.
  const auto place = [given_back](const TaskHint& hint) {
    return given_back && hint.kind == TaskKind::kActivity ? "first" : "last";
  };
  std::map<std::pair<TaskKind, std::string>, size_t> taken;
  std::erase_if(hints, [&](const TaskHint& hint) {
    size_t& here = taken[{hint.kind, hint.task_queue}];
    if (here < hub_.ParkedFor(hint)) {
      ++here;
      return false;
    }
    const SessionId& session = hint.preferred;
    RedisCommand first(keys_.QueueChannel(hint.kind, hint.task_queue), step.Key(keys_.hint_counter), place(hint), session);
    if (session.empty()) {
      first.Add(0).Add(0).Add(0);
    } else {
      first.Add(step.Key(keys_.receivers)).Add(step.Key(keys_.Queue(hint.kind, hint.task_queue, session)))
          .Add(step.Key(keys_.OwnQueues(session)));
    }
    step.Gather("hint", keys_.Queue(hint.kind, hint.task_queue, ""), first, int64_t{hint.priority}, RedisName(hint));
    return true;
  });
}

void RedisStore::SendHints(std::vector<TaskHint> hints, DoneStatus done, bool given_back) {
  RedisStep step;
  WriteHints(step, hints, given_back);
  Effects here;
  here.hints = std::move(hints);
  Publish(std::move(here));
  if (step.writes() == 0) return done(Status());
  script_.Send(std::move(step), std::nullopt,
               [done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                 done(reply.status());
               });
}

// ---- Taking

void RedisStore::StopFetching(const SessionId& session) {
  receiving_.erase(session);
  ReturnOwnQueues(session);
}

void RedisStore::ReturnStranded() {
  if (hub_.outlet() != nullptr) return;
  std::vector<TaskHint> hints = hub_.TakeStranded();
  for (TaskHint& hint : hints) hint.preferred.clear();  // it is one of those
  if (!hints.empty()) shared_.send_hints(std::move(hints));
}

void RedisStore::Fetch(const ReceiveRequest& request) {
  if (!hub_.IsParked(request)) return;
  RedisStep step;
  for (const std::string& name : request.task_queues) {
    const std::string channel = keys_.QueueChannel(request.kind, name);
    if (!listeners_.contains(channel)) {
      Listen(channel, [this, kind = request.kind, name](auto) { FetchFor(kind, name); });
    }
    step.Read("take", keys_.Queue(request.kind, name, request.session), std::max(request.max, 1),
              step.Key(keys_.Queue(request.kind, name, "")));
  }
  // Last: a server without memory refuses it, but not behind a hint that has been taken.
  if (receiving_.insert(request.session).second) {
    step.Read("SADD", keys_.receivers, request.session);
  }
  script_.Send(std::move(step), std::nullopt, [this, request](const StatusOr<RedisStepReply>& reply) {
    if (!reply.ok()) {
      receiving_.erase(request.session);
      look_again_.Set(kLookAgain);
      return;
    }
    std::vector<TaskHint> taken;
    for (size_t i = 0; i < request.task_queues.size(); ++i) {
      const RedisReply names = reply->replies[i];
      for (size_t j = 0; j < names.size(); ++j) {
        TaskHint hint{.kind = request.kind, .task_queue = request.task_queues[i]};
        if (ParseHintName(names[j].text(), &hint)) taken.push_back(std::move(hint));
      }
    }
    hub_.GiveTo(request, std::move(taken));
    ReturnStranded();
  });
}

void RedisStore::FetchFor(TaskKind kind, const std::string& task_queue) {
  for (const ReceiveRequest& parked : hub_.ParkedRequests()) {
    const auto& names = parked.task_queues;
    if (parked.kind == kind && std::find(names.begin(), names.end(), task_queue) != names.end()) {
      Fetch(parked);
    }
  }
}

// The session receives no more, so no hint is put into its own queues any more.
void RedisStore::ReturnOwnQueues(const SessionId& session) {
  RedisStep stop;
  stop.Read("SREM", keys_.receivers, session);
  stop.Read("SMEMBERS", keys_.OwnQueues(session));
  script_.Send(std::move(stop), std::nullopt, [this, session](
                                                  const StatusOr<RedisStepReply>& reply) {
    if (!reply.ok() || reply->replies[1].size() == 0) return;
    RedisStep back;
    for (size_t i = 0; i < reply->replies[1].size(); ++i) {
      const std::string own(reply->replies[1][i].text());
      const std::string queue = own.substr(0, own.size() - session.size());
      back.Write("give_back", keys_.OwnQueues(session), keys_.WakeChannel(queue), back.Key(own), back.Key(queue));
    }
    script_.Send(std::move(back), std::nullopt, [](const StatusOr<RedisStepReply>&) {});
  });
}

// ---- Pushes

void RedisStore::Listen(const std::string& channel, Listener listener) {
  listeners_[channel] = std::move(listener);
  subscriber_.SendForPushes(RedisCommand("SUBSCRIBE", channel), 1);
}

void RedisStore::OnPush(const RedisReply& message) {
  const std::string_view kind = message[0].text();
  if (kind == "subscribe") {
    hears_ = true;
    deaf_looks_ = 0;
    if (!deaf_for_.empty()) shared_.warned.erase(std::exchange(deaf_for_, {}));
  }
  const auto found = listeners_.find(std::string(message[1].text()));
  if (found == listeners_.end()) return;
  const Listener listener = found->second;  // it may change the map
  if (kind == "subscribe") listener(std::nullopt);
  if (kind == "message") listener(message[2].text());
}

// What others wrote while nobody listened may be due sooner than all that is known here.
void RedisStore::LookAtDue() {
  RedisStep step;
  step.Read("ZRANGE", keys_.due, 0, 0, "WITHSCORES");
  step.Read("ZRANGE", keys_.due_sessions, 0, 0, "WITHSCORES");
  script_.Send(std::move(step), std::nullopt, [this](const StatusOr<RedisStepReply>& reply) {
    if (!reply.ok()) return;
    Effects effects;
    for (size_t i = 0; i < 2; ++i) {
      if (reply->replies[i].size() > 1) effects.NoteDue(reply->replies[i][1].time());
    }
    Publish(std::move(effects));
  });
}

// For what may have been missed: by a receiver, an awaiter or a reader, and of what is due.
void RedisStore::LookForAll() {
  for (const ReceiveRequest& parked : hub_.ParkedRequests()) Fetch(parked);
  LookAtDue();
  for (const RunKey& run : hub_.AwaitedRuns()) LookAtAwaited(run);
  for (const std::string& stream : streams_) {
    for (const auto& reader : shared_.readers.Of(stream)) LookForFrames(reader);
  }
}

// Pushed, not polled; but for as long as nothing can be pushed, or the server has refused to give what was asked for.
void RedisStore::LookAgain() {
  if (opening_) return;
  if (!hears_) look_again_.Set(kLookAgain);
  if (!commands_.connected()) return;  // it looks when it is
  if (!hears_ && ++deaf_looks_ >= kDeafLooks && deaf_for_.empty() && !subscriber_.status().ok()) {
    deaf_for_ = fmt::format("Redis at {} does not tell what others do, and is asked every {} s instead: {}", commands_.Name(),
                            kLookAgain / 1'000'000, MessageOf(subscriber_.status()));
    WarnOf(deaf_for_);
  }
  LookForAll();
}

}  // namespace marathon::inline MARATHON_ABI::detail
