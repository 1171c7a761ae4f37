// RedisStore: the calls about runs and activities.
#include "store.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "operation.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- Runs

void RedisStore::Start(StartRequest request, Done<StartReply> done) {
  std::string lane = RedisLanes::OfWorkflow(request.run.workflow_id);
  const RunKey run = request.run;
  Enqueue<StatusOr<StartReply>>(
      std::move(lane), Together::kNo,
      [this, request = std::move(request)](RedisTransaction& tx) {
        tx.tables.GuessNoRun();
        StatusOr<StartReply> reply = tx.protocol().Start(StartRequest(request));
        if (hears_ && tx.tables.NoteEndOf(request.run)) noted_ends_.Add(request.run);  // before anybody can end it
        return reply;
      },
      Stamped<StartReply>([this, run, done = std::move(done)](StatusOr<StartReply> reply) mutable {
        if (!reply.ok() || !reply->started) noted_ends_.Remove(run);
        done(std::move(reply));
      }));
}

void RedisStore::Put(PutRequest request, Done<PutReply> done) {
  std::string lane = RedisLanes::OfWorkflow(request.run.workflow_id);
  Enqueue<StatusOr<PutReply>>(
      std::move(lane), Together::kYes,
      [request = std::move(request)](RedisTransaction& tx) {
        return tx.protocol().Put(PutRequest(request));
      },
      Stamped(std::move(done)));
}

void RedisStore::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  std::string lane = RedisLanes::OfWorkflow(request.run.workflow_id);
  Enqueue<StatusOr<RunSnapshot>>(
      std::move(lane), Together::kNo,
      [request = std::move(request)](RedisTransaction& tx) {
        return tx.protocol().TakeTurn(request);
      },
      Stamped(OnTurnLane(std::move(done))));
}

void RedisStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  std::string lane = RedisLanes::OfWorkflow(commit.run.workflow_id);
  Enqueue<StatusOr<CommitReply>>(
      std::move(lane), Together::kNo,
      [this, commit = std::move(commit)](RedisTransaction& tx) -> StatusOr<CommitReply> {
        if (commit.incarnation != 0 && commit.incarnation != incarnation_) {
          return Aborted("the connection to Redis has been lost since the turn began");
        }
        return tx.protocol().Commit(TurnCommit(commit));
      },
      OnTurnLane(std::move(done)));
}

void RedisStore::Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) {
  std::string lane = RedisLanes::OfWorkflow(run.workflow_id);
  Enqueue<Status>(
      std::move(lane), Together::kNo,
      [run = std::move(run), version, info = std::move(info)](RedisTransaction& tx) {
        return tx.protocol().Block(run, version, BlockInfo(info));
      },
      std::move(done));
}

void RedisStore::Unblock(RunKey run, DoneStatus done) {
  std::string lane = RedisLanes::OfWorkflow(run.workflow_id);
  Enqueue<Status>(
      std::move(lane), Together::kNo,
      [run = std::move(run)](RedisTransaction& tx) { return tx.protocol().Unblock(run); },
      std::move(done));
}

// ---- What operators do

void RedisStore::Pause(RunKey run, std::string reason, DoneStatus done) {
  std::string lane = RedisLanes::OfWorkflow(run.workflow_id);
  Enqueue<Status>(
      std::move(lane), Together::kNo,
      [run = std::move(run), reason = std::move(reason)](RedisTransaction& tx) {
        return tx.protocol().Pause(run, std::string(reason));
      },
      std::move(done));
}

void RedisStore::Resume(RunKey run, DoneStatus done) {
  std::string lane = RedisLanes::OfWorkflow(run.workflow_id);
  Enqueue<Status>(
      std::move(lane), Together::kNo,
      [run = std::move(run)](RedisTransaction& tx) { return tx.protocol().Resume(run); },
      std::move(done));
}

void RedisStore::Pin(RunKey run, std::string build_id, DoneStatus done) {
  std::string lane = RedisLanes::OfWorkflow(run.workflow_id);
  Enqueue<Status>(
      std::move(lane), Together::kNo,
      [run = std::move(run), build_id = std::move(build_id)](RedisTransaction& tx) {
        return tx.protocol().Pin(run, std::string(build_id));
      },
      std::move(done));
}

void RedisStore::RetryActivity(ActivityKey key, DoneStatus done) {
  std::string lane = RedisLanes::OfWorkflow(key.run.workflow_id);
  Enqueue<Status>(
      std::move(lane), Together::kNo,
      [key = std::move(key)](RedisTransaction& tx) { return tx.protocol().RetryActivity(key); },
      std::move(done));
}

void RedisStore::Delete(RunKey run, DoneStatus done) {
  std::string lane = RedisLanes::OfWorkflow(run.workflow_id);
  Enqueue<Status>(
      std::move(lane), Together::kNo,
      [run = std::move(run)](RedisTransaction& tx) { return tx.protocol().Delete(run); },
      std::move(done));
}

// ---- Activities

// Claims of different workflow ids are steps of their own; a lost one is only a hint that was wrong.
void RedisStore::ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                                 Done<std::vector<ActivityRow>> done) {
  using Claimed = StatusOr<std::optional<ActivityRow>>;
  struct Claims {
    Done<std::vector<ActivityRow>> done;
    std::vector<Claimed> replies;
    size_t left = 0;
  };
  auto claims = std::make_shared<Claims>();
  claims->done = std::move(done);
  claims->left = requests.size();
  claims->replies.resize(requests.size(), std::optional<ActivityRow>());
  if (requests.empty()) return claims->done(std::vector<ActivityRow>());
  for (size_t i = 0; i < requests.size(); ++i) {
    std::string lane = RedisLanes::OfWorkflow(requests[i].key.run.workflow_id);
    Enqueue<Claimed>(
        std::move(lane), Together::kYes,
        [session, request = std::move(requests[i])](RedisTransaction& tx) -> Claimed {
          RedisProtocol protocol = tx.protocol();
          if (Status status = protocol.SessionKnown(session); !status.ok()) return status;
          return protocol.Claim(session, request);
        },
        [claims, i](Claimed reply) {
          claims->replies[i] = std::move(reply);
          if (--claims->left > 0) return;
          std::vector<ActivityRow> won;
          Status error;
          bool in_doubt = false;
          for (Claimed& one : claims->replies) {
            if (!one.ok()) {
              error = one.status();
              in_doubt |= error.code() == StatusCode::kUnknown;
            } else if (one->has_value()) {
              won.push_back(**std::move(one));
            }
          }
          if (error.ok()) return claims->done(std::move(won));
          // Nobody else would look for what was won, and perhaps for some of what failed: the caller is
          // to look at each.
          if (won.empty() && !in_doubt) return claims->done(std::move(error));
          claims->done(Unknown(MessageOf(error)));
        });
  }
}

void RedisStore::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  std::string lane = RedisLanes::OfWorkflow(end.key.run.workflow_id);
  Enqueue<StatusOr<AttemptReply>>(
      std::move(lane), Together::kYes,
      [this, end = std::move(end)](RedisTransaction& tx) -> StatusOr<AttemptReply> {
        if (end.incarnation != 0 && end.incarnation != incarnation_) {
          return FailedPrecondition("the connection to Redis has been lost since the attempt did its work");
        }
        return tx.protocol().EndAttempt(AttemptEnd(end));
      },
      std::move(done));
}

void RedisStore::Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) {
  std::string lane = RedisLanes::OfWorkflow(request.key.run.workflow_id);
  Enqueue<StatusOr<HeartbeatReply>>(
      std::move(lane), Together::kYes,
      [request = std::move(request)](RedisTransaction& tx) {
        return tx.protocol().Heartbeat(HeartbeatRequest(request));
      },
      std::move(done));
}

// ---- Reading

void RedisStore::Read(ReadRequest request, Done<RunSnapshot> done) {
  std::string lane = RedisLanes::OfWorkflow(request.run.workflow_id);
  Enqueue<StatusOr<RunSnapshot>>(
      std::move(lane), Together::kNo,
      [request = std::move(request)](RedisTransaction& tx) { return tx.protocol().Read(request); },
      Stamped(OnTurnLane(std::move(done))));
}

// ---- Awaiters

uint64_t RedisStore::Await(AwaitRequest request, Done<RunSnapshot> done) {
  const uint64_t name = hub_.AddAwaiter(request, std::move(done));
  const bool before_end = request.after || !request.update_id.empty();
  if (before_end || !noted_ends_.Has(request.run)) AwaitAnswer(name, request);
  return name;
}

// The answer that there is. If there is none, whoever makes it true will tell this store.
void RedisStore::LookForAnswer(const AwaitRequest& request, Callback<void(Answer)> done) {
  Enqueue<Answer>(
      RedisLanes::OfWorkflow(request.run.workflow_id), Together::kNo,
      [this, request](RedisTransaction& tx) -> Answer {
        if (request.run.run_id.empty()) return tx.protocol().Read({.run = request.run});  // which one?
        const bool before_end = request.after || !request.update_id.empty();
        if (!before_end) tx.tables.GuessClosed(request.run);
        Answer answer = tx.protocol().ReadAwaited(request);
        if (!answer.ok() || answer->has_value()) return answer;
        tx.tables.writes().Write("await", keys_.Run(RedisName(request.run)), writer_.id, before_end ? "e" : "w");
        return answer;
      },
      std::move(done));
}

void RedisStore::AwaitAnswer(uint64_t awaiter, const AwaitRequest& request) {
  LookForAnswer(request, [this, awaiter, request](Answer answer) {
    if (answer.ok() && !answer->has_value()) return;
    if (answer.ok() && request.run.run_id.empty()) {  // the newest run of now, whatever comes later
      AwaitRequest newest = request;
      newest.run = (*answer)->row.key;
      hub_.MoveAwaiter(awaiter, newest.run);
      return AwaitAnswer(awaiter, newest);
    }
    Done<RunSnapshot> done = hub_.TakeAwaiter(awaiter);
    if (!done) return;
    if (answer.ok()) {
      done(**std::move(answer));
    } else {
      done(answer.status());
    }
  });
}

// Something has become true of it, or may have while this store did not listen.
void RedisStore::LookAtAwaited(const RunKey& run) {
  if (run.run_id.empty()) return;
  const auto mine = static_cast<size_t>(partition_);
  if (RedisPartitionOf(run.workflow_id, static_cast<size_t>(partitions_)) != mine) return;  // another's
  for (const AwaitRequest& request : hub_.AwaitedOf(run)) {
    LookForAnswer(request, [this, request](Answer answer) {
      if (answer.ok() && answer->has_value()) return hub_.AnswerAwaiters({request, **std::move(answer)});
      if (answer.ok() || !commands_.connected()) return;  // it is noted; or the next connection looks again
      hub_.AnswerAwaiters({request, answer.status()});
    });
  }
}

// ---- Effects

void RedisStore::SpreadInStep(RedisTransaction& tx) {
  RedisStep& writes = tx.tables.writes();
  WriteHints(writes, tx.effects.hints);
  for (const auto& [session, activity] : tx.effects.canceled) {
    const std::string channel = keys_.CancelChannel(session);
    if (listeners_.contains(channel)) continue;  // it is here
    writes.Write("tell", keys_.sessions, channel, RedisName(activity));
  }
  const auto tell = [&](std::string_view verb, const RunKey& run) {
    if (!tx.tables.IsNew(run)) {  // nobody awaits what is not there
      const std::string name = RedisName(run);
      writes.Write(verb, keys_.Run(name), keys_.StoreChannel(""), name, writer_.id);
    }
    for (AwaitRequest& request : hub_.AwaitedOf(run)) {
      Answer answer = tx.protocol().ReadAwaited(request);
      if (answer.ok() && answer->has_value()) {
        tx.awaited.push_back({std::move(request), **std::move(answer)});
      }
    }
  };
  const std::vector<RunKey>& closed = tx.effects.closed;
  for (const RunKey& run : tx.effects.answered) {
    if (std::find(closed.begin(), closed.end(), run) == closed.end()) tell("answered", run);
  }
  for (const RunKey& run : closed) tell("closed", run);
}

void RedisStore::Publish(Effects&& effects) {
  effects.due = InCommonTime(effects.due);
  hub_.Publish(std::move(effects));
}

void RedisStore::SpreadHere(Effects&& effects, std::vector<Awaited>&& awaited) {
  const std::vector<RunKey> closed = std::move(effects.closed);
  const bool hinted = !effects.hints.empty();
  Publish(std::move(effects));
  if (hinted) ReturnStranded();
  for (const RunKey& run : closed) noted_ends_.Remove(run);
  for (const Awaited& one : awaited) hub_.AnswerAwaiters(one);
  for (const RunKey& run : closed) LookAtAwaited(run);  // whose awaiters came after that
}

}  // namespace marathon::inline MARATHON_ABI::detail
