// Large payloads: they stand beside the histories that name them, and nobody sees it who writes workflows, calls them or
// reads what they did.
// needs: testing
// program: payloads
#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <set>

#include "fixture.h"
#include "marathon/engine/payload_store.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/forwarding_state_store.h"
#include "marathon/store/payload_refs.h"
#include "marathon/testing/history_json.h"
#include "marathon/testing/replay_history.h"

namespace marathon::tests::payloads_test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

inline constexpr ActivityDef<std::string(std::string)> kEcho{"Echo"};
inline constexpr ActivityDef<std::string(std::string)> kFail{"Fail"};
inline constexpr ActivityDef<std::string(std::string)> kBeat{"Beat"};
inline constexpr WorkflowDef<std::string(std::string)> kChild{"Child"};
inline constexpr SignalDef<std::string> kGo{"go"};
inline constexpr UpdateDef<std::string(std::string)> kAsk{"Ask"};
inline constexpr QueryDef<std::string()> kSeen{"Seen"};

std::string Large(char c) { return std::string(limits::kPayloadInlineBytes + 100, c); }

std::string Encoded(const std::string& text) { return '"' + text + '"'; }

// Gives large values every way there is, in two runs.
Workflow<std::string> Everything(WorkflowContext& ctx, std::string input) {
  if (input[0] == 'z') co_return input;
  std::string seen;
  const auto seen_query = ctx.OnQuery(kSeen, [&] { return seen; });
  std::string asked;
  const auto ask = ctx.OnUpdate(kAsk, [&](std::string text) { return asked = text; });
  seen = co_await ctx.Run(kEcho, input);
  const std::string grown = co_await ctx.RunChild(kChild, seen);
  if (grown != seen) throw ApplicationError("the child");
  const std::string effect = co_await ctx.SideEffect([] { return Large('e'); });
  if (effect != Large('e')) throw ApplicationError("the side effect");
  std::string details;
  try {
    co_await ctx.Run(kFail, effect, {.retry = &kOneTry});
  } catch (const ActivityError& e) {
    details = e.failure().details.data;
  }
  if (details != Encoded(Large('e'))) throw ApplicationError("the failure");
  const std::string beat = co_await ctx.Run(kBeat, input, {.retry = &kThreeTries});
  if (beat != Large('b')) throw ApplicationError("the heartbeat");
  const std::string word = co_await ctx.Receive(kGo);
  co_await ctx.WaitUntil([&] { return !asked.empty(); });
  if (word != Large('s') || asked != Large('u')) throw ApplicationError("the messages");
  const std::string next = Large('z');
  co_await ctx.ContinueAsNew(next);
  co_return "never";
}

Workflow<std::string> Child(WorkflowContext&, std::string input) { co_return input; }

Registry Code() {
  Registry registry;
  registry.Bind("W", Everything);
  registry.Bind(kChild, Child);
  registry.Bind(kEcho, [](const std::string& text) { return text; });
  registry.Bind(kFail, [](const std::string& text) -> std::string {
    throw ApplicationError("no", {.details = Payload{Encoded(text), Encoding::kJson}});
  });
  registry.Bind(kBeat, [](ActivityContext& ctx, const std::string&) -> std::string {
    const StatusOr<std::string> last = ctx.LastHeartbeat<std::string>();
    if (last.ok()) return *last;
    EXPECT_TRUE(ctx.Heartbeat(Large('b')).ok());
    throw ApplicationError("again");
  });
  return registry;
}

// A store whose blobs can be taken away.
class FragileStore final : public ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void Break(Status status) {
    const std::lock_guard lock(mutex_);
    broken_ = std::move(status);
  }
  void ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override {
    Status broken;
    {
      const std::lock_guard lock(mutex_);
      broken = broken_;
    }
    if (!broken.ok()) return done(broken);
    ++reads;
    base()->ReadBlobs(std::move(workflow_id), std::move(refs), std::move(done));
  }
  std::atomic<int> reads{0};

 private:
  std::mutex mutex_;
  Status broken_;
};

class PayloadsTest : public WorkflowTest {
 protected:
  PayloadsTest() : fragile_(std::make_shared<FragileStore>(store_.ports.store)) { store_.ports.store = fragile_; }

  // All payloads of a run's history as they are stored.
  std::vector<Payload> Stored(const RunKey& run) {
    std::promise<std::vector<Payload>> found;
    fragile_->Read({.run = run, .records = true, .max_record_bytes = 64 << 20},
                   [&](const StatusOr<RunSnapshot>& read) {
                     std::vector<Payload> payloads;
                     EXPECT_TRUE(read.ok()) << read.status();
                     for (const std::string& bytes : read.ok() ? read->records : std::vector<std::string>()) {
                       const StatusOr<Record> record = DecodeRecord(bytes);
                       EXPECT_TRUE(record.ok()) << record.status();
                       for (const Event& event : record->events) {
                         marathon::detail::ForEachPayload(event.body,
                                                          [&](const Payload& one) { payloads.push_back(one); });
                       }
                     }
                     found.set_value(std::move(payloads));
                   });
    return found.get_future().get();
  }
  static RunKey KeyOf(const marathon::Run& run) { return {run.workflow_id(), run.run_id()}; }

  const std::shared_ptr<FragileStore> fragile_;
};
INSTANTIATE_TEST_SUITE_P(, PayloadsTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(PayloadsTest, NobodySeesWhereTheyAreKept) {
  Engine engine = Open(Code());
  auto run = engine.Start("W", Large('i'));
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->Signal(kGo, Large('s')), Status());
  const auto seen = run->Query(kSeen, {.patience = kPatience});
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(*seen, ::testing::AnyOf(IsEmpty(), Large('i')));
  const auto asked = run->Update(kAsk, Large('u'));
  ASSERT_TRUE(asked.ok()) << asked.status();
  EXPECT_EQ(*asked, Large('u'));
  const auto result = ResultOf<std::string>(run);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(*result, Large('z'));

  const auto history = run->History();
  ASSERT_TRUE(history.ok()) << history.status();
  size_t bytes = 0;
  for (const Event& event : *history) {
    marathon::detail::ForEachPayload(event.body, [&](const Payload& payload) {
      EXPECT_NE(payload.encoding, Encoding::kBlob) << Describe(event.body);
      bytes += payload.data.size();
    });
  }
  EXPECT_EQ(testing::ReplayHistory(Code(), *history), Status());
  EXPECT_EQ(testing::ReplayHistoryJson(Code(), testing::HistoryToJson(*history)), Status());
  const auto description = run->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_GT(description->run.history_bytes, static_cast<int64_t>(bytes)) << "limits are about what a replay reads";

  std::set<std::string> names;
  size_t stored = 0;
  for (const Payload& payload : Stored(KeyOf(*run))) {
    if (payload.encoding == Encoding::kBlob) names.insert(payload.data);
    stored += payload.data.size();
  }
  EXPECT_EQ(names.size(), 6u) << "of i, e, b, s, u and z, each however often it is there";
  EXPECT_LT(stored, limits::kPayloadInlineBytes);
}

TEST_P(PayloadsTest, OthersGoOnWithARunThatTheyRead) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    const std::string echo = co_await ctx.Run(kEcho, input);
    const std::string word = co_await ctx.Receive(kGo);
    co_return echo + word;
  });
  registry.Bind(kEcho, [](const std::string& text) { return text; });
  StatusOr<marathon::Run> run = NotFound("not started");
  {
    Engine first = Open(registry);
    run = first.Start("W", Large('i'), {.workflow_id = "w"});
    ASSERT_TRUE(run.ok()) << run.status();
    ASSERT_TRUE(Eventually([&] { return Types(*run).size() >= 5; }));  // the activity has ended
  }
  Engine second = Open(registry);
  marathon::Run same = second.Find("w");
  EXPECT_EQ(same.Signal(kGo, "word"), Status());
  const auto result = same.Result<std::string>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(*result, Large('i') + "word");
  EXPECT_GT(fragile_->reads, 0);
}

TEST_P(PayloadsTest, WhereTheLimitIsIsUpToTheEngine) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    const std::string echo = co_await ctx.Run(kEcho, input);
    co_return echo;
  });
  registry.Bind(kEcho, [](const std::string& text) { return text; });
  EngineOptions none = Options();
  none.payload_inline_bytes = limits::kPayloadMaxBytes;
  EngineOptions all = Options();
  all.payload_inline_bytes = 0;
  for (const auto& [options, blobs] : {std::pair(none, 0), std::pair(all, 4)}) {
    Engine engine = Open(registry, options);
    auto run = engine.Start("W", Large('i'));
    EXPECT_EQ(ResultOf<std::string>(run).value_or(""), Large('i'));
    int found = 0;
    for (const Payload& payload : Stored(KeyOf(*run))) found += payload.encoding == Encoding::kBlob;
    EXPECT_EQ(found, blobs);
  }
}

TEST_P(PayloadsTest, ARunWhoseBlobIsDamagedIsBlocked) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    const std::string word = co_await ctx.Receive(kGo);
    co_return input + word;
  });
  EngineOptions options = Options();
  options.cache_runs = 0;
  Engine engine = Open(registry, options);
  auto run = engine.Start("W", Large('i'));
  ASSERT_TRUE(run.ok()) << run.status();
  fragile_->Break(DataLoss("blob 123abc: its bytes are damaged"));
  const auto history = run->History();
  EXPECT_EQ(history.status().code(), StatusCode::kDataLoss) << history.status();
  EXPECT_THAT(std::string(MessageOf(history.status())), HasSubstr("blob 123abc"));
  ASSERT_EQ(run->Signal(kGo, "word"), Status());
  const BlockInfo blocked = WaitUntilBlocked(*run);
  EXPECT_THAT(blocked.reason, HasSubstr("blob 123abc"));
  EXPECT_THAT(blocked.reason, HasSubstr(run->run_id().str()));
  fragile_->Break(Status());
  EXPECT_EQ(run->Unblock(), Status());
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), Large('i') + "word");
}

TEST_P(PayloadsTest, AStoreThatIsAwayIsAskedAgain) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    const std::string word = co_await ctx.Receive(kGo);
    co_return input + word;
  });
  EngineOptions options = Options();
  options.cache_runs = 0;
  Engine engine = Open(registry, options);
  auto run = engine.Start("W", Large('i'));
  ASSERT_TRUE(run.ok()) << run.status();
  fragile_->Break(Unavailable("away"));
  ASSERT_EQ(run->Signal(kGo, "word"), Status());
  fragile_->Break(Status());
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), Large('i') + "word");
}

TEST_P(PayloadsTest, AnActivityWhoseInputIsDamagedTriesAgain) {
  Registry turns;
  turns.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    static constexpr RetryPolicy kOften{.initial_interval = 1ms, .maximum_interval = 50ms};
    const std::string echo = co_await ctx.Run(kEcho, input, {.retry = &kOften});
    co_return echo;
  });
  Registry activities;
  activities.Bind(kEcho, [](const std::string& text) { return text; });
  Engine engine = Open(turns);
  auto run = engine.Start("W", Large('i'));
  ASSERT_TRUE(run.ok()) << run.status();
  fragile_->Break(NotFound("there is no blob 123abc"));
  {
    Engine worker = Open(activities);
    std::optional<Failure> failure;
    ASSERT_TRUE(Eventually([&] {
      const auto description = run->Describe();  // which does not need the input
      if (description.ok() && !description->activities.empty()) failure = description->activities[0].last_failure;
      return failure.has_value();
    }));
    EXPECT_EQ(failure->type, failure_type::kDataLoss);
    EXPECT_THAT(failure->message, HasSubstr("blob 123abc"));
    fragile_->Break(Unavailable("away"));
  }
  fragile_->Break(Status());
  Engine worker = Open(activities);
  EXPECT_EQ(ResultOf<std::string>(run).value_or(""), Large('i'));
}

TEST_P(PayloadsTest, ANameOfABlobIsNoValue) {
  Engine engine = Open(Code());
  auto run = engine.Start("W", Large('z'));
  ASSERT_EQ(ResultOf<std::string>(run).value_or(""), Large('z'));
  ForkOptions fork;
  fork.input = marathon::detail::ToPayload({{std::string(64, 'a'), 1}, Encoding::kJson});
  const auto forked = run->Fork(fork);
  EXPECT_EQ(forked.status().code(), StatusCode::kInvalidArgument) << forked.status();
}

TEST_P(PayloadsTest, AForkReadsWhatTheOtherRunHolds) {
  Registry registry;
  registry.Bind("W", [](WorkflowContext& ctx, std::string input) -> Workflow<std::string> {
    const std::string echo = co_await ctx.Run(kEcho, input);
    co_return echo + "!";
  });
  registry.Bind(kEcho, [](const std::string& text) { return text; });
  Engine engine = Open(registry);
  auto run = engine.Start("W", Large('i'));
  ASSERT_EQ(ResultOf<std::string>(run).value_or(""), Large('i') + "!");
  auto forked = run->Fork({.keep = 3});
  ASSERT_EQ(ResultOf<std::string>(forked).value_or(""), Large('i') + "!");
  ASSERT_EQ(run->Delete(), Status());
  EXPECT_EQ(run->History().status().code(), StatusCode::kNotFound);
  const auto history = forked->History();
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(std::get<WorkflowStarted>((*history)[1].body).input, (Payload{Encoded(Large('i')), Encoding::kJson}));
}

// ---- How they are named

TEST(PayloadRefTest, NamesAreReadBackAndOthersAreNot) {
  const marathon::detail::PayloadRef ref{{std::string(64, 'a'), 70'000}, Encoding::kJson};
  const Payload name = marathon::detail::ToPayload(ref);
  EXPECT_EQ(name, (Payload{std::string(64, 'a') + " 70000 1", Encoding::kBlob}));
  const auto read = marathon::detail::RefOf(name);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->blob, ref.blob);
  EXPECT_EQ(read->encoding, ref.encoding);
  const std::string digest(64, 'a');
  for (const std::string& bad :
       {std::string(), digest, digest + " ", digest + " 7", digest + " 7 ", digest + " 7 2", digest + " 7 -1",
        digest + " 7 1 ", digest + " x 1", digest + " -7 1", digest + " 99999999999999999999 1",
        std::string(64, 'A') + " 7 1", digest.substr(1) + " 7 1"}) {
    EXPECT_EQ(marathon::detail::RefOf({bad, Encoding::kBlob}).status().code(), StatusCode::kDataLoss) << bad;
  }
}

TEST(PayloadRefTest, ACommitComesBackAsItWas) {
  const std::string large(100, 'x');
  TurnCommit commit;
  commit.commit_id = 7;
  const Payload input{large, Encoding::kJson};
  Failure cause{.message = "why", .details = input};
  Failure failure{.message = "what", .cause = {cause}};
  commit.record = EncodeRecord(7, {Event{1, ActivityScheduled{.activity_type = "A", .input = input}},
                                   Event{2, ActivityFailed{.scheduled = 1, .failure = failure}},
                                   Event{3, SideEffectRecorded{Payload{"small", Encoding::kJson}}}});
  commit.activities.push_back({.id = 1, .activity_type = "A", .input = input});
  const TurnCommit before = commit;
  MovePayloadsOut(commit, 99);
  ASSERT_EQ(commit.blobs.size(), 1u) << "the same bytes, once";
  EXPECT_EQ(commit.blobs[0].bytes, large);
  EXPECT_EQ(commit.activities[0].input.encoding, Encoding::kBlob);
  EXPECT_THAT(commit.record, Not(HasSubstr(large)));
  EXPECT_EQ(commit.history_bytes, static_cast<int64_t>(before.record.size()));
  MovePayloadsBack(commit);
  EXPECT_EQ(commit.record, before.record);
  EXPECT_EQ(commit.activities[0].input, input);
  EXPECT_THAT(commit.blobs, IsEmpty());
  MovePayloadsOut(commit, 100);
  EXPECT_THAT(commit.blobs, IsEmpty()) << "none is longer";
  EXPECT_EQ(commit.record, before.record);
}

}  // namespace
}  // namespace marathon::tests::payloads_test
