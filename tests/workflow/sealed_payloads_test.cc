// Payload codecs: what leaves the process is sealed, whichever way it goes; nobody sees it who writes workflows, calls them
// or reads what they did; and what cannot be opened costs nothing but time.
// needs: testing
// program: payloads
#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <future>
#include <iterator>
#include <set>

#ifdef MARATHON_HAS_SQLITE
#include "../unit/sqlite_fixture.h"
#include "marathon/adapters/sqlite_transaction.h"
#endif
#include "fixture.h"
#include "marathon/engine/sealing_store.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/payload_codec.h"
#include "marathon/schedule.h"
#include "marathon/store/forwarding_state_store.h"
#include "marathon/store/payload_refs.h"
#include "marathon/store/sealed_payloads.h"
#include "marathon/testing/history_json.h"
#include "marathon/testing/replay_history.h"

namespace marathon::tests::sealed_payloads_test {
namespace {

#ifdef MARATHON_HAS_SQLITE
using marathon::testing::TempFolder;
#endif
using ::testing::HasSubstr;
using ::testing::Not;

inline constexpr ActivityDef<std::string(std::string)> kEcho{"Echo"};
inline constexpr ActivityDef<std::string(std::string)> kFail{"Fail"};
inline constexpr ActivityDef<std::string(std::string)> kBeat{"Beat"};
inline constexpr ActivityDef<std::string(std::string)> kLater{"Later"};
inline constexpr ActivityDef<std::string(std::string)> kPause{"Pause"};
inline constexpr WorkflowDef<std::string(std::string)> kChild{"Child"};
inline constexpr SignalDef<std::string> kGo{"go"};
inline constexpr UpdateDef<std::string(std::string)> kAsk{"Ask"};
inline constexpr QueryDef<std::string()> kSeen{"Seen"};

// Marks what nobody is to find in a store, not even where it is escaped.
constexpr std::string_view kSecret = "tellnobody";
std::string Secret(std::string_view what) { return std::string(kSecret) + "-" + std::string(what); }

// Hides bytes behind a key and a nonce, which is another each time, and knows what it has sealed. No cipher.
class TestCodec final : public PayloadCodec {
 public:
  explicit TestCodec(std::string id, char key = 'k') : id_(std::move(id)), key_(key) {}
  std::string_view id() const override { return id_; }

  StatusOr<std::string> Seal(std::string_view bytes, std::string_view workflow_id) override {
    if (Status broken = Broken(seal_); !broken.ok()) return broken;
    ++seals;
    const int nonce = ++nonces_;
    std::string sealed = std::to_string(nonce) + '/';
    for (const char c : std::string(workflow_id) + '\n' + std::string(bytes)) sealed += Mixed(c, nonce);
    return sealed;
  }
  StatusOr<std::string> Open(std::string_view sealed, std::string_view workflow_id) override {
    if (Status broken = Broken(open_); !broken.ok()) return broken;
    const size_t slash = sealed.find('/');
    if (slash == sealed.npos) return DataLoss("no nonce");
    const int nonce = std::stoi(std::string(sealed.substr(0, slash)));
    std::string text;
    for (const char c : sealed.substr(slash + 1)) text += Mixed(c, nonce);
    const std::string start = std::string(workflow_id) + '\n';
    if (!text.starts_with(start)) return DataLoss("it was sealed with another key, or for another workflow");
    return text.substr(start.size());
  }

  // All calls fail so; OK: none any more.
  void BreakSeal(Status status) { Break(seal_, std::move(status)); }
  void BreakOpen(Status status) { Break(open_, std::move(status)); }
  std::atomic<int> seals{0};

 private:
  char Mixed(char c, int nonce) const { return static_cast<char>(c ^ (0x80 | ((key_ + nonce) & 0x7f))); }
  Status Broken(const Status& which) {
    const std::lock_guard lock(mutex_);
    return which;
  }
  void Break(Status& which, Status status) {
    const std::lock_guard lock(mutex_);
    which = std::move(status);
  }

  const std::string id_;
  const char key_;
  std::atomic<int> nonces_{0};
  std::mutex mutex_;
  Status seal_, open_;
};

// Gives secrets every way there is, in two runs.
Workflow<std::string> Everything(WorkflowContext& ctx, std::string input) {
  if (input == Secret("next")) co_return Secret("result");
  std::string asked;
  const auto seen_query = ctx.OnQuery(kSeen, [&] { return input; });
  const auto ask = ctx.OnUpdate(kAsk, [&](std::string text) { return asked = std::move(text); });
  if (co_await ctx.Run(kEcho, Secret("activity")) != Secret("activity")) throw ApplicationError("the activity");
  if (co_await ctx.RunLocal(kEcho, Secret("local")) != Secret("local")) throw ApplicationError("the local activity");
  if (co_await ctx.RunChild(kChild, Secret("child")) != Secret("child")) throw ApplicationError("the child");
  const std::string effect = co_await ctx.SideEffect([] { return Secret("effect"); });
  if (effect != Secret("effect")) throw ApplicationError("the side effect");
  std::string details;
  try {
    co_await ctx.Run(kFail, Secret("fail"), {.retry = &kOneTry});
  } catch (const ActivityError& e) {
    details = e.failure().details.data;
  }
  if (details != '"' + Secret("details") + '"') throw ApplicationError("the failure");
  const std::string beats = co_await ctx.Run(kBeat, Secret("beat"), {.retry = &kThreeTries});
  if (beats != Secret("beats")) throw ApplicationError("the heartbeat");
  if (co_await ctx.Run(kPause, Secret("pause")) != Secret("paused")) throw ApplicationError("the postponed one");
  if (co_await ctx.Run(kLater, Secret("later")) != Secret("late")) throw ApplicationError("the one that completes later");
  co_await ctx.SignalRun("peer", kGo, Secret("to-peer"));
  if (co_await ctx.Receive(kGo) != Secret("signal")) throw ApplicationError("the signal");
  co_await ctx.WaitUntil([&] { return !asked.empty(); });
  const std::string next = Secret("next");
  co_await ctx.ContinueAsNew(next);
  co_return "never";
}

Registry Code(Mailbox<std::string>& tokens) {
  Registry registry;
  registry.Bind("W", Everything);
  registry.Bind(kChild, [](WorkflowContext&, std::string input) -> Workflow<std::string> { co_return input; });
  registry.Bind("Peer", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    const std::string word = co_await ctx.Receive(kGo);
    const std::string echo = co_await ctx.Run(kEcho, input + word);
    co_return echo;
  });
  registry.Bind(kEcho, [](const std::string& text) { return text; });
  registry.Bind(kFail, [](const std::string&) -> std::string {
    throw ApplicationError("no", {.details = Payload{'"' + Secret("details") + '"', Encoding::kJson}});
  });
  registry.Bind(kBeat, [](ActivityContext& ctx, const std::string&) -> std::string {
    const StatusOr<std::string> last = ctx.LastHeartbeat<std::string>();
    if (last.ok()) return *last;
    EXPECT_TRUE(ctx.Heartbeat(Secret("beats")).ok());
    throw ApplicationError("again", {.details = Payload{'"' + Secret("again") + '"', Encoding::kJson}});
  });
  registry.Bind(kPause, [](ActivityContext& ctx, const std::string&, ActivityCompletion<std::string> done) {
    const StatusOr<std::string> last = ctx.LastHeartbeat<std::string>();
    last.ok() ? done.Complete(*last) : done.Postpone(Duration(0), Secret("paused"));
  });
  registry.Bind(kLater, [&tokens](ActivityContext& ctx, const std::string&) -> std::string {
    tokens.Put(ctx.CompleteLater().value_or(""));
    return "not yet";
  });
  return registry;
}

// Looks at all that is written, for what should not be there.
class WatchedStore final : public ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void Start(StartRequest request, Done<StartReply> done) override {
    for (const Message& message : request.messages) LookAt(message.body);
    for (const Message& message : request.inbox) LookAt(message.body);
    if (request.first_turn) LookAt(*request.first_turn);
    base()->Start(std::move(request), std::move(done));
  }
  void Put(PutRequest request, Done<PutReply> done) override {
    LookAt(request.message.body);
    base()->Put(std::move(request), std::move(done));
  }
  void Commit(TurnCommit commit, Done<CommitReply> done) override {
    LookAt(commit);
    base()->Commit(std::move(commit), std::move(done));
  }
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override {
    LookAt(end.outcome);
    LookAt(end.failure);
    LookAt(end.heartbeat);
    base()->EndAttempt(std::move(end), std::move(done));
  }
  void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) override {
    LookAt(request.details);
    ++heartbeats;
    if (request.details.encoding != Encoding::kNone) ++details;
    base()->Heartbeat(std::move(request), std::move(done));
  }
  void Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) override {
    LookAt(info.reason);
    base()->Block(std::move(run), version, std::move(info), std::move(done));
  }

  std::atomic<int> heartbeats{0}, details{0};
  std::atomic<int> found{0};   // the secret
  std::atomic<int> sealed{0}, unsealed{0};  // payloads

 private:
  void LookAt(std::string_view bytes) { found += bytes.find(kSecret) != bytes.npos; }
  void LookAt(const std::string& bytes) { LookAt(std::string_view(bytes)); }
  template <class T>
  void LookAt(const T& value) {
    marathon::detail::ForEachPayload(value, [this](const Payload& payload) {
      LookAt(payload.data);
      if (payload.data.empty() || payload.encoding == Encoding::kBlob) return;
      ++(payload.encoding == Encoding::kSealed ? sealed : unsealed);
    });
  }
  void LookAt(const TurnCommit& commit) {
    LookAt(commit.record);
    if (const StatusOr<Record> record = DecodeRecord(commit.record); record.ok()) {
      for (const Event& event : record->events) LookAt(event.body);
    }
    for (const NamedBlob& blob : commit.blobs) LookAt(blob.bytes);
    for (const NewActivity& activity : commit.activities) LookAt(activity.input);
    for (const UpdateAnswer& answer : commit.answers) LookAt(answer.body);
    if (!commit.next) return;
    for (const Message& message : commit.next->messages) LookAt(message.body);
  }
};

class SealedPayloadsTest : public WorkflowTest {
 protected:
  SealedPayloadsTest() : watched_(std::make_shared<WatchedStore>(store_.ports.store)) { store_.ports.store = watched_; }

  EngineOptions Sealed(std::vector<std::shared_ptr<PayloadCodec>> codecs) const {
    EngineOptions options = Options();
    options.payload_codecs = std::move(codecs);
    return options;
  }
  // Starts, feeds and ends one run of everything.
  marathon::Run RunEverything(Engine& engine, Mailbox<std::string>& tokens) {
    const auto peer = engine.Start("Peer", Secret("peer"), {.workflow_id = "peer"});
    EXPECT_TRUE(peer.ok()) << peer.status();
    const auto run = engine.SignalWithStart("W", Secret("input"), kGo.name, Secret("signal"), {.workflow_id = "w"});
    EXPECT_TRUE(run.ok()) << run.status();
    EXPECT_EQ(engine.CompleteActivity(tokens.Get(), Secret("late")), Status());
    const auto seen = run->Query(kSeen, {.patience = kPatience});
    EXPECT_TRUE(seen.ok()) << seen.status();
    const auto asked = run->Update(kAsk, Secret("update"));
    EXPECT_EQ(asked.value_or(""), Secret("update")) << asked.status();
    const auto result = ResultOf<std::string>(run);
    EXPECT_EQ(result.value_or(""), Secret("result")) << result.status();
    const auto echo = ResultOf<std::string>(peer);
    EXPECT_EQ(echo.value_or(""), Secret("peer") + Secret("to-peer")) << echo.status();
    return *run;
  }
  // By which codecs the payloads of a history are sealed, as it is stored; "": by none.
  std::set<std::string> CodecsOf(const marathon::Run& run) {
    Registry nothing;
    Engine reader = Open(nothing);
    std::set<std::string> codecs;
    const auto history = reader.Find(run.workflow_id(), run.run_id()).History();
    EXPECT_TRUE(history.ok()) << history.status();
    for (const Event& event : history.value_or(History())) {
      marathon::detail::ForEachPayload(event.body, [&](const Payload& payload) {
        if (!payload.data.empty()) codecs.emplace(SealedBy(payload));
      });
    }
    return codecs;
  }
  // A workflow that waits for a word, and the activity it then calls.
  static Registry Waiting() {
    Registry registry;
    registry.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
      const std::string word = co_await ctx.Receive(kGo);
      const std::string echo = co_await ctx.Run(kEcho, input + word, {.retry = &kOneTry});
      co_return echo;
    });
    registry.Bind(kEcho, [](const std::string& text) { return text; });
    return registry;
  }

  const std::shared_ptr<WatchedStore> watched_;
  const std::shared_ptr<TestCodec> codec_ = std::make_shared<TestCodec>("test-1");
};
INSTANTIATE_TEST_SUITE_P(, SealedPayloadsTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(SealedPayloadsTest, WhateverLeavesIsSealedAndNobodySeesIt) {
  for (const size_t inline_bytes : {limits::kPayloadInlineBytes, size_t{0}}) {
    Mailbox<std::string> tokens;
    EngineOptions options = Sealed({codec_});
    options.payload_inline_bytes = inline_bytes;
    Engine engine = Open(Code(tokens), options);
    const marathon::Run run = RunEverything(engine, tokens);
    EXPECT_EQ(watched_->found, 0);
    EXPECT_EQ(watched_->unsealed, 0);
    EXPECT_GT(watched_->sealed, 30);

    const auto history = run.History();
    ASSERT_TRUE(history.ok()) << history.status();
    for (const Event& event : *history) {
      marathon::detail::ForEachPayload(
          event.body,
          [&](const Payload& payload) { EXPECT_NE(payload.encoding, Encoding::kSealed) << Describe(event.body); });
    }
    const std::string json = testing::HistoryToJson(*history, {run.workflow_id(), run.run_id()});
    EXPECT_THAT(json, HasSubstr(Secret("effect")));
    EXPECT_EQ(testing::ReplayHistoryJson(Code(tokens), json), Status());
  }
}

TEST_P(SealedPayloadsTest, SchedulesAndForksAreSealedToo) {
  Registry registry = Waiting();
  registry.Bind("Report", [](WorkflowContext&, std::string input) -> Workflow<std::string> { co_return input; });
  Engine engine = Open(registry, Sealed({codec_}));
  const WorkflowDef<std::string(std::string)> report{"Report"};
  const auto made = engine.CreateSchedule("reports", {.crons = {"0 3 1 1 *"}}, report, Secret("scheduled"));
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ(made->Trigger(), Status());
  StatusOr<std::string> reported = NotFound("");
  ASSERT_TRUE(Eventually([&] {
    reported = engine.Find("reports/trigger-1").Result<std::string>(kPatience);
    return reported.ok();
  }));
  EXPECT_EQ(*reported, Secret("scheduled"));
  EXPECT_EQ(made->Describe().status(), Status());

  const auto run = engine.Start("W", Secret("input"));
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal(kGo, Secret("word")), Status());
  ASSERT_EQ(ResultOf<std::string>(run).value_or(""), Secret("input") + Secret("word"));
  EventId call = 0;
  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  for (const Event& event : *history) {
    if (std::holds_alternative<ActivityScheduled>(event.body)) call = event.id;
  }
  ForkOptions options{.keep = call};
  options.results[call] = {'"' + Secret("given") + '"', Encoding::kJson};
  const auto fork = run->Fork(options);
  EXPECT_EQ(ResultOf<std::string>(fork).value_or(""), Secret("given"));
  EXPECT_EQ(watched_->found, 0);
  EXPECT_EQ(watched_->unsealed, 0);
  Engine without = Open(Registry());
  const auto forked = without.Find(run->workflow_id(), run->run_id()).Fork(ForkOptions());
  EXPECT_EQ(forked.status().code(), StatusCode::kFailedPrecondition) << forked.status();
}

TEST_P(SealedPayloadsTest, WhoHasNoCodecIsToldWhichOne) {
  Mailbox<std::string> tokens;
  Engine engine = Open(Code(tokens), Sealed({codec_}));
  const marathon::Run run = RunEverything(engine, tokens);
  Engine without = Open(Code(tokens));
  const marathon::Run same = without.Find(run.workflow_id());
  const auto result = same.Result<std::string>(kPatience);
  EXPECT_EQ(result.status().code(), StatusCode::kFailedPrecondition) << result.status();
  EXPECT_THAT(std::string(MessageOf(result.status())), HasSubstr("\"test-1\""));
  EXPECT_THAT(std::string(MessageOf(result.status())), HasSubstr("payload_codecs"));
  const auto seen = without.Find(run.workflow_id(), run.run_id()).Query(kSeen);
  EXPECT_EQ(seen.status().code(), StatusCode::kFailedPrecondition) << seen.status();
  EXPECT_THAT(std::string(MessageOf(seen.status())), HasSubstr("\"test-1\""));

  const auto history = without.Find(run.workflow_id(), run.run_id()).History();
  ASSERT_TRUE(history.ok()) << history.status();
  const Payload& input = std::get<WorkflowStarted>((*history)[1].body).input;
  EXPECT_EQ(SealedBy(input), "test-1");
  EXPECT_EQ(Decode<std::string>(input).status().code(), StatusCode::kFailedPrecondition);
  const Status replayed = testing::ReplayHistory(Code(tokens), *history);
  EXPECT_THAT(std::string(MessageOf(replayed)), HasSubstr("event 2, WorkflowStarted"));
  const auto again = testing::HistoryFromJson(testing::HistoryToJson(*history));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, *history);
  const auto resealed = engine.StartPayload("Child", input);
  EXPECT_EQ(resealed.status().code(), StatusCode::kInvalidArgument) << resealed.status();
}

TEST_P(SealedPayloadsTest, KeysRotateAndOldHistoriesAreRead) {
  const auto next = std::make_shared<TestCodec>("test-2", 'q');
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    const std::string one = co_await ctx.Receive(kGo);
    const std::string two = co_await ctx.Receive(kGo);
    co_return input + one + two;
  });
  const auto taken = [&](Engine& engine, size_t events) {
    return Eventually([&] { return Types(engine.Find("w")).size() >= events; });
  };
  {
    Engine before = Open(registry);
    ASSERT_TRUE(before.Start("W", std::string("i"), {.workflow_id = "w"}).ok());
    ASSERT_TRUE(taken(before, 2));
  }
  {
    Engine first = Open(registry, Sealed({codec_}));
    ASSERT_EQ(first.Find("w").Signal(kGo, std::string("1")), Status());
    ASSERT_TRUE(taken(first, 4));
  }
  Engine second = Open(registry, Sealed({next, codec_}));
  ASSERT_EQ(second.Find("w").Signal(kGo, std::string("2")), Status());
  EXPECT_EQ(second.Find("w").Result<std::string>(kPatience).value_or(""), "i12");
  EXPECT_THAT(CodecsOf(second.Find("w")), ::testing::ElementsAre("", "test-1", "test-2"));
}

TEST_P(SealedPayloadsTest, AWrongKeyBlocksTheRunAndNoOther) {
  {
    Engine engine = Open(Waiting(), Sealed({codec_}));
    ASSERT_TRUE(engine.Start("W", std::string("i"), {.workflow_id = "w"}).ok());
    ASSERT_TRUE(engine.Start("W", std::string("i"), {.workflow_id = "to end"}).ok());
    ASSERT_TRUE(Eventually([&] { return Types(engine.Find("w")).size() >= 2; }));
  }
  Engine client = Open(Registry(), Sealed({codec_}));
  {
    Engine wrong = Open(Waiting(), Sealed({std::make_shared<TestCodec>("test-1", 'x')}));
    ASSERT_EQ(client.Find("w").Signal(kGo, std::string("n")), Status());
    const BlockInfo blocked = WaitUntilBlocked(wrong.Find("w"));
    EXPECT_EQ(blocked.event_id, 2);
    EXPECT_EQ(blocked.retry_at, kNever);
    EXPECT_THAT(blocked.reason, HasSubstr("event 2, WorkflowStarted"));
    EXPECT_THAT(blocked.reason, HasSubstr("\"test-1\" does not open it: it was sealed with another key"));
    auto other = wrong.Start("W", std::string("o"));
    ASSERT_TRUE(other.ok()) << other.status();
    ASSERT_EQ(other->Signal(kGo, std::string("k")), Status());
    EXPECT_EQ(ResultOf<std::string>(other).value_or(""), "ok");
    EXPECT_EQ(wrong.Find("to end").Terminate("it needs no key"), Status());
  }
  Engine right = Open(Waiting(), Sealed({std::make_shared<TestCodec>("test-2", 'n'), codec_}));
  EXPECT_EQ(right.Find("w").Unblock(), Status());
  EXPECT_EQ(right.Find("w").Result<std::string>(kPatience).value_or(""), "in");
}

TEST_P(SealedPayloadsTest, AWorkerWithoutTheCodecLeavesItsRunsToOthers) {
  Engine client = Open(Registry(), Sealed({codec_}));
  const auto run = client.Start("W", std::string("i"));
  ASSERT_TRUE(run.ok()) << run.status();
  Engine without = Open(Waiting());
  ASSERT_EQ(run->Signal(kGo, std::string("n")), Status());
  const BlockInfo blocked = WaitUntilBlocked(*run);
  EXPECT_NE(blocked.retry_at, kNever) << "another worker may have the codec";
  EXPECT_THAT(blocked.reason, HasSubstr("sealed by payload codec \"test-1\", and the codecs here are: none"));
  EXPECT_THAT(blocked.reason, HasSubstr("payload_codecs"));
  ASSERT_EQ(without.Shutdown(kPatience), Status());
  Engine with = Open(Waiting(), Sealed({codec_}));
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "in");
}

// What a child's end says is opened on its way to its parent. A codec that refuses holds it up, and nothing else.
TEST_P(SealedPayloadsTest, AChildsEndThatDoesNotOpenIsToldLater) {
  Registry registry;
  registry.Bind("Child", [&](WorkflowContext& ctx, bool fails) -> Workflow<std::string> {
    const std::string word = co_await ctx.Receive(kGo);
    codec_->BreakOpen(DataLoss("the key is away"));  // this is its last turn
    if (fails) throw ApplicationError("no", {.details = *Encode(Secret(word))});
    co_return Secret(word);
  });
  registry.Bind("W", [](WorkflowContext& ctx, bool fails) -> Workflow<std::string> {
    try {
      co_return co_await ctx.RunChild<std::string>("Child", fails, {.workflow_id = fails ? "fails" : "succeeds"});
    } catch (const ChildRunError& error) {
      co_return "failed: " + Decode<std::string>(error.failure().details).value_or("");
    }
  });
  Engine engine = Open(registry, Sealed({codec_}));
  for (const bool fails : {false, true}) {
    const auto run = engine.Start("W", fails);
    ASSERT_TRUE(run.ok()) << run.status();
    const marathon::Run child = engine.Find(fails ? "fails" : "succeeds");
    ASSERT_TRUE(Eventually([&] { return child.Signal(kGo, std::string("end")).ok(); }));
    EXPECT_TRUE(log_->WaitFor("of workflow \"" + child.workflow_id().str() + "\" cannot be told to its parent yet"));
    EXPECT_EQ(run->Describe()->run.status, RunStatus::kRunning);
    codec_->BreakOpen(Status());
    EXPECT_TRUE(Eventually([&] {  // now, and not in kSealedRetry
      const std::vector<ActivityRow> owed = child.Describe()->activities;
      for (const ActivityRow& row : owed) child.RetryActivity(row.key.id).IgnoreError();
      return owed.empty();
    }));
    EXPECT_EQ(ResultOf<std::string>(run).value_or(""), (fails ? "failed: " : "") + Secret("end"));
  }
  EXPECT_EQ(watched_->found, 0);
  EXPECT_EQ(watched_->unsealed, 0);
}

TEST_P(SealedPayloadsTest, AnActivityWaitsForAWorkerThatOpensItsInput) {
  Registry turns, activities;
  turns.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    co_return co_await ctx.Run(kEcho, input, {.retry = &kOneTry});
  });
  activities.Bind(kEcho, [](const std::string& text) { return text; });
  Engine engine = Open(turns, Sealed({codec_}));
  for (const size_t size : {size_t{10}, limits::kPayloadInlineBytes}) {
    const std::string input(size, 'i');
    const auto run = engine.Start("W", input);
    ASSERT_TRUE(run.ok()) << run.status();
    std::optional<ActivityRow> row;
    {
      Engine without = Open(activities);
      ASSERT_TRUE(Eventually([&] {
        const auto description = run->Describe();
        if (description.ok() && !description->activities.empty()) row = description->activities[0];
        return row && row->last_failure;
      }));
    }
    EXPECT_EQ(row->last_failure->type, failure_type::kSealed);
    EXPECT_THAT(row->last_failure->message, HasSubstr("\"test-1\""));
    EXPECT_EQ(row->attempt, 1) << "it may be tried once, and was not";
    EXPECT_EQ(row->input, *Encode(input)) << "who has the codec is shown it";
    Engine with = Open(activities, Sealed({codec_}));
    EXPECT_EQ(run->RetryActivity(row->key.id), Status());
    EXPECT_EQ(ResultOf<std::string>(run).value_or(""), input);
  }
}

TEST_P(SealedPayloadsTest, ACodecThatCannotNowIsAskedAgain) {
  EngineOptions options = Sealed({codec_});
  options.cache_runs = 0;
  Engine engine = Open(Waiting(), options);
  const auto run = engine.Start("W", std::string("i"));
  ASSERT_TRUE(run.ok()) << run.status();
  codec_->BreakOpen(Unavailable("the vault is away"));
  ASSERT_EQ(run->Signal(kGo, std::string("n")), Status());
  codec_->BreakSeal(Unavailable("the vault is away"));
  codec_->BreakOpen(Status());
  const int seals = codec_->seals;
  EXPECT_EQ(run->Result<std::string>(50ms).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(codec_->seals, seals);
  codec_->BreakSeal(Status());
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "in");
  EXPECT_FALSE(run->Describe()->run.blocked.has_value());
}

TEST_P(SealedPayloadsTest, ATurnThatCannotBeSealedBlocksItsRun) {
  Engine engine = Open(Waiting(), Sealed({codec_}));
  const auto run = engine.Start("W", std::string("i"));
  ASSERT_TRUE(run.ok()) << run.status();
  Engine client = Open(Registry(), Sealed({std::make_shared<TestCodec>("test-1")}));
  codec_->BreakSeal(DataLoss("the key is disabled"));
  ASSERT_EQ(client.Find(run->workflow_id()).Signal(kGo, std::string("n")), Status());
  const BlockInfo blocked = WaitUntilBlocked(*run);
  EXPECT_THAT(blocked.reason, HasSubstr("its turn cannot be stored: event "));
  EXPECT_THAT(blocked.reason, HasSubstr("\"test-1\" does not seal it: the key is disabled"));
  EXPECT_EQ(watched_->found, 0);
  codec_->BreakSeal(Status());
  EXPECT_EQ(run->Unblock(), Status());
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), "in");
}

TEST_P(SealedPayloadsTest, WhatIsNotSealedIsNotSent) {
  Engine engine = Open(Waiting(), Sealed({codec_}));
  codec_->BreakSeal(DataLoss("the key is disabled"));
  const auto run = engine.Start("W", Secret("input"), {.workflow_id = "w"});
  EXPECT_EQ(run.status().code(), StatusCode::kUnavailable) << run.status();
  EXPECT_THAT(std::string(MessageOf(run.status())), HasSubstr("the key is disabled"));
  EXPECT_EQ(engine.Find("w").Describe().status().code(), StatusCode::kNotFound);
  EXPECT_EQ(watched_->found, 0);
}

// Other bytes each time are not other details: a worker that dies at the same place again and again makes no progress.
TEST_P(SealedPayloadsTest, TheSameDetailsOfAHeartbeatAreSentOnce) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx) -> Workflow<std::string> {
    co_return co_await ctx.Run(kBeat, std::string(), {.heartbeat_timeout = 500ms, .retry = &kThreeTries});
  });
  registry.Bind(kBeat, [&](ActivityContext& ctx, const std::string&) -> std::string {
    const bool first = !ctx.LastHeartbeat<std::string>().ok();
    const int before = watched_->heartbeats;
    EXPECT_TRUE(ctx.Heartbeat(Secret("same")).ok());
    EXPECT_TRUE(ctx.Heartbeat(Secret("same")).ok());
    EXPECT_TRUE(Eventually([&] { return watched_->heartbeats >= before + 2 || ctx.stop_token().stop_requested(); }));
    if (first) throw ApplicationError("again");
    return "done";
  });
  Engine engine = Open(registry, Sealed({codec_}));
  EXPECT_EQ(ResultOf<std::string>(engine.Start("W")).value_or(""), "done");
  EXPECT_EQ(watched_->details, 1);
  EXPECT_EQ(watched_->found, 0);
}

// ---- The bytes of a file

#ifdef MARATHON_HAS_SQLITE
std::string BytesOf(const TempFolder& folder) {
  std::string bytes;
  for (const std::string& name : folder.Files()) {
    std::ifstream file(folder.File(name), std::ios::binary);
    bytes.append(std::istreambuf_iterator<char>(file), {});
  }
  return bytes;
}

TEST(SealedFileTest, HasNoneOfWhatWasSealed) {
  for (const bool sealed : {true, false}) {
    const TempFolder folder;
    const auto codec = std::make_shared<TestCodec>("test-1");
    EngineOptions options;
    options.cache_runs = 0;
    if (sealed) options.payload_codecs = {codec};
    Registry registry;
    registry.Use(SqliteBackend());
    registry.Bind("Write", sqlite::Transactional([](sqlite::Transaction&, const std::string&) -> StatusOr<std::string> {
                    return Secret("written");
                  }));
    registry.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
      const std::string large(limits::kPayloadInlineBytes, 'x');
      const std::string word = co_await ctx.Receive(kGo);
      const std::string written = co_await ctx.Run<std::string>("Write", input + large);
      co_return written + word;
    });
    auto engine = Engine::Open("sqlite:" + folder.File("app.db"), registry, options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const auto run = engine->Start("W", Secret("input"), {.workflow_id = "readable"});
    ASSERT_TRUE(run.ok()) << run.status();
    ASSERT_EQ(run->Signal(kGo, Secret("word")), Status());
    EXPECT_EQ(ResultOf<std::string>(run).value_or(""), Secret("written") + Secret("word"));
    const std::string bytes = BytesOf(folder);
    EXPECT_THAT(bytes.find("readable"), ::testing::Ne(bytes.npos));
    EXPECT_EQ(bytes.find(kSecret) != bytes.npos, !sealed);
  }
}
#endif

// ---- Their form

TEST(SealedPayloadTest, SaysWhatItIsAndOthersDoNot) {
  const Payload sealed = marathon::detail::ToPayload({"aes-1", Encoding::kJson, "bytes 1 more"});
  EXPECT_EQ(sealed, (Payload{"aes-1 1 bytes 1 more", Encoding::kSealed}));
  const auto parts = marathon::detail::SealedPartsOf(sealed);
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->codec, "aes-1");
  EXPECT_EQ(parts->encoding, Encoding::kJson);
  EXPECT_EQ(parts->bytes, "bytes 1 more");
  for (const char* const bad : {"", " ", "a", "a ", "a 1", "a 2 x", "a 3 x", "a x y", " 1 x", "a 11 x"}) {
    EXPECT_EQ(marathon::detail::SealedPartsOf({bad, Encoding::kSealed}).status().code(), StatusCode::kDataLoss) << bad;
  }
}

TEST(SealedPayloadTest, ACommitComesBackAsItWas) {
  const PayloadSealer sealer({std::make_shared<TestCodec>("test-1")});
  const Payload input{'"' + Secret("input") + '"', Encoding::kJson};
  TurnCommit commit;
  commit.run = {"w", "r"};
  commit.commit_id = 7;
  commit.record = EncodeRecord(7, {Event{1, ActivityScheduled{.activity_type = "A", .input = input}},
                                   Event{2, ActivityFailed{.scheduled = 1, .failure = {.details = input}}},
                                   Event{3, WorkflowCompleted{}}});
  commit.activities.push_back({.id = 1, .activity_type = "A", .input = input});
  commit.answers.push_back({"u", UpdateCompleted{.accepted = 2, .result = input}});
  commit.next.emplace().messages.push_back({0, "", SignalReceived{"go", input, {}}});
  const TurnCommit before = commit;
  ASSERT_EQ(SealPayloads(sealer, commit), Status());
  EXPECT_THAT(commit.record, Not(HasSubstr(std::string(kSecret))));
  EXPECT_EQ(commit.history_bytes, static_cast<int64_t>(before.record.size())) << "limits are about what a replay reads";
  const History history = DecodeRecord(commit.record)->events;
  EXPECT_EQ(commit.activities[0].input, std::get<ActivityScheduled>(history[0].body).input) << "one blob";
  EXPECT_NE(commit.activities[0].input, std::get<ActivityFailed>(history[1].body).failure.details);
  EXPECT_EQ(std::get<WorkflowCompleted>(history[2].body).result, Payload()) << "nothing is not sealed";
  const TurnCommit sealed = commit;
  ASSERT_EQ(SealPayloads(sealer, commit), Status());
  EXPECT_EQ(commit.record, sealed.record) << "and nothing twice";
  ASSERT_EQ(OpenPayloads(sealer, commit), Status());
  EXPECT_EQ(commit.record, before.record);
  EXPECT_EQ(commit.activities[0].input, input);
  EXPECT_EQ(commit.answers[0], before.answers[0]);
  EXPECT_EQ(commit.next->messages[0], before.next->messages[0]);
}

TEST(SealedPayloadTest, CodecsThatAreNoneAreRefused) {
  const auto opened = [](std::vector<std::shared_ptr<PayloadCodec>> codecs) {
    EngineOptions options;
    options.payload_codecs = std::move(codecs);
    return Engine::Open("memory:", Registry(), options).status();
  };
  const auto codec = [](std::string id) { return std::make_shared<TestCodec>(std::move(id)); };
  EXPECT_EQ(opened({codec("kms:eu/key-1_a.b"), codec("b")}), Status());
  EXPECT_THAT(std::string(MessageOf(opened({codec("a"), nullptr}))), HasSubstr("payload_codecs[1] is null"));
  EXPECT_THAT(std::string(MessageOf(opened({codec("a"), codec("a")}))), HasSubstr("twice"));
  for (const std::string& bad : {std::string(), std::string("a b"), std::string("\n"), std::string(65, 'a')}) {
    EXPECT_EQ(opened({codec(bad)}).code(), StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace marathon::tests::sealed_payloads_test
