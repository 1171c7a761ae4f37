// Values, names and rows that are wrong: each is refused, or fails its own run for good, or blocks it, and
// says why; the others go on.
// program: lists
#include <gmock/gmock.h>

#include <limits>
#include <stdexcept>

#include "fixture.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"

namespace marathon::tests::bad_input_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class BadInputTest : public WorkflowTest {};
INSTANTIATE_TEST_SUITE_P(, BadInputTest, ::testing::ValuesIn(AllSetups()), SetupName);

struct Order {
  std::string id;
  double amount = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, amount)

Registry Workflows() {
  Registry registry;
  registry.Bind("Price", [](const Order& order) { return order.amount; });
  registry.Bind("Text", [](const std::string& text) { return text; });
  registry.Bind("Number", [](double x) { return x; });
  registry.Bind("Value", [](const nlohmann::json& value) { return value; });
  registry.Bind("Checkout", [](WorkflowContext&, Order order) -> Workflow<std::string> {
    co_return order.id;
  });
  registry.Bind("Echo", [](WorkflowContext&, nlohmann::json value) -> Workflow<nlohmann::json> {
    co_return value;
  });
  registry.Bind("Receives", [](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Receive<int>("go");
  });
  return registry;
}

// The registry above with `body` as workflow "W".
template <class Fn>
Registry With(Fn body) {
  Registry registry = Workflows();
  registry.Bind("W", std::move(body));
  return registry;
}

bool GoesOn(Engine& engine) {
  return ResultOf<nlohmann::json>(engine.Start("Echo", 1)).value_or(nlohmann::json()) == 1;
}

// ---- What is not registered

TEST_P(BadInputTest, AWorkflowNobodyRegisteredIsNotFound) {
  Engine engine = Open(Workflows());
  const auto run = engine.Start("Chekout");
  EXPECT_EQ(run.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(std::string(MessageOf(run.status())),
              AllOf(HasSubstr("\"Chekout\""), HasSubstr("\"Checkout\", \"Echo\", \"Receives\"")));
}

TEST_P(BadInputTest, ARunNobodyHasTheCodeOfIsBlocked) {
  {
    Engine client = Open(Registry());
    ASSERT_TRUE(client.Start("Unheard", {.workflow_id = "w"}).ok());
  }
  {
    Engine engine = Open(Workflows());
    EXPECT_THAT(WaitUntilBlocked(engine.Find("w")).reason,
                AllOf(HasSubstr("\"Unheard\" is not registered"), HasSubstr("\"Checkout\"")));
    EXPECT_TRUE(GoesOn(engine));
  }
  Registry registry;
  registry.Bind("Unheard", [](WorkflowContext&) -> Workflow<int> { co_return 3; });
  Engine engine = Open(registry);
  EXPECT_EQ(engine.Find("w").Result<int>(kPatience).value_or(0), 3);
}

TEST_P(BadInputTest, AWorkerWithoutTheCodeLeavesARunToOthers) {
  Registry registry;
  registry.Bind("Unheard", [](WorkflowContext&) -> Workflow<int> { co_return 3; });
  Engine without = Open(Workflows());
  Engine with = Open(registry);
  Engine client = Open(Registry());
  // Who gets a hint is chance. One run at a time: each that is given back waits a second, and longer if it is again.
  EXPECT_TRUE(Eventually([&] {
    EXPECT_EQ(ResultOf<int>(client.Start("Unheard")).value_or(0), 3);
    return log_->Count("is given back: workflow type \"Unheard\"") > 0;
  }));
}

TEST_P(BadInputTest, AnActivityNobodyRegisteredIsRetriedAndTold) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<int> {
    co_return co_await ctx.Run<int>("Unheard", 1);
  }));
  const auto run = engine.Start("W");
  ASSERT_TRUE(run.ok()) << run.status();
  std::optional<Failure> failure;
  ASSERT_TRUE(Eventually([&] {
    const auto description = run->Describe();
    if (description.ok() && description->activities.size() == 1) {
      failure = description->activities[0].last_failure;
    }
    return failure.has_value();
  }));
  EXPECT_EQ(failure->type, failure_type::kUnregistered);
  EXPECT_THAT(failure->message, HasSubstr("\"Unheard\""));
  EXPECT_TRUE(GoesOn(engine));
}

// ---- Values of other types

TEST_P(BadInputTest, AWorkflowsInputMustBeWhatItTakes) {
  Engine engine = Open(Workflows());
  const auto start = [&](const nlohmann::json& input) {
    const auto result = ResultOf<std::string>(engine.Start("Checkout", input));
    EXPECT_EQ(result.status().code(), StatusCode::kAborted) << input;
    return FailureOf(result.status());
  };
  EXPECT_EQ(start("text").type, failure_type::kDecode);
  EXPECT_THAT(start({{"id", 7}, {"amount", 1}}).message, HasSubstr("string"));
  const Failure missing = start({{"id", "o-1"}});
  EXPECT_EQ(missing.type, failure_type::kDecode);
  EXPECT_EQ(missing.kind, FailureKind::kEngine);
  EXPECT_TRUE(missing.non_retryable);
  EXPECT_THAT(missing.message, HasSubstr("amount"));
  EXPECT_EQ(FailureOf(ResultOf<std::string>(engine.Start("Checkout")).status()).type,
            failure_type::kDecode);
  nlohmann::json more = Order{"o-1", 1};
  more["unknown"] = true;
  EXPECT_EQ(ResultOf<std::string>(engine.Start("Checkout", more)).value_or(""), "o-1");
}

TEST_P(BadInputTest, AnActivitysInputAndResultMustBeWhatTheyAre) {
  const auto registry = With([](WorkflowContext& ctx) -> Workflow<std::vector<std::string>> {
    std::vector<std::string> types;
    const nlohmann::json order{{"id", "o-1"}};
    try {
      co_await ctx.Run<double>("Price", order);  // final: not tried again
    } catch (const ActivityError& e) {
      types.push_back(e.failure().type + std::to_string(e.attempt()));
    }
    try {
      co_await ctx.Run<int>("Text", std::string("no number"));
    } catch (const ApplicationError& e) {
      types.push_back(e.failure().type);
    }
    co_return types;
  });
  const auto types = RunOnce<std::vector<std::string>>(registry);
  ASSERT_TRUE(types.ok()) << types.status();
  EXPECT_THAT(*types, ::testing::ElementsAre("marathon.Decode1", "marathon.Decode"));
}

// ---- Values without JSON

// What a workflow sees that hands `value` to an activity, returns it, and what Start says to it.
template <class T>
std::vector<std::string> Refusals(Engine& engine) {
  std::vector<std::string> refusals;
  refusals.push_back(ResultOf<std::string>(engine.Start("Hands")).value_or("accepted"));
  refusals.push_back(FailureOf(ResultOf<T>(engine.Start("Returns")).status()).type);
  refusals.push_back(ResultOf<std::string>(engine.Start("Receives back")).value_or("accepted"));
  return refusals;
}
template <class T>
Registry Handing(const T& value) {
  Registry registry = Workflows();
  registry.Bind("Hands", [value](WorkflowContext& ctx) -> Workflow<std::string> {
    std::string seen = "accepted";
    try {
      co_await ctx.Run<nlohmann::json>("Value", value);
    } catch (const ApplicationError& e) {
      seen = e.failure().type;
    }
    co_return seen;
  });
  registry.Bind("Returns", [value](WorkflowContext&) -> Workflow<T> { co_return value; });
  registry.Bind("Give", [value](int) { return value; });
  registry.Bind("Receives back", [](WorkflowContext& ctx) -> Workflow<std::string> {
    std::string seen = "accepted";
    try {
      co_await ctx.Run<T>("Give", 1);
    } catch (const ActivityError& e) {
      seen = e.failure().type + std::to_string(e.attempt());
    }
    co_return seen;
  });
  return registry;
}

TEST_P(BadInputTest, NotANumberIsRefused) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Engine engine = Open(Handing(nan));
  EXPECT_THAT(Refusals<double>(engine),
              ::testing::ElementsAre("marathon.Encode", "marathon.Encode", "marathon.Encode1"));
  const auto run = engine.Start("Echo", std::numeric_limits<double>::infinity());
  EXPECT_EQ(run.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(run.status())), HasSubstr("NaN or infinity"));
  EXPECT_TRUE(GoesOn(engine));
}

TEST_P(BadInputTest, InvalidUtf8IsRefused) {
  const std::string text = "caf\xe9";
  Engine engine = Open(Handing(text));
  EXPECT_THAT(Refusals<std::string>(engine),
              ::testing::ElementsAre("marathon.Encode", "marathon.Encode", "marathon.Encode1"));
  EXPECT_EQ(engine.Start("Echo", text).status().code(), StatusCode::kInvalidArgument);
  const auto raw = engine.StartPayload("Echo", Payload{"\"" + text + "\"", Encoding::kJson});
  EXPECT_EQ(FailureOf(ResultOf(raw)).type, failure_type::kDecode);
}

// What is thrown is told, as far as it can be read.
TEST_P(BadInputTest, AFailureMayHaveAnyText) {
  Registry registry = Workflows();
  registry.Bind("Fails", [](int size) -> int { throw std::runtime_error("caf\xe9" + std::string(static_cast<size_t>(size), 'x')); });
  registry.Bind("W", [](WorkflowContext& ctx, int size) -> Workflow<int> {
    static constexpr RetryPolicy kOnce{.maximum_attempts = 1};
    co_return co_await ctx.Run<int>("Fails", size, {.retry = &kOnce});
  });
  Engine engine = Open(registry);
  const auto failure_of = [&](int size) { return FailureOf(ResultOf<int>(engine.Start("W", size)).status()); };
  EXPECT_THAT(failure_of(3).message, HasSubstr("caf?xxx"));
  const size_t longest = failure_of(10 << 20).message.size();
  EXPECT_GE(longest, 1'000u);
  EXPECT_LE(longest, limits::kMaxFailureBytes);
  EXPECT_TRUE(GoesOn(engine));
}

TEST_P(BadInputTest, DeepJsonIsRefused) {
  nlohmann::json deep = 1;
  for (int i = 0; i < 200; ++i) deep = nlohmann::json::array({deep});
  Engine engine = Open(Handing(deep));
  EXPECT_THAT(Refusals<nlohmann::json>(engine),
              ::testing::ElementsAre("marathon.Encode", "marathon.Encode", "marathon.Encode1"));
  EXPECT_EQ(engine.Start("Echo", deep).status().code(), StatusCode::kInvalidArgument);
  const auto raw = engine.StartPayload(
      "Echo", Payload{std::string(100'000, '[') + std::string(100'000, ']'), Encoding::kJson});
  EXPECT_THAT(FailureOf(ResultOf(raw)).message, HasSubstr("deeper than 128"));
}

TEST_P(BadInputTest, OversizePayloadsAreRefused) {
  const std::string huge(limits::kPayloadMaxBytes, 'x');  // and its quotes
  Engine engine = Open(Handing(huge));
  EXPECT_THAT(Refusals<std::string>(engine),
              ::testing::ElementsAre("marathon.TooLarge", "marathon.TooLarge", "marathon.TooLarge1"));
  EXPECT_EQ(engine.Start("Echo", huge).status().code(), StatusCode::kResourceExhausted);
  const Payload raw{std::string(limits::kPayloadMaxBytes + 1, '1'), Encoding::kJson};
  EXPECT_EQ(engine.StartPayload("Echo", raw).status().code(), StatusCode::kResourceExhausted);
  const auto run = engine.Start("Receives");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->SignalPayload("go", raw).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(run->Signal("go", huge).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(engine.SignalWithStart("Receives", nullptr, "go", huge).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(engine.CompleteActivityPayload("1/1/r/w", raw).code(), StatusCode::kResourceExhausted);
  ASSERT_TRUE(run->Signal("go", 1).ok());
  EXPECT_EQ(ResultOf<int>(run).value_or(0), 1);
}

struct Throws {};
void to_json(nlohmann::json&, const Throws&) { throw 42; }
void from_json(const nlohmann::json&, Throws&) { throw 42; }

TEST_P(BadInputTest, AConversionMayThrowAnything) {
  Registry registry = Workflows();
  registry.Bind("W", [](WorkflowContext&, Throws) -> Workflow<int> { co_return 1; });
  Engine engine = Open(registry);
  EXPECT_EQ(engine.Start("W", Throws()).status().code(), StatusCode::kInvalidArgument);
  const Failure failure = FailureOf(ResultOf<int>(engine.Start("W", 1)).status());
  EXPECT_EQ(failure.type, failure_type::kDecode);
  EXPECT_THAT(failure.message, HasSubstr("not a std::exception"));
}

// ---- Names and ids

TEST_P(BadInputTest, IdsAreShortCleanUtf8) {
  Engine engine = Open(Workflows());
  const auto start = [&](StartOptions options) {
    return engine.Start("Echo", 1, std::move(options)).status().code();
  };
  const std::string longest(limits::kMaxIdBytes, 'x');
  EXPECT_EQ(start({.workflow_id = longest}), StatusCode::kOk);
  EXPECT_EQ(start({.workflow_id = "größe 漢字 \U0001F600"}), StatusCode::kOk);
  for (const std::string& bad :
       {longest + "x", std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f"),
        std::string("caf\xe9"), std::string("\xc0\xaf"), std::string("\xed\xa0\x80"),
        std::string("\xf4\x90\x80\x80"), std::string("\xe2\x82")}) {
    EXPECT_EQ(start({.workflow_id = bad}), StatusCode::kInvalidArgument) << bad;
    EXPECT_EQ(start({.request_id = bad}), StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_EQ(start({.task_queue = "a\tb"}), StatusCode::kInvalidArgument);
  const std::string long_name(limits::kMaxNameBytes + 1, 'x');
  EXPECT_EQ(engine.Start(long_name).status().code(), StatusCode::kInvalidArgument);
  const auto run = engine.Start("Receives");
  EXPECT_EQ(run->Signal(long_name, 1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(run->Signal("a\nb", 1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(run->Signal("", 1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(run->Signal("go", 1, {.request_id = "a\nb"}).code(), StatusCode::kInvalidArgument);
  for (const std::string& name : {long_name, std::string("a\nb"), std::string()}) {
    EXPECT_EQ(engine.SignalWithStart("Receives", nullptr, name, 1).status().code(), StatusCode::kInvalidArgument);
  }
  const auto with_id = engine.SignalWithStart("Receives", nullptr, "go", 1, {}, {.request_id = "a\nb"});
  EXPECT_EQ(with_id.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(run->Terminate("a\nb").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(run->Terminate(std::string(limits::kMaxReasonBytes + 1, 'x')).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(run->Terminate("enough").ok());
}

TEST_P(BadInputTest, AnActivitysNameIsCheckedWhereItIsCalled) {
  Engine engine = Open(With([](WorkflowContext& ctx) -> Workflow<int> {
    int refused = 0;
    for (const std::string& name : {std::string(201, 'x'), std::string(), std::string("a\nb")}) {
      try {
        co_await ctx.Run<int>(name, 1);
      } catch (const ApplicationError&) {
        ++refused;
      }
    }
    co_return refused;
  }));
  EXPECT_EQ(ResultOf<int>(engine.Start("W")).value_or(0), 3);
}

TEST(BadUrlTest, IsRefusedWithAReason) {
  Registry registry;
#ifdef MARATHON_HAS_SQLITE
  registry.Use(SqliteBackend());
#endif
  for (const char* url : {"", "memory", ":", "memory:?", "memory:?nonsense=1", "memory:%zz",
                          "sqlite:", "sqlite:/tmp/x.db?nonsense=1", "://host"}) {
    const auto engine = Engine::Open(url, registry);
    if (std::string_view(url) == "memory:?" && engine.ok()) continue;  // no parameters: as good as none
    EXPECT_EQ(engine.status().code(), StatusCode::kInvalidArgument) << url;
    EXPECT_GT(MessageOf(engine.status()).size(), 10u) << url;
  }
}

// ---- Damaged histories

// Appends a record to a run's history behind the engine's back, through the port.
Status Append(StateStore& store, const RunKey& run, std::string record, int64_t events) {
  Mailbox<Status> done;
  ReadRequest read;
  read.run = run;
  store.Read(std::move(read), [&](StatusOr<RunSnapshot> found) {
    if (!found.ok()) return done.Put(found.status());
    TurnCommit commit;
    commit.run = found->row.key;
    commit.expected_version = found->row.version;
    commit.new_version = found->row.version + events;
    commit.commit_id = 77;
    commit.record = std::move(record);
    store.Commit(std::move(commit), [&](StatusOr<CommitReply> reply) { done.Put(reply.status()); });
  });
  return done.Get();
}

TEST_P(BadInputTest, AHistoryThatCannotBeReadBlocksItsRun) {
  const History next = {{3, TurnStarted{Time(), "", 0}}, {4, TimerFired{1}}};
  std::string flipped = EncodeRecord(77, next);
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  const std::vector<std::pair<std::string, std::string>> damages = {
      {"garbage", "garbage"},
      {"flipped", flipped},
      {"shortened", EncodeRecord(77, next).substr(0, 20)},
      {"unasked", EncodeRecord(77, next)}};
  {
    Engine engine = Open(Workflows());
    for (const auto& [name, record] : damages) {
      ASSERT_TRUE(engine.Start("Receives", {.workflow_id = name}).ok());
    }
  }
  for (const auto& [name, record] : damages) {
    const Status status = Append(*store_.ports.store, {name, ""}, record, 2);
    ASSERT_TRUE(status.ok()) << name << ": " << status;
  }
  Engine engine = Open(Workflows());
  for (const auto& [name, record] : damages) {
    const auto run = engine.Find(name);
    ASSERT_TRUE(run.Signal("go", 1).ok());
    EXPECT_THAT(WaitUntilBlocked(run).reason,
                ::testing::AnyOf(HasSubstr("history"), HasSubstr("nondeterminism")))
        << name;
    EXPECT_EQ(run.History().status().code(),
              name == "unasked" ? StatusCode::kOk : StatusCode::kDataLoss)
        << name;
    EXPECT_TRUE(run.Terminate("damaged").ok()) << "it can be ended all the same";
  }
  EXPECT_TRUE(GoesOn(engine));
}

}  // namespace
}  // namespace marathon::tests::bad_input_test
