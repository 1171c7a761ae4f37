// RedisStore: the calls about runs and activities.
#include "store.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "operation.h"

namespace marathon::inline MARATHON_ABI::detail {

// These replies may be followed by user code, which may hang, and would hold up all others on the loop.
template <class Reply>
Done<Reply> RedisStore::OnTurnLane(Done<Reply> done) {
  return [this, done = std::move(done)](StatusOr<Reply> reply) mutable {
    shared_.runtime.Post(Lane::kTurn, [done = std::move(done), reply = std::move(reply)]() mutable {
      done(std::move(reply));
    });
  };
}

Done<RunSnapshot> RedisStore::Stamped(Done<RunSnapshot> done) {
  return [this, done = std::move(done)](StatusOr<RunSnapshot> reply) mutable {
    if (reply.ok()) reply->incarnation = incarnation_;
    done(std::move(reply));
  };
}

// ---- Runs

void RedisStore::Start(StartRequest request, Done<StartReply> done) {
  std::string lane = RedisLanes::OfWorkflow(request.run.workflow_id);
  Enqueue<StatusOr<StartReply>>(
      std::move(lane), Together::kNo,
      [request = std::move(request)](RedisTransaction& tx) {
        tx.tables.GuessNoRun();
        return tx.protocol().Start(StartRequest(request));
      },
      std::move(done));
}

void RedisStore::Put(PutRequest request, Done<PutReply> done) {
  std::string lane = RedisLanes::OfWorkflow(request.run.workflow_id);
  Enqueue<StatusOr<PutReply>>(
      std::move(lane), Together::kYes,
      [request = std::move(request)](RedisTransaction& tx) {
        return tx.protocol().Put(PutRequest(request));
      },
      std::move(done));
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
      [end = std::move(end)](RedisTransaction& tx) {
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

// ---- Ends of runs

uint64_t RedisStore::AwaitClose(RunKey run, Done<RunSnapshot> done) {
  const uint64_t name = hub_.AddAwaiter(run, std::move(done));
  AwaitRun(name, run);
  return name;
}

// The end of a run that is closed. Of one that is open, none; and its closer will tell this store.
void RedisStore::LookForEnd(const RunKey& run, Callback<void(End)> done) {
  Enqueue<End>(
      RedisLanes::OfWorkflow(run.workflow_id), Together::kNo,
      [this, run](RedisTransaction& tx) -> End {
        End end = tx.protocol().ReadClosed(run);
        if (!end.ok() || end->has_value()) return end;
        if (run.run_id.empty()) return tx.protocol().Read({.run = run});  // open: which one is it?
        tx.tables.writes().Write("AWAIT", keys_.Run(RedisName(run)), writer_.id);
        return end;
      },
      std::move(done));
}

void RedisStore::AwaitRun(uint64_t awaiter, const RunKey& run) {
  LookForEnd(run, [this, awaiter, run](End end) {
    if (end.ok() && !end->has_value()) return;
    if (end.ok() && IsOpen((*end)->row)) {  // the newest run of now, whatever comes later
      const RunKey newest = (*end)->row.key;
      hub_.MoveAwaiter(awaiter, newest);
      return AwaitRun(awaiter, newest);
    }
    Done<RunSnapshot> done = hub_.TakeAwaiter(awaiter);
    if (!done) return;
    if (end.ok()) {
      done(**std::move(end));
    } else {
      done(end.status());
    }
  });
}

// It has ended, or may have while this store did not listen.
void RedisStore::LookAtAwaited(const RunKey& run) {
  if (run.run_id.empty() || !hub_.IsAwaited(run)) return;
  LookForEnd(run, [this, run](End end) {
    if (end.ok() && end->has_value()) return AnswerAwaiters(run, {**std::move(end)});
    if (end.status().code() != StatusCode::kNotFound) return;
    for (Done<RunSnapshot>& done : hub_.TakeAwaiters(run)) done(end.status());
  });
}

void RedisStore::AnswerAwaiters(const RunKey& run, const std::vector<RunSnapshot>& ends) {
  const auto end = std::find_if(ends.begin(), ends.end(),
                                [&](const RunSnapshot& one) { return one.row.key == run; });
  if (end == ends.end()) return LookAtAwaited(run);  // its awaiter came after the transaction had looked
  for (Done<RunSnapshot>& done : hub_.TakeAwaiters(run)) done(*end);
}

// ---- Effects

void RedisStore::SpreadInStep(RedisTransaction& tx) {
  RedisStep& writes = tx.tables.writes();
  WriteHints(writes, tx.effects.hints);
  for (const auto& [session, activity] : tx.effects.canceled) {
    const std::string channel = keys_.CancelChannel(session);
    if (listeners_.contains(channel)) continue;  // it is here
    writes.Write("TELL", keys_.sessions, channel, RedisName(activity));
  }
  for (const RunKey& run : tx.effects.closed) {
    const std::string name = RedisName(run);
    writes.Write("CLOSED", keys_.Run(name), keys_.StoreChannel(""), name, writer_.id);
    if (!hub_.IsAwaited(run)) continue;
    if (End end = tx.protocol().ReadClosed(run); end.ok() && end->has_value()) {
      tx.ends.push_back(**std::move(end));
    }
  }
}

void RedisStore::SpreadHere(Effects&& effects, std::vector<RunSnapshot>&& ends) {
  const std::vector<RunKey> closed = std::move(effects.closed);
  const bool hinted = !effects.hints.empty();
  hub_.Publish(std::move(effects));
  if (hinted) ReturnStranded();
  for (const RunKey& run : closed) {
    if (hub_.IsAwaited(run)) AnswerAwaiters(run, ends);
  }
}

}  // namespace marathon::inline MARATHON_ABI::detail
