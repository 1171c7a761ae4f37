// What becomes of an agent when processes die: tools by their effect, conversations that another process must find,
// code that says something else. At the end a cluster whose workers crash at random.
// needs: agent testing
// program: agent_streams
#include <gmock/gmock.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../sanitized.h"
#include "agent_texts.h"
#include "fixture.h"
#include "marathon/adapters/memory.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/stream.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/testing/blocking_sim_runtime.h"
#include "marathon/testing/faulty_state_store.h"
#include "marathon/testing/forwarding_state_store.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_world.h"
#include "marathon/testing/workflow_simulator.h"

namespace agent_test {

struct Cents {
  int cents = 0;
};
MARATHON_TOOL_INPUT(Cents, (cents, "how much"))

}  // namespace agent_test

namespace marathon::agent::agent_crash_test {
namespace {

using namespace std::chrono_literals;
using agent_test::Cents;
using tests::Eventually;
using tests::kPatience;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Input KeepingAll(std::string text) {
  Input input = Ask(std::move(text));
  input.keep_messages = true;
  return input;
}

// ---- Effects

// Says of each call of a tool that a worker has died while it ran.
class OnceDeadStore final : public testing::ForwardingStateStore {
 public:
  using ForwardingStateStore::ForwardingStateStore;

  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override {
    base()->ClaimActivities(std::move(session), std::move(requests),
                            [done = std::move(done)](StatusOr<std::vector<ActivityRow>> rows) mutable {
                              if (rows.ok()) {
                                for (ActivityRow& row : *rows) row.deliveries = IsTool(row) ? 1 : 0;
                              }
                              done(std::move(rows));
                            });
  }

 private:
  static bool IsTool(const ActivityRow& row) { return row.activity_type.find("/tool/") != std::string::npos; }
};

// What the second delivery of one call comes to; `ran`: how often the tool was run in it.
std::string SecondDelivery(ToolOptions options, int& ran) {
  auto model = std::make_shared<llm::ScriptedModel>();
  model->CallsTool("pay", R"({"cents": 5})").Says("done");
  Agent agent{.name = "A", .model = "m"};
  agent.tools = {MakeTool("pay", "Pays.", [&ran](const Cents&) { return ++ran, std::string("paid"); }, options)};
  ThreadRuntime runtime(1, 1);
  Ports ports = NewMemoryPorts(runtime);
  ports.store = std::make_shared<OnceDeadStore>(ports.store);
  std::string text;
  {
    // The tools' worker is not the workflow's: that one would not ask the store for what it claims ahead.
    Registry workflows, activities;
    auto shared = std::make_shared<const Agent>(agent);
    BindActivities(activities, shared, model);
    workflows.Bind("A", [shared](WorkflowContext& ctx, Input input) -> Workflow<Result> {
      co_return co_await RunAgent(ctx, *shared, input);
    });
    auto engine = Engine::Open(ports, workflows, {});
    auto worker = Engine::Open(ports, activities, {});
    EXPECT_TRUE(worker.ok() && engine.ok()) << worker.status() << engine.status();
    const auto run = engine->Start("A", KeepingAll("pay"));
    const auto result = run->Result<Result>(kPatience);
    EXPECT_TRUE(result.ok()) << result.status();
    const auto texts = ToolTexts(result.value_or(Result()));
    EXPECT_EQ(texts.size(), 1u);
    if (!texts.empty()) text = texts[0];
  }
  runtime.Stop();
  return text;
}

TEST(AgentCrashTest, HarmlessToolsRunAgain) {
  for (const Effect effect : {Effect::kPure, Effect::kIdempotent}) {
    int ran = 0;
    EXPECT_EQ(SecondDelivery({.effect = effect}, ran), "paid");
    EXPECT_EQ(ran, 1);
  }
}

TEST(AgentCrashTest, ToolsThatMayRunOnceDoNot) {
  int ran = 0;
  EXPECT_THAT(SecondDelivery({.effect = Effect::kAtMostOnce}, ran),
              HasSubstr("error: It is not known whether this call had its effect: the worker that ran it was lost"));
  EXPECT_EQ(ran, 0);
}

TEST(AgentCrashTest, ToolsThatCanTellAreAsked) {
  Reconciled found;
  const ToolOptions options{.effect = Effect::kReconcilable,
                            .check = [&](const nlohmann::json& arguments, ToolContext& ctx) {
                              EXPECT_EQ(arguments["cents"], 5);
                              EXPECT_EQ(ctx.call_id(), "call_1");
                              if (found.text == "throw") throw std::runtime_error("the bank is closed");
                              return found;
                            }};
  int ran = 0;
  found = {Reconciled::Kind::kDone, "paid before"};
  EXPECT_EQ(SecondDelivery(options, ran), "paid before");
  found = {Reconciled::Kind::kUnknown, ""};
  EXPECT_THAT(SecondDelivery(options, ran), HasSubstr("error: It is not known"));
  found = {Reconciled::Kind::kUnknown, "throw"};
  EXPECT_THAT(SecondDelivery(options, ran), HasSubstr("the bank is closed"));
  EXPECT_EQ(ran, 0);
  found = {Reconciled::Kind::kNotDone, ""};
  EXPECT_EQ(SecondDelivery(options, ran), "paid");
  EXPECT_EQ(ran, 1);
}

// ---- Conversations

// An agent that waits for a person when its process ends, and goes on in another one.
class AgentRestartTest : public ::testing::Test {
 protected:
  AgentRestartTest() {
    agent_.name = "A";
    agent_.model = "m";
    agent_.tools = {MakeTool("look", "Looks.", [](const Cents&) { return std::string("seen"); },
                             {.effect = Effect::kPure}),
                    MakeTool("pay", "Pays.", [](const Cents&) { return std::string("paid"); }, {.approve = Always()})};
    model_->CallsTool("look", R"({"cents": 1})").CallsTool("pay", R"({"cents": 5})").Says("done");
  }
  ~AgentRestartTest() override {
    ports_ = Ports();
    runtime_.Stop();
  }

  // Each process has its own cache.
  Engine Open(const Ports& ports) {
    Registry registry;
    auto shared = std::make_shared<const Agent>(agent_);
    BindActivities(registry, shared, model_);
    registry.Bind("A", [shared, preface = preface_](WorkflowContext& ctx, Input input) -> Workflow<Result> {
      if (!preface.empty()) input.messages.insert(input.messages.begin(), llm::SystemMessage(preface));
      co_return co_await RunAgent(ctx, *shared, input);
    });
    EngineOptions options;
    options.verify_determinism = true;
    options.log = log_;
    auto engine = Engine::Open(ports, registry, std::move(options));
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  // Runs until a person is asked; then the process ends.
  PendingApproval RunUntilAsked() {
    Engine engine = Open(ports_);
    const auto run = engine.Start("A", KeepingAll("hi"), {.workflow_id = "w"});
    EXPECT_TRUE(run.ok()) << run.status();
    PendingApproval call;
    EXPECT_TRUE(Eventually([&] {
      const auto pending = Pending(*run);
      if (pending.ok() && !pending->empty()) call = pending->front();
      return !call.key.empty();
    }));
    return call;
  }
  static int Lost(const marathon::Run& run) {
    int lost = 0;
    const auto history = run.History();
    EXPECT_TRUE(history.ok()) << history.status();
    for (const Event& event : *history) {
      const auto* completed = std::get_if<ActivityCompleted>(&event.body);
      if (completed != nullptr && completed->result.data == R"({"lost":true})") ++lost;
    }
    return lost;
  }

  Agent agent_;
  std::string preface_;  // what the workflow's code adds
  std::shared_ptr<llm::ScriptedModel> model_ = std::make_shared<llm::ScriptedModel>();
  std::shared_ptr<tests::CollectingLog> log_ = std::make_shared<tests::CollectingLog>();
  ThreadRuntime runtime_{1, 1};
  Ports ports_ = NewMemoryPorts(runtime_);
};

TEST_F(AgentRestartTest, AnotherProcessReadsTheConversation) {
  const PendingApproval call = RunUntilAsked();
  Engine engine = Open(ports_);
  const marathon::Run run = engine.Find("w");
  ASSERT_TRUE(Approve(run, call).ok());
  const auto result = run.Result<Result>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(ToolTexts(*result), ElementsAre("seen", "paid"));
  EXPECT_EQ(Lost(run), 0);
  std::vector<llm::Message> last = model_->requests().back().messages;
  last.push_back(llm::AssistantMessage("done"));
  EXPECT_EQ(last, result->messages);
}

// The history is the truth, the blobs are a cache.
TEST_F(AgentRestartTest, AConversationThatIsGoneIsSentOnceMore) {
  const PendingApproval call = RunUntilAsked();
  Ports ports = ports_;
  ports.blobs = nullptr;
  Engine engine = Open(ports);
  const marathon::Run run = engine.Find("w");
  ASSERT_TRUE(Approve(run, call).ok());
  const auto result = run.Result<Result>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(ToolTexts(*result), ElementsAre("seen", "paid"));
  EXPECT_EQ(result->spent.steps, 3);
  EXPECT_EQ(Lost(run), 1);
  EXPECT_EQ(model_->requests().size(), 3u);
  EXPECT_EQ(model_->requests().back().messages.size(), result->messages.size() - 1);
}

// The digest of what was said is in the history, and what was said is not: so this is how it is noticed.
TEST_F(AgentRestartTest, CodeThatSaysSomethingElseBlocksTheRun) {
  const PendingApproval call = RunUntilAsked();
  preface_ = "Be rude.";
  {
    Engine engine = Open(ports_);
    const marathon::Run run = engine.Find("w");
    ASSERT_TRUE(Approve(run, call).ok());
    EXPECT_THAT(tests::WaitUntilBlocked(run).reason, HasSubstr("the conversation of step 1"));
  }
  preface_.clear();
  Engine engine = Open(ports_);
  const marathon::Run run = engine.Find("w");
  ASSERT_TRUE(run.Unblock().ok());
  const auto result = run.Result<Result>(kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->text, "done");
}

// ---- Crashes at random

struct World {
  std::map<std::string, int> effects;  // by tool: how often it had its effect
  std::map<std::string, std::string> receipts;  // of "wire", by key
  std::map<std::string, int> charges;  // of "charge", by key: the bank knows a key once
};

// What a reader has in the end.
std::string TextInStream(StreamLog& log, const marathon::Run& run) {
  StreamReader reader(log, StreamOf(run.run_id().empty() ? run.Describe()->run.key.run_id : run.run_id()));
  StreamView view;
  for (;;) {
    const auto events = reader.Next(Duration(0));
    if (!events.ok() || events->empty()) return view.Text();
    for (const StreamEvent& event : *events) view.Apply(event);
  }
}

// An agent of so many steps, at least three: three tools side by side, one that a person must agree to, looks, and an
// end. Each step says its number.
testing::SimScenario Scenario(Effect of_mails, size_t steps = 3) {
  auto world = std::make_shared<World>();
  auto model = std::make_shared<llm::ScriptedModel>([steps](const llm::ChatRequest& request) -> llm::ChatResult {
    llm::ChatResponse response;
    const std::string cents = R"({"cents": 5})";
    const size_t step = (request.messages.size() + 1) / 2;
    response.blocks = {llm::Text{"step " + std::to_string(step) + "\n"}};
    if (step == steps) return response;
    if (step == 1) {
      response.blocks.push_back(llm::ToolCall{"c1", "look", cents});
      response.blocks.push_back(llm::ToolCall{"c2", "charge", cents});
      response.blocks.push_back(llm::ToolCall{"c3", "mail", cents});
    } else {
      response.blocks.push_back(llm::ToolCall{"c1", step == 2 ? "wire" : "look", cents});
    }
    return response;
  });
  Agent agent{.name = "A", .model = "m"};
  agent.model_retry = {.initial_interval = 100ms};
  agent.tools = {
      MakeTool("look", "Looks.", [](const Cents&) { return std::string("seen"); }, {.effect = Effect::kPure}),
      MakeTool("charge", "Charges.",
               [world](ToolContext& ctx, const Cents&) {
                 if (++world->charges[ctx.idempotency_key()] == 1) ++world->effects["charge"];
                 return std::string("charged");
               },
               {.effect = Effect::kIdempotent, .retry = {.maximum_attempts = 100}}),
      MakeTool("mail", "Mails.", [world](const Cents&) { return ++world->effects["mail"], std::string("mailed"); },
               {.effect = of_mails, .retry = {.maximum_attempts = 100}}),
      MakeTool("wire", "Wires.",
               [world](ToolContext& ctx, const Cents&) {
                 ++world->effects["wire"];
                 return world->receipts[ctx.idempotency_key()] = "wired";
               },
               {.effect = Effect::kReconcilable,
                .retry = {.maximum_attempts = 100},
                .approve = Always(),
                .check = [world](const nlohmann::json&, ToolContext& ctx) -> Reconciled {
                  const auto found = world->receipts.find(ctx.idempotency_key());
                  if (found == world->receipts.end()) return {Reconciled::Kind::kNotDone};
                  return {Reconciled::Kind::kDone, found->second};
                }})};
  testing::SimScenario scenario;
  Bind(scenario.registry, agent, model);
  scenario.play = [](testing::SimUser& user) -> Status {
    const auto run = user.engine().Start("A", KeepingAll("go"), {.workflow_id = "w"});
    if (!run.ok()) return run.status();
    const Decision decision{.key = "2/c1", .digest = DigestOf({{"cents", 5}})};
    for (int i = 0; i < 1'000; ++i) {
      const auto result = run->Result<Result>(5s);
      if (result.status().code() != StatusCode::kDeadlineExceeded) return result.status();
      Decide(*run, decision).IgnoreError();  // most of them come too early: they do no harm
    }
    return Aborted("it does not end");
  };
  scenario.check = [world, steps](testing::SimUser& user) -> Status {
    const marathon::Run run = user.engine().Find("w");
    const auto result = run.Result<Result>();
    if (!result.ok()) return result.status();
    std::string last, all;
    for (size_t step = 1; step <= steps; ++step) all += last = "step " + std::to_string(step) + "\n";
    const std::vector<std::string> texts = ToolTexts(*result);
    if (result->text != last || texts.size() != steps + 1) return Aborted("another answer: " + result->text);
    const std::string read = TextInStream(user.engine().streams(), run);
    if (read != all) return Aborted("another text to read: " + read);
    if (texts[0] != "seen" || texts[1] != "charged" || texts[3] != "wired") {
      return Aborted("other results: " + texts[0] + ", " + texts[1] + ", " + texts[3]);
    }
    const bool mailed = texts[2] == "mailed";
    if (!mailed && texts[2].find("not known") == std::string::npos) return Aborted("another result: " + texts[2]);
    if (mailed && world->effects["mail"] == 0) return Aborted("a mail that was not sent");
    for (const auto& [tool, times] : world->effects) {
      if (times > 1) return Aborted(tool + " had its effect " + std::to_string(times) + " times");
    }
    if (world->effects["charge"] != 1 || world->effects["wire"] != 1) return Aborted("an effect is missing");
    return {};
  };
  return scenario;
}

TEST(AgentCrashTest, EachEffectOnceWhateverCrashes) {
  testing::SimulateWorkflowOptions options;
  options.seeds = kSanitized ? 30 : 100;
  const auto report = testing::SimulateWorkflow([] { return Scenario(Effect::kAtMostOnce); }, options);
  EXPECT_EQ(report.violation, "") << "seed " << report.seed;
  EXPECT_GT(report.repeated, options.seeds / 10);
}

// A worker of its own, which dies once, at its nth call of the store: before that is done, or after. Gives what is
// wrong (nothing: it is empty) and, if it has not died, how many calls there are.
std::string LifeWithDeath(uint64_t nth, testing::CallFault death, uint64_t* calls) {
  const testing::SimScenario scenario = Scenario(Effect::kAtMostOnce, 6);
  testing::SimWorld world(1);
  const Ports ports = NewMemoryPorts(world);
  auto user_runtime = std::make_shared<testing::BlockingSimRuntime>(world, "user", testing::BlockingSimRuntime::Limits{});
  testing::FaultCounts counts;
  testing::SimCluster::Options options;
  options.workers = 1;
  options.engine.build_id = "simulated";
  options.registry = [&](testing::SimProcess&) { return std::make_shared<const Registry>(scenario.registry); };
  testing::SimCluster cluster(world, ports, options, counts);
  cluster.Begin();
  const uint64_t before = cluster.worker(0)->store->calls();
  if (nth != 0) cluster.worker(0)->store->FailCall(nth, death);
  EngineOptions user_options;
  user_options.build_id = "user";
  auto engine = Engine::Open(ports, Registry(), user_options, user_runtime);
  if (!engine.ok()) return engine.status().ToString();
  testing::SimUser user(world, *std::move(engine));
  Status status = scenario.play(user);
  if (status.ok()) status = scenario.check(user);
  if (status.ok()) user.Advance(60s);  // its last calls
  *calls = counts.crashes == 0 ? cluster.worker(0)->store->calls() - before : 0;
  return status.ok() ? "" : status.ToString();
}

// All between two crash points is the worker's memory.
TEST(AgentCrashTest, EachCrashPoint) {
  uint64_t points = 0;
  EXPECT_EQ(LifeWithDeath(0, testing::CallFault::kNone, &points), "");
  ASSERT_GT(points, 20u);
  for (const testing::CallFault death : {testing::CallFault::kCrashBefore, testing::CallFault::kCrashAfter}) {
    for (uint64_t nth = 1; nth <= points; ++nth) {
      uint64_t calls = 0;
      EXPECT_EQ(LifeWithDeath(nth, death, &calls), "") << "died at call " << nth;
      EXPECT_EQ(calls, 0u) << "it has not died";
    }
  }
}

// … if its tools are what they say.
TEST(AgentCrashTest, AnEffectThatIsNotWhatItSaysIsFound) {
  const auto report = testing::SimulateWorkflow([] { return Scenario(Effect::kIdempotent); });
  EXPECT_THAT(report.violation, ::testing::ContainsRegex("mail had its effect [2-9] times"));
}

}  // namespace
}  // namespace marathon::agent::agent_crash_test
