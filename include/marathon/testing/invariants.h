// Invariants: what must hold of every run, checked after every write that a store answered. It keeps a
// model of each run (history so far, what is pending) and says at once when a write breaks a promise.
//
//   I1  one terminal event, and it is the last
//   I2  event ids without gaps, history only grows
//   I3  what was acknowledged stays, byte by byte
//   I4  once faults stop, every run ends in bounded time
//   I5  each timer fires once, not early, and not when it was canceled
//   I6  each acknowledged signal is in history once, in the order acknowledged
//   I7  one outcome an activity; no claim after it; each claim a newer epoch; live sessions keep theirs
//   I8  the result is what an oracle without crashes says; every result was really worked for
//   I9  history survives decoding and encoding, and replays
//   I10 in the end nothing is left: no message, no activity, no timer, no session
//   I11 each acknowledged update is accepted and answered once, or rejected, which leaves no event
//   I12 a paused run goes no further: no turn, and no attempt begins; a deleted one was closed
//   I13 a run has the labels that its history says, and is listed and counted by them
//   I14 only the build that a run is pinned to takes its turns
//   I15 a stream has each step's frames once, in order, and last those of the attempt that completed; who listens
//       misses none
//   I16 a blob that was kept reads as what it was
//   I17 no more permits are given than fit into a limit and have flowed into it, and none in a pause
//   I18 all runs of a chain have the priority of its first
//   I19 of those with one concurrency key no more are at work than may
//   I20 of payloads beside the histories nothing is left when the runs are forgotten; that they read as what they were
//       is in I3 and I8
//   I21 with a payload codec, no payload is stored that it has not sealed
//
// This class checks I1, I2, I3, I5, I6, I7, I9's bytes, I11's events, I12, I13's rows, I14 and I18; the Simulator the
// rest.
// AuditedStateStore feeds it. Not safe from several threads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/state_store.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing {

class Invariants {
 public:
  struct Activity {
    Epoch epoch = 0;        // of its last claim
    Epoch resumes = 0;      // since then; each begins a new epoch if nobody has it
    bool resolved = false;  // its outcome is in the inbox, or in history, or nobody wants it
    bool owed = false;      // to be resolved even so, and after its run has ended
    ActivityPolicy policy;

    bool IsAt(Epoch at) const { return at >= epoch && at <= epoch + resumes; }
  };
  struct Run {
    RunKey key;
    EventId version = 0;
    bool closed = false;
    RunStatus status = RunStatus::kRunning;
    Time marker{};                        // of the last turn
    Time not_before{};                    // of the first
    std::vector<std::string> records;
    std::map<EventId, Activity> activities;
    std::set<EventId> locals;             // local activities that have not ended
    std::map<EventId, Time> timers;       // pending: when they are due
    std::map<EventId, uint64_t> fired;    // messages that timers put into the inbox
    std::map<EventId, Time> canceled;     // activities that the code canceled: when
    std::map<std::pair<EventId, Epoch>, SessionId> claims;  // all that the store knows of, also of what has ended
    std::vector<std::string> put;         // signals acknowledged, by payload, in order
    std::vector<std::string> received;    // signals in history
    size_t kept_signals = 0;              // of these: those of the turns that a fork has kept
    EventBody end;                        // once closed
    bool cancel_requested = false;
    std::map<EventId, std::string> updates;  // accepted and not completed: their ids
    RunKey chain;                         // its chain's first run
    RunKey next;                          // once closed: the run that goes on, if one does
    std::optional<ActivityKey> parent;    // of its chain
    std::optional<uint8_t> priority;      // of its chain; none: not known yet
    std::map<EventId, std::string> children;  // their workflow ids
    bool paused = false;
    std::string pinned;                   // empty: it is not
    bool deleted = false;
    bool dead_letter = false;             // an activity was given up because it met too many crashes
  };

  // Empty: all is well. Else the first promise that was broken, where and when.
  const std::string& violation() const { return violation_; }
  const RunKey& culprit() const { return culprit_; }  // the run that it is about
  // Told of every write in a line each.
  void SetTrace(std::function<void(const std::string&)> trace) { trace_ = std::move(trace); }
  // Told of each activity that is held as a dead letter.
  void SetOnHeld(std::function<void(const ActivityKey&)> on_held) { on_held_ = std::move(on_held); }
  void Report(std::string_view which, const RunKey& run, std::string_view what);

  const std::map<RunKey, Run>& runs() const { return runs_; }
  const Run* Find(const RunKey& key) const;
  // The newest run of the chain that `key` is in.
  const Run* FindLast(const RunKey& key) const;
  // A run that is open, or owes something; null: there is none. `orphans`: also children whose parents know nothing
  // of them, as a store that lost its tail may leave.
  const Run* FindUnsettled(bool orphans) const;
  // A child whose parent knows nothing of it.
  bool IsOrphan(const Run& run) const;
  // Nobody waits for the activity's outcome any more.
  bool IsResolved(const ActivityKey& key) const;
  // When its run's code canceled what `session` claimed at `epoch`. kNever: it did not, or the store knows nothing of
  // that claim, as it has lost it: whoever made it is told nothing.
  Time CanceledAt(const ActivityKey& key, Epoch epoch, const SessionId& session) const;
  uint64_t commits() const { return commits_; }
  uint64_t dead_letters() const { return dead_letters_; }

  // The store went back in time: all that was applied is told again, up to where it is now.
  void Forget();

  // ---- What was applied, with the store's time of it.
  void Started(const StartRequest& request, const StartReply& reply, Time now);
  void Put(const PutRequest& request, const PutReply& reply);
  void Committed(const TurnCommit& commit, Time now);
  void Taken(const RunSnapshot& taken);
  void Paused(const RunKey& run, bool paused);  // or resumed
  void Pinned(const RunKey& run, const std::string& build_id);
  void Deleted(const RunKey& run);
  void Claimed(const std::vector<ActivityRow>& rows);
  void Ended(const AttemptEnd& end, const AttemptReply& reply);
  void SessionRenewed(const SessionId& session, Time now, Duration lease);
  void SessionClosed(const SessionId& session) { sessions_.erase(session); }
  void SessionExpired(const SessionId& session, Time now);

  // Compares a run as the store has it with what was acknowledged, byte by byte.
  void Compare(const RunSnapshot& stored);

 private:
  void Apply(Run& run, const TurnCommit& commit, Time now);
  void Keep(Run& run, const StartRequest& request, Time now);
  void Apply(Run& run, const Event& event, const TurnCommit& commit, Time now);
  void Inbound(Run& run, const Event& event, Time now);
  void Answered(const Run& run, const TurnCommit& commit);
  void CheckBuild(Run& run, const TurnCommit& commit);
  void ActivityResolved(Run& run, EventId scheduled, const Failure* failure);
  void Continued(const Run& run, const NextRun& next);
  void Closed(Run& run, const TurnCommit& commit, const EventBody& end);

  std::map<RunKey, Run> runs_;
  std::map<std::pair<std::string, std::string>, std::string> starts_;  // (id, request) to run id
  std::map<SessionId, Time> sessions_;
  std::set<std::pair<RunKey, std::string>> accepted_;  // (chain, update id)
  uint64_t commits_ = 0;
  uint64_t dead_letters_ = 0;
  std::string violation_;
  std::function<void(const std::string&)> trace_;
  std::function<void(const ActivityKey&)> on_held_;
  RunKey culprit_;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/invariants-inl.h"
#endif
