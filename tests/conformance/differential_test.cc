// needs: sqlite testing
// program: ports
// Memory against SQLite: the same random calls, drawn from a seed, on both, with a clock that is turned by
// the test. Every reply must be the same, field by field, and so must everything that can be read in the
// end. Whatever one store does and the other does not is found here without anybody having thought of it.
//
// Only what the port leaves open is set aside: the order of what is due, and how often a renewal names a
// canceled activity.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/event_codec.h"
#include "marathon/store/row_codec.h"
#include "marathon/testing/manual_clock.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/testing/store_harness.h"
#include "sqlite_harness.h"

namespace marathon::testing::differential_test {
namespace {

class MemoryHarness final : public StoreHarness {
 public:
  Ports& ports() override { return ports_; }
  void Advance(std::chrono::microseconds by) override { clock_.Advance(by); }

 private:
  ManualClock clock_;
  Ports ports_ = NewMemoryPorts(clock_);
};

// ---- Replies as text, so that a difference can be read

std::string Text(const RunKey& key) { return key.workflow_id + "/" + key.run_id; }
std::string Text(const ActivityKey& key) { return Text(key.run) + "#" + std::to_string(key.id); }
std::string Text(Time time) { return time == kNever ? "never" : std::to_string(ToMicros(time)); }
std::string Text(const RunRow& row) { return Text(row.key) + "=" + EncodeRow(row); }
std::string Text(const ActivityRow& row) { return Text(row.key) + "=" + EncodeRow(row); }
std::string Text(const std::string& text) { return text; }
std::string Text(const Message& message) {
  return std::to_string(message.seq) + message.dedupe_key + EncodeBody(message.body);
}
template <class T>
std::string Text(std::vector<T> items) {
  std::string text;
  for (const T& item : items) text += Text(item) + ";";
  return text;
}
template <class T>
std::string SortedText(std::vector<T> items) {
  std::sort(items.begin(), items.end());
  return Text(items);
}
std::string Text(const CommitReply& r) { return Text(r.now) + " " + std::to_string(r.inbox_size); }
std::string Text(const StartReply& r) {
  return Text(r.run) + (r.started ? " started" : "") + (r.mine ? " mine" : "") + Text(r.now);
}
std::string Text(const PutReply& r) {
  return Text(r.run) + (r.mine ? " mine" : "") + (r.duplicate ? " duplicate" : "");
}
std::string Text(const AttemptReply& r) {
  return std::string(r.applied ? "applied" : "gone") + (r.mine ? " mine" : "");
}
std::string Text(const HeartbeatReply& r) { return r.cancel_requested ? "cancel" : "go on"; }
std::string Text(const RunSnapshot& s) {
  return Text(s.row) + "|" + Text(s.records) + (s.more_records ? "…" : "") + "|" + Text(s.inbox) +
         "|" + Text(s.activities) + "|" + Text(s.now);
}
std::string Text(const DueReply& r) {
  std::vector<RunKey> runs;
  for (const RunRow& row : r.expired_runs) runs.push_back(row.key);
  std::vector<ActivityKey> activities;
  for (const ActivityRow& row : r.expired_activities) activities.push_back(row.key);
  return Text(r.now) + " next " + Text(r.next_due) + " ready " + SortedText(r.ready) +
         " activities " + SortedText(activities) + " runs " + SortedText(runs) + " sessions " +
         SortedText(r.expired_sessions);
}
std::string Text(const ListReply& r) {
  return Text(r.runs) + (r.next_page_token.empty() ? "" : "…") + " " + std::to_string(r.count);
}

template <class T>
std::string Text(const StatusOr<T>& reply) {
  return reply.ok() ? Text(*reply) : absl::StatusCodeToString(reply.status().code());
}
std::string Text(const Status& status) { return absl::StatusCodeToString(status.code()); }

// ---- The calls

// What the random caller knows of the world; the same for both stores, since their replies are.
struct Model {
  std::vector<SessionId> sessions{"s0", "s1", "s2"};
  std::map<RunKey, EventId> versions;              // of runs that were started
  std::map<ActivityKey, Epoch> activities;         // that were scheduled, with their last known epoch
  std::map<RunKey, std::vector<EventId>> timers;
  int next_run = 0;
  CommitId next_commit = 1;
  uint64_t renewals = 0;
};

class Pair {
 public:
  explicit Pair(uint64_t seed) : random_(seed) {
    stores_.push_back(std::make_unique<MemoryHarness>());
    stores_.push_back(std::make_unique<SqliteHarness>());
  }

  // Makes a call on both; the reply of the first.
  template <class Reply, class Call>
  Reply Both(const std::string& what, Call call) {
    std::vector<Reply> replies;
    for (auto& harness : stores_) {
      replies.push_back(Await<Reply>(
          *harness, [&](auto done) { call(*harness->ports().store, std::move(done)); }));
    }
    const std::string memory = Text(replies[0]), sqlite = Text(replies[1]);
    EXPECT_EQ(memory, sqlite) << "call " << calls_ << ": " << what;
    if (memory != sqlite) failed_ = true;
    ++calls_;
    ++seen_[what + " " + std::string(memory.substr(0, memory.find_first_of(" /=")))];
    return std::move(replies[0]);
  }
  template <class Request>
  Status Both(const std::string& what, void (StateStore::*method)(Request, DoneStatus),
              const Request& request) {
    return Both<Status>(what, [&](StateStore& store, auto done) {
      (store.*method)(request, std::move(done));
    });
  }
  template <class Request, class Reply>
  StatusOr<Reply> Both(const std::string& what, void (StateStore::*method)(Request, Done<Reply>),
                       const Request& request) {
    return Both<StatusOr<Reply>>(what, [&](StateStore& store, auto done) {
      (store.*method)(request, std::move(done));
    });
  }

  // The same, for calls whose reply nobody needs.
  template <class... Args>
  void Compare(Args&&... args) {
    static_cast<void>(Both(std::forward<Args>(args)...));
  }

  void Step() {
    // Within the second for which a run's owner is preferred, or beyond.
    const auto by = std::chrono::microseconds(
        random_.Chance(0.7) ? random_.Between(1'001, 199'999) : random_.Between(1'001, 9'999'999));
    for (auto& harness : stores_) harness->Advance(by);
    switch (random_.Below(22)) {
      case 0: return OpenSession();
      case 1: return EndSession();
      case 2: return Renew();
      case 3:
      case 4: return Start();
      case 5:
      case 6: return Put();
      case 7: return TakeTurn();
      case 8:
      case 9:
      case 10:
      case 11: return Commit();
      case 12: return Block();
      case 13: return Claim();
      case 14:
      case 15: return EndAttempt();
      case 16: return Heartbeat();
      case 17:
      case 18: return Poll();
      case 19:
      case 20: return Operate();
      default: return Read();
    }
  }

  void ReadEverything() {
    for (const auto& [run, version] : model_.versions) ReadRun(run);
    Compare("List", &StateStore::List, ListRequest{.limit = 1'000});
    Compare("List", &StateStore::List, ListRequest{.workflow_type = "One", .limit = 3});
    Compare("List", &StateStore::List, ListRequest{.status = RunStatus::kRunning});
    Compare("List", &StateStore::List, ListRequest{.blocked_only = true});
    Compare("List", &StateStore::List, ListRequest{.paused_only = true});
    Compare("List", &StateStore::List, ListRequest{.dead_letters_only = true});
    Compare("List", &StateStore::List, ListRequest{.pinned_to = "a"});
    Compare("List", &StateStore::List, ListRequest{.workflow_id_prefix = "w1"});
    for (const char* text : {"x", "y", "z"}) {
      ListRequest request{.attributes = {{"a", text}}, .limit = 2};
      Compare("List", &StateStore::List, request);
      request.status = RunStatus::kRunning;
      Compare("List", &StateStore::List, request);
      request.attributes.emplace_back("b", "x");
      request.count_only = true;
      Compare("Count", &StateStore::List, request);
    }
    Compare("Count", &StateStore::List, ListRequest{.workflow_type = "One", .count_only = true});
  }

  bool failed() const { return failed_; }
  const std::map<std::string, int>& seen() const { return seen_; }

 private:
  template <class Map>
  auto Any(const Map& map) {
    auto it = map.begin();
    std::advance(it, random_.Below(map.size()));
    return *it;
  }
  SessionId AnySession() { return model_.sessions[random_.Below(model_.sessions.size())]; }
  SessionId AnySessionOrNone() { return random_.Chance(0.2) ? SessionId() : AnySession(); }
  RunKey AnyRun() {
    if (model_.versions.empty() || random_.Chance(0.02)) return {"nobody", "nothing"};
    RunKey run = Any(model_.versions).first;
    if (random_.Chance(0.1)) run.run_id.clear();
    return run;
  }
  RunKey AnyExactRun() {
    RunKey run = AnyRun();
    if (run.run_id.empty()) run.run_id = "unknown";
    return run;
  }
  std::string Queue() { return random_.Chance(0.5) ? "fast" : "slow"; }
  Labels AnyLabels() {
    static constexpr const char* kTexts[] = {"x", "y", "z", ""};
    Labels labels;
    for (const char* name : {"a", "b"}) {
      if (random_.Chance(0.5)) labels.emplace_back(name, kTexts[random_.Below(4)]);
    }
    return labels;
  }
  Id AnyBuild() {
    static const char* const kBuilds[] = {"", "a", "a", "b"};
    return kBuilds[random_.Below(4)];
  }
  Payload AnyPayload() {
    return {std::string(random_.Below(random_.Chance(0.05) ? 20'000 : 50), 'p'), Encoding::kJson};
  }

  void OpenSession() {
    SessionRow row;
    row.id = AnySession();
    row.lease = Duration(random_.Between(5'000, 60'000));
    static_cast<void>(Both<StatusOr<Time>>("OpenSession", [&](StateStore& store, auto done) {
      store.OpenSession(row, {}, std::move(done));
    }));
  }
  void EndSession() {
    const SessionId id = AnySession();
    if (random_.Chance(0.5)) {
      Compare("ExpireSession", &StateStore::ExpireSession, id);
    } else {
      Compare("CloseSession", &StateStore::CloseSession, id);
    }
  }
  void Renew() {
    const SessionId id = AnySession();
    RenewRequest request;
    request.session = id;
    request.lease = Duration(random_.Between(5'000, 60'000));
    request.serial = random_.Chance(0.9) ? ++model_.renewals : model_.renewals;
    request.heard = random_.Chance(0.7);
    using Keys = StatusOr<std::vector<ActivityKey>>;
    static_cast<void>(Both<Keys>("RenewSession", [&](StateStore& store, auto done) {
      store.RenewSession(request, [done = std::move(done)](Keys keys) mutable {
        if (keys.ok()) {
          std::sort(keys->begin(), keys->end());
          keys->erase(std::unique(keys->begin(), keys->end()), keys->end());
        }
        done(std::move(keys));
      });
    }));
  }

  void Start() {
    StartRequest request;
    const bool again = random_.Chance(0.2);
    const int n = again ? static_cast<int>(random_.Below(model_.next_run + 1)) : model_.next_run++;
    request.run = {"w" + std::to_string(n % 15), "r" + std::to_string(n)};
    request.workflow_type = random_.Chance(0.5) ? "One" : "Two";
    request.task_queue = Queue();
    if (random_.Chance(0.8)) request.request_id = "q" + std::to_string(n);
    request.reuse = static_cast<IdReusePolicy>(random_.Below(3));
    request.conflict = static_cast<IdConflictPolicy>(random_.Below(2));
    if (random_.Chance(0.2)) request.run_timeout = Duration(random_.Between(1'000, 100'000));
    if (random_.Chance(0.1)) request.delay = Duration(random_.Between(1'000, 30'000));
    request.session = AnySessionOrNone();
    request.messages.push_back({.body = WorkflowStarted{.workflow_type = request.workflow_type}});
    if (random_.Chance(0.3)) request.messages.push_back(AnySignal());
    marathon::detail::SetLabels(request.labels.attributes, AnyLabels());
    if (random_.Chance(0.4)) request.first_turn = AnyTurn(request.run, 0, request.session);
    const auto reply = Both("Start", &StateStore::Start, request);
    if (!reply.ok()) return;
    EventId& version = model_.versions[reply->run];
    if (reply->started && request.first_turn) version = Learn(*request.first_turn);
  }
  marathon::Message AnySignal() {
    marathon::Message message;
    message.body = SignalReceived{.name = "go", .input = AnyPayload()};
    if (random_.Chance(0.5)) message.dedupe_key = "k" + std::to_string(random_.Below(20));
    return message;
  }
  void Put() {
    PutRequest request{AnyRun(), AnySignal(), AnySessionOrNone()};
    Compare("Put", &StateStore::Put, request);
  }
  void TakeTurn() {
    TakeTurnRequest request{.run = AnyExactRun(), .session = AnySession(), .build_id = AnyBuild()};
    if (random_.Chance(0.5)) {
      request.known_version = static_cast<EventId>(random_.Below(8));
      request.known_commit = random_.Below(50);
    }
    Compare("TakeTurn", &StateStore::TakeTurn, request);
  }

  TurnCommit AnyTurn(const RunKey& run, EventId version, const SessionId& session) {
    TurnCommit turn;
    turn.run = run;
    turn.expected_version = version;
    turn.commit_id = model_.next_commit++;
    turn.session = session;
    turn.build_id = AnyBuild();
    turn.pin = !turn.build_id.empty() && random_.Chance(0.1);
    turn.new_version = version + static_cast<EventId>(random_.Below(5));
    History events;
    for (EventId id = version + 1; id <= turn.new_version; ++id) {
      events.push_back({id, SideEffectRecorded{AnyPayload()}});
      if (random_.Chance(0.3)) {
        turn.activities.push_back(AnyActivity(id, session));
      } else if (random_.Chance(0.2)) {
        turn.timers.push_back({id, Duration(random_.Between(1, 90'000))});
      }
    }
    if (!events.empty()) turn.record = EncodeRecord(turn.commit_id, events);
    turn.inbox_taken = random_.Below(4);
    if (random_.Chance(0.1)) turn.close = static_cast<RunStatus>(random_.Between(2, 7));
    if (turn.close && random_.Chance(0.5)) turn.next = AnyNext(session);
    turn.leave_signals = random_.Chance(0.3);
    if (random_.Chance(0.3)) turn.attributes = AnyLabels();
    return turn;
  }
  NextRun AnyNext(const SessionId& session) {
    NextRun next;
    next.run_id = "next" + std::to_string(model_.next_run++);  // no start's
    next.workflow_type = random_.Chance(0.5) ? "One" : "Two";
    next.task_queue = Queue();
    if (random_.Chance(0.3)) next.run_timeout = Duration(random_.Between(1'000, 100'000));
    if (random_.Chance(0.3)) next.delay = Duration(random_.Between(1'000, 30'000));
    next.messages.push_back({.body = WorkflowStarted{.workflow_type = next.workflow_type}});
    if (random_.Chance(0.3)) next.messages.push_back(AnySignal());
    if (random_.Chance(0.5)) next.session = session;
    next.keeps_pin = random_.Chance(0.5);
    return next;
  }
  NewActivity AnyActivity(EventId id, const SessionId& session) {
    NewActivity activity;
    activity.id = id;
    activity.activity_type = "Work";
    activity.task_queue = Queue();
    activity.input = AnyPayload();
    activity.policy.start_to_close = Duration(random_.Between(1'000, 60'000));
    if (random_.Chance(0.3)) activity.policy.heartbeat = Duration(random_.Between(1'000, 9'000));
    if (random_.Chance(0.3)) activity.policy.schedule_to_close = Duration(random_.Between(5'000, 90'000));
    if (random_.Chance(0.3)) activity.policy.schedule_to_start = Duration(random_.Between(1'000, 90'000));
    activity.claim = !session.empty() && random_.Chance(0.4);
    return activity;
  }
  // What a commit that was applied leaves to be played with.
  EventId Learn(const TurnCommit& turn) {
    for (const NewActivity& a : turn.activities) model_.activities[{turn.run, a.id}] = a.claim ? 1 : 0;
    for (const NewTimer& t : turn.timers) model_.timers[turn.run].push_back(t.id);
    if (turn.next) model_.versions[{turn.run.workflow_id, turn.next->run_id}] = 0;
    return turn.new_version;
  }
  void Commit() {
    const RunKey run = AnyExactRun();
    const auto known = model_.versions.find(run);
    const EventId version = known == model_.versions.end() ? 0 : known->second;
    TurnCommit turn =
        AnyTurn(run, random_.Chance(0.1) ? version + 1 : version, AnySessionOrNone());
    for (const auto& [key, epoch] : model_.activities) {
      if (key.run != run) continue;
      if (random_.Chance(0.2)) {
        turn.handed_over.push_back({key.id, epoch});
      } else if (random_.Chance(0.2)) {
        turn.cancel_activities.push_back({key.id, random_.Chance(0.5)});
      }
    }
    for (const EventId timer : model_.timers[run]) {
      if (random_.Chance(0.2)) turn.cancel_timers.push_back(timer);
    }
    const auto reply = Both("Commit", &StateStore::Commit, turn);
    if (reply.ok()) model_.versions[run] = Learn(turn);
  }
  void Block() {
    const RunKey run = AnyExactRun();
    const EventId version = model_.versions.contains(run) ? model_.versions[run] : 0;
    if (random_.Chance(0.5)) {
      return Compare("Unblock", &StateStore::Unblock, run);
    }
    static_cast<void>(Both<Status>("Block", [&](StateStore& store, auto done) {
      store.Block(run, version, {"build", "reason", 1, {}}, std::move(done));
    }));
  }

  void Operate() {
    const RunKey run = AnyRun();
    switch (random_.Below(6)) {
      case 5:
        return static_cast<void>(Both<Status>("Pin", [run, build = AnyBuild().str()](StateStore& store,
                                                                                            auto done) {
          store.Pin(run, build, std::move(done));
        }));
      case 0:
        return static_cast<void>(Both<Status>("Pause", [&](StateStore& store, auto done) {
          store.Pause(run, "reason", std::move(done));
        }));
      case 1:
      case 2: return Compare("Resume", &StateStore::Resume, run);
      case 3: return Compare("RetryActivity", &StateStore::RetryActivity, AnyActivityKey());
      default: return Compare("Delete", &StateStore::Delete, run);
    }
  }

  ActivityKey AnyActivityKey() {
    if (model_.activities.empty()) return {{"nobody", "nothing"}, 1};
    return Any(model_.activities).first;
  }
  Epoch EpochOf(const ActivityKey& key) {
    const Epoch epoch = model_.activities.contains(key) ? model_.activities[key] : 0;
    return random_.Chance(0.1) ? epoch + 1 : epoch;
  }
  void Claim() {
    std::vector<ClaimRequest> requests;
    for (uint64_t i = 0; i <= random_.Below(4); ++i) {
      const ActivityKey key = AnyActivityKey();
      requests.push_back({key, EpochOf(key)});
    }
    const SessionId session = AnySession();
    const auto won = Both<StatusOr<std::vector<ActivityRow>>>(
        "Claim", [&](StateStore& store, auto done) {
          store.ClaimActivities(session, requests, std::move(done));
        });
    if (!won.ok()) return;
    for (const ActivityRow& row : *won) model_.activities[row.key] = row.epoch;
  }
  void EndAttempt() {
    AttemptEnd end;
    end.key = AnyActivityKey();
    end.epoch = EpochOf(end.key);
    end.kind = static_cast<AttemptEnd::Kind>(random_.Below(5));
    end.outcome = ActivityCompleted{.scheduled = end.key.id, .result = AnyPayload()};
    if (end.kind == AttemptEnd::Kind::kRetry) end.failure.emplace().message = "again";
    if (random_.Chance(0.5)) end.delay = Duration(random_.Between(1, 30'000));
    end.session = AnySessionOrNone();
    Compare("EndAttempt", &StateStore::EndAttempt, end);
  }
  void Heartbeat() {
    HeartbeatRequest request;
    request.key = AnyActivityKey();
    request.epoch = EpochOf(request.key);
    if (random_.Chance(0.5)) request.details = AnyPayload();
    Compare("Heartbeat", &StateStore::Heartbeat, request);
  }
  void Poll() {
    DueRequest request;
    request.session = AnySessionOrNone();
    request.limit = 10'000;
    Compare("PollDue", &StateStore::PollDue, request);
  }
  void Read() { ReadRun(AnyRun()); }
  void ReadRun(const RunKey& run) {
    ReadRequest request{.run = run, .records = true, .inbox = true, .activities = true};
    request.after_version = static_cast<EventId>(random_.Below(3));
    if (random_.Chance(0.3)) request.max_record_bytes = random_.Below(500);
    Compare("Read", &StateStore::Read, request);
  }

  SeededRandom random_;
  std::vector<std::unique_ptr<StoreHarness>> stores_;
  Model model_;
  int calls_ = 0;
  bool failed_ = false;
  std::map<std::string, int> seen_;
};

TEST(DifferentialTest, MemoryAndSqliteAnswerAlike) {
  std::map<std::string, int> seen;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Pair pair(seed);
    for (int i = 0; i < 400 && !pair.failed(); ++i) pair.Step();
    if (!pair.failed()) pair.ReadEverything();
    ASSERT_FALSE(pair.failed());
    for (const auto& [what, count] : pair.seen()) seen[what] += count;
  }
  // Calls that all fail would agree about nothing.
  for (const char* what : {"Commit ABORTED", "Commit FAILED_PRECONDITION", "Put NOT_FOUND",
                           "Start ALREADY_EXISTS", "TakeTurn ABORTED", "EndAttempt ABORTED",
                           "EndAttempt applied", "Heartbeat go", "ExpireSession OK", "Pause OK",
                           "Resume OK", "Pin OK", "RetryActivity OK", "Delete OK"}) {
    EXPECT_GT(seen[what], 0) << what;
  }
}

}  // namespace
}  // namespace marathon::testing::differential_test
