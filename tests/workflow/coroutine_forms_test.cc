// Every shape of C++ around co_await that the interface admits: run to its end, and destroyed at each wait,
// with values that notice being leaked, destroyed twice or moved bitwise. Compilers differ here (g++ 12
// miscompiles some shapes; those do not compile with Marathon, see tests/compile_fail).
//
// Runs the code through the Replayer alone: activities give back their input, except "Fail"; whoever
// waits for nothing else gets the signal "s".
// program: histories
#include <gmock/gmock.h>

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "marathon/engine/replayer.h"
#include "marathon/marathon.h"

namespace marathon::tests::coroutine_forms_test {
namespace {

using namespace std::chrono_literals;

// A value with a string, whose addresses are known while it lives.
class Tracked {
 public:
  Tracked() : Tracked("") {}
  Tracked(std::string text) : text_(std::move(text)) { Born(); }  // NOLINT: implicit, as strings are
  Tracked(const char* text) : Tracked(std::string(text)) {}
  Tracked(const Tracked& other) : text_(other.text()) { Born(); }
  Tracked(Tracked&& other) noexcept : text_(std::move(other.text_)) { Born(); }
  Tracked& operator=(const Tracked& other) {
    Check();
    text_ = other.text();
    return *this;
  }
  Tracked& operator=(Tracked&& other) noexcept {
    Check();
    text_ = std::move(other.text_);
    return *this;
  }
  ~Tracked() {
    if (Living().erase(this) == 0) ADD_FAILURE() << "destroyed twice, or moved bitwise";
  }
  const std::string& text() const {
    Check();
    return text_;
  }
  static std::set<const Tracked*>& Living() {
    static auto& living = *new std::set<const Tracked*>;  // forms outlive what is destroyed at exit
    return living;
  }

 private:
  void Born() {
    if (!Living().insert(this).second) ADD_FAILURE() << "made over a living one";
  }
  void Check() const {
    if (Living().count(this) == 0) ADD_FAILURE() << "used, but not alive: moved bitwise";
  }
  std::string text_;
};
void to_json(nlohmann::json& json, const Tracked& value) { json = value.text(); }
void from_json(const nlohmann::json& json, Tracked& value) { value = json.get<std::string>(); }

struct Order {  // an aggregate with non-trivial members
  Tracked id;
  std::vector<int> lines;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, lines)

struct Point {  // a trivially destructible aggregate
  int x = 0, y = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Point, x, y)

constexpr ActivityDef<Tracked(Tracked)> kEcho{"Echo"};
constexpr ActivityDef<Order(Order)> kOrder{"Order"};
constexpr ActivityDef<Point(Point)> kPoint{"Point"};
constexpr ActivityDef<int(int)> kInt{"Int"};
constexpr ActivityDef<Tracked(Tracked)> kFail{"Fail"};
constexpr ActivityDef<void()> kRing{"Ring"};
constexpr WorkflowDef<Tracked(Tracked)> kChild{"Child"};
constexpr WorkflowDef<void()> kNap{"Nap"};
constexpr SignalDef<Tracked> kWord{"s"};
constexpr SignalDef<void> kGo{"s"};

// An awaiter stays where it was made: others point to it.
template <class... Awaiters>
inline constexpr bool kStay = (!std::is_move_constructible_v<Awaiters> && ...) && (!std::is_move_assignable_v<Awaiters> && ...);
static_assert(kStay<detail::JoinAwaiter<int>, detail::TryAwaiter<int>, detail::ReceiveAwaiter<int>,
                    detail::ReceiveForAwaiter<int>, detail::ReceiveForAwaiter<void>, detail::AnyAwaiter,
                    detail::AllAwaiter<int, void>, detail::AllVectorAwaiter<int>, detail::AllVectorAwaiter<void>,
                    detail::ConditionAwaiter<bool (*)()>, detail::ConditionForAwaiter<bool (*)()>,
                    detail::SideEffectAwaiter<int (*)()>, detail::ContinueAsNewAwaiter, detail::InlineAwaiter<int>>);

// ---- The driver

class Driver {
 public:
  explicit Driver(const detail::WorkflowFactory& factory)
      : factory_(factory),
        replayer_(std::make_unique<Replayer>(RunFacts{{"w", "r"}, "W", "default"}, factory)) {
    Turn(WorkflowStarted{.workflow_type = "W", .input = Payload{"\"in\"", Encoding::kJson}});
  }
  bool closed() const { return replayer_->closed(); }
  void Step() {
    EventBody next = SignalReceived{"s", Payload{"\"sig\"", Encoding::kJson}, {}};
    if (!answers_.empty()) {
      next = std::move(answers_.front());
      answers_.pop_front();
    }
    Turn(std::move(next));
  }
  // What the workflow returned, or how it failed.
  std::string End() const {
    const EventBody& last = history_.back().body;
    if (const auto* completed = std::get_if<WorkflowCompleted>(&last)) return completed->result.data;
    return Describe(last);
  }
  // Its history, replayed by new coroutines.
  std::string ReplayAgain() const {
    Replayer again(RunFacts{{"w", "r"}, "W", "default"}, factory_);
    const auto mismatch = again.Replay(history_);
    return mismatch ? mismatch->ToString() : "";
  }

 private:
  void Turn(EventBody inbound) {
    detail::PooledVector<EventBody> all;
    all.push_back(std::move(inbound));
    TurnOutput output = replayer_->Turn(TurnStarted{FromMicros(1), "", 0}, std::move(all));
    for (Event& event : output.events) {
      if (const auto* scheduled = std::get_if<ActivityScheduled>(&event.body)) {
        if (scheduled->activity_type == "Fail") {
          answers_.push_back(ActivityFailed{event.id, Failure{.type = "Failed"}, 1});
        } else {
          answers_.push_back(ActivityCompleted{event.id, scheduled->input, 1});
        }
      } else if (std::holds_alternative<TimerStarted>(event.body)) {
        answers_.push_back(TimerFired{event.id});
      }
      history_.push_back(std::move(event));
    }
    for (const detail::LocalTask& task : replayer_->TakeLocals()) {
      answers_.push_back(ActivityCompleted{task.id, task.call.input, 1});
    }
  }

  const detail::WorkflowFactory& factory_;
  std::unique_ptr<Replayer> replayer_;
  std::deque<EventBody> answers_;
  History history_;
};

struct Form {
  const char* name;
  std::string expected;  // what it returns, as JSON; "": it throws
  detail::WorkflowFactory factory;
};

template <class Fn>
Form MakeForm(const char* name, std::string expected, Fn fn) {
  return {name, '"' + expected + '"',
          detail::MakeWorkflow<typename detail::CallableTraits<Fn>::Signature>(std::move(fn))};
}

// ---- Helpers of the forms

using Texts = Workflow<std::string>;

Workflow<Tracked> Helper(WorkflowContext& ctx, Tracked value) {
  const Tracked local = "local";
  co_return co_await ctx.Run(kEcho, value.text() + local.text());
}
Workflow<Tracked> HelperByReference(WorkflowContext& ctx, const Tracked& value) {
  co_return co_await ctx.Run(kEcho, value);
}
Workflow<Tracked> HelperByView(WorkflowContext& ctx, std::string_view value) {
  co_return co_await ctx.Run(kEcho, Tracked(std::string(value)));
}
Workflow<Tracked> Deep(WorkflowContext& ctx, int levels, Tracked value) {
  if (levels == 0) co_return co_await ctx.Run(kFail, value);
  const Tracked local = value;
  co_return co_await Deep(ctx, levels - 1, local.text() + "+");
}
Workflow<void> Void(WorkflowContext& ctx, std::string* out) {
  const Tracked local = "void";
  co_await ctx.Run(kRing);
  *out += local.text();
}
template <class T>
Workflow<T> Generic(WorkflowContext& ctx, const ActivityDef<T(T)>& def, T value) {
  co_return co_await ctx.Run(def, value);
}
Workflow<Order> ReturnsAnAggregate(WorkflowContext& ctx, Tracked id) {
  co_await ctx.Run(kRing);
  co_return Order{id, {1, 2}};
}
Order MakeOrder(std::string id) { return Order{std::move(id), {1, 2}}; }
template <class... T>
std::string Join(const T&... texts) {
  return (texts.text() + ...);
}

class Shop {
 public:
  explicit Shop(Tracked name) : name_(std::move(name)) {}
  virtual ~Shop() = default;
  Texts Member(WorkflowContext& ctx) const { co_return (co_await ctx.Run(kEcho, name_)).text(); }
  virtual Texts Virtual(WorkflowContext& ctx) = 0;
  static Texts Static(WorkflowContext& ctx, Tracked value) {
    co_return (co_await ctx.Run(kEcho, value)).text();
  }

 protected:
  Tracked name_;
};
class Bakery final : public Shop {
 public:
  using Shop::Shop;
  Texts Virtual(WorkflowContext& ctx) override {
    auto of_this = [this, &ctx]() -> Texts { co_return (co_await ctx.Run(kEcho, name_)).text() + "!"; };
    co_return co_await of_this();
  }
};

// ---- The forms

std::vector<Form> Calls() {
  return {
      MakeForm("InputAsParameter", "in",
               [](WorkflowContext& ctx, Tracked in) -> Texts {
                 co_return (co_await ctx.Run(kEcho, in)).text();
               }),
      MakeForm("TemporaryOfAClassWithConstructors", "a",
               [](WorkflowContext& ctx) -> Texts {
                 co_return (co_await ctx.Run(kEcho, Tracked("a"))).text();
               }),
      MakeForm("OptionsInPlace", "a",
               [](WorkflowContext& ctx) -> Texts {
                 static constexpr RetryPolicy kPolicy{.maximum_attempts = 2};
                 co_return (co_await ctx.Run(kEcho, Tracked("a"),
                                             {.task_queue = "q", .start_to_close_timeout = 10s, .retry = &kPolicy}))
                     .text();
               }),
      MakeForm("OptionsNamedAndEmpty", "ab",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = co_await ctx.Run(kEcho, Tracked("a"), ActivityOptions{.heartbeat_timeout = 1s});
                 const Tracked b = co_await ctx.Run(kEcho, Tracked("b"), {});
                 co_return Join(a, b);
               }),
      MakeForm("AggregateNamed", "o-1x2",
               [](WorkflowContext& ctx) -> Texts {
                 const Order order{"o-1", {1, 2}};
                 const Order back = co_await ctx.Run(kOrder, order);
                 co_return back.id.text() + "x" + std::to_string(back.lines.size());
               }),
      MakeForm("AggregateReturned", "o-1",
               [](WorkflowContext& ctx) -> Texts {
                 Order order{"o", {}};
                 order = co_await ctx.Run(kOrder, order);
                 order.id = order.id.text() + "-1";
                 co_return (co_await ctx.Run(kOrder, order)).id.text();
               }),
      MakeForm("AggregateFromAFunctionNamed", "o-2",
               [](WorkflowContext& ctx) -> Texts {
                 const Order order = MakeOrder("o-2");
                 co_return (co_await ctx.Run(kOrder, order)).id.text();
               }),
      MakeForm("TrivialAggregateInPlace", "3",
               [](WorkflowContext& ctx) -> Texts {
                 const Point point = co_await ctx.Run(kPoint, Point{1, 2});
                 co_return std::to_string(point.x + point.y);
               }),
      MakeForm("ByNameAndTry", "ab0Failed",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = co_await ctx.Run<Tracked>("Echo", Tracked("a"));
                 Outcome<Tracked> b = co_await ctx.TryRun(kEcho, Tracked("b"));
                 const Outcome<Tracked> c = co_await ctx.TryRun(kFail, Tracked("c"));
                 co_return a.text() + b.value().text() + std::to_string(c.ok()) + c.failure().type;
               }),
      MakeForm("ByNameEveryWay", "abcdef",
               [](WorkflowContext& ctx) -> Texts {
                 const Outcome<Tracked> a = co_await ctx.TryRun<Tracked>("Echo", Tracked("a"));
                 auto started = ctx.Start<Tracked>("Echo", Tracked("b"), {.heartbeat_timeout = 1s});
                 const Tracked b = co_await started;
                 auto local = ctx.StartLocal<Tracked>("Echo", Tracked("c"));
                 const Tracked c = co_await local;
                 const Tracked d = co_await ctx.RunLocal<Tracked>("Echo", Tracked("d"), {.start_to_close_timeout = 1s});
                 auto child = ctx.StartChild<Tracked>("Child", Tracked("e"));
                 const Tracked e = co_await child;
                 const Tracked f = co_await ctx.RunChild<Tracked>("Child", Tracked("f"), {.workflow_id = "f"});
                 co_return Join(a.value(), b, c, d, e, f);
               }),
      MakeForm("ByNameWithoutInput", "done",
               [](WorkflowContext& ctx) -> Texts {
                 const ActivityOptions options{.heartbeat_timeout = 1s};
                 co_await ctx.Run<void>("Ring");
                 co_await ctx.Run<void>("Ring", {.start_to_close_timeout = 1s});
                 co_await ctx.Run<void>("Ring", options);
                 const Outcome<void> tried = co_await ctx.TryRun<void>("Ring", options);
                 auto started = ctx.Start<void>("Ring");
                 auto local = ctx.StartLocal<void>("Ring");
                 co_await ctx.RunLocal<void>("Ring", {.start_to_close_timeout = 1s});
                 auto child = ctx.StartChild<void>("Nap", {.workflow_id = "n"});
                 co_await ctx.RunChild<void>("Nap");
                 co_await ctx.All(started, local, child);
                 co_return tried.ok() ? "done" : "failed";
               }),
      MakeForm("ByDefinitionEveryWay", "abcde",
               [](WorkflowContext& ctx) -> Texts {
                 const Outcome<Tracked> a = co_await ctx.TryRun(kEcho, Tracked("a"));
                 const Outcome<void> none = co_await ctx.TryRun(kRing);
                 auto b = ctx.Start(kEcho, Tracked("b"));
                 auto ring = ctx.Start(kRing, {.heartbeat_timeout = 1s});
                 auto c = ctx.StartLocal(kEcho, Tracked("c"));
                 co_await ctx.RunLocal(kRing);
                 auto d = ctx.StartChild(kChild, Tracked("d"));
                 auto nap = ctx.StartChild(kNap);
                 co_await ctx.RunChild(kNap, {.workflow_id = "n"});
                 const Tracked e = co_await ctx.RunChild(kChild, Tracked("e"));
                 co_await ctx.All(ring, nap);
                 auto [texts, second] = co_await ctx.All(b, c);
                 const Tracked fourth = co_await d;
                 co_return (none.ok() ? a.value().text() : "") + Join(texts, second, fourth, e);
               }),
      MakeForm("SignalsToOthersEveryWay", "sent",
               [](WorkflowContext& ctx) -> Texts {
                 auto child = ctx.StartChild(kNap);
                 co_await ctx.SignalRun("w2", kWord, Tracked("a"));
                 co_await ctx.SignalRun("w2", kGo);
                 co_await ctx.SignalRun("w2", kGo, {.run_id = "r2"});
                 co_await ctx.SignalRun("w2", "s", Tracked("b"), {.run_id = "r2"});
                 co_await ctx.SignalRun("w2", "s");
                 co_await ctx.SignalRun("w2", "s", {.run_id = "r2"});
                 co_await ctx.SignalRun(child, kWord, Tracked("c"));
                 co_await ctx.SignalRun(child, kGo);
                 co_await ctx.SignalRun(child, "s", Tracked("d"));
                 co_await ctx.SignalRun(child, "s");
                 co_await child;
                 co_return "sent";
               }),
      MakeForm("SignalsWithoutAValue", "no2",
               [](WorkflowContext& ctx) -> Texts {
                 int heard = 0;
                 co_await ctx.Receive(kGo);
                 co_await ctx.Receive<void>("s");
                 const bool no = co_await ctx.Receive(SignalDef<void>{"t"}, 1ms);
                 {
                   auto hears = ctx.OnSignal(kGo, [&heard] { ++heard; });
                   co_await ctx.WaitUntil([&heard] { return heard == 1; });
                 }
                 auto hears = ctx.OnSignal("s", [&heard] { ++heard; });
                 co_await ctx.WaitUntil([&heard] { return heard == 2; });
                 co_return (no ? "" : "no") + std::to_string(heard);
               }),
      MakeForm("NamedAwaiter", "a",
               [](WorkflowContext& ctx) -> Texts {
                 auto awaiter = ctx.Run(kEcho, Tracked("a"));
                 co_return (co_await awaiter).text();
               }),
      MakeForm("SignalsAndTimers", "sigsig",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = co_await ctx.Receive<Tracked>("s");
                 co_await ctx.Sleep(1ms);
                 const std::optional<Tracked> none = co_await ctx.Receive<Tracked>("t", 1ms);
                 if (none) co_return "unexpected";
                 co_return a.text() + (co_await ctx.Receive<Tracked>("s")).text();
               }),
      MakeForm("SideEffects", "abc",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked b = "b";
                 const auto named = [b] { return b; };
                 const Tracked first = co_await ctx.SideEffect([] { return Tracked("a"); });
                 const Tracked second = co_await ctx.SideEffect(named);
                 const Tracked third = co_await ctx.SideEffect([&] { return Tracked(b.text() == "b" ? "c" : "-"); });
                 co_return Join(first, second, third);
               }),
      MakeForm("Conditions", "yesno",
               [](WorkflowContext& ctx) -> Texts {
                 int count = 0;
                 auto counts = [&]() -> Workflow<void> {
                   const Tracked local = "x";
                   co_await ctx.Run(kRing);
                   ++count;
                 };
                 auto branch = ctx.Spawn(counts());
                 const Tracked wanted = "x";
                 const auto named = [wanted, &count] { return count > 0 && wanted.text() == "x"; };
                 co_await ctx.WaitUntil(named);
                 const bool yes = co_await ctx.WaitUntil([&] { return count == 1; }, 1s);
                 const bool no = co_await ctx.WaitUntil([&count] { return count == 2; }, 1s);
                 co_await branch;
                 co_return std::string(yes ? "yes" : "") + (no ? "" : "no");
               }),
  };
}

std::vector<Form> Composition() {
  return {
      MakeForm("HelpersByValueReferenceAndView", "alocalbc",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = co_await Helper(ctx, Tracked("a"));
                 const Tracked b = co_await HelperByReference(ctx, Tracked("b"));
                 const Tracked c = co_await HelperByView(ctx, std::string("c"));
                 co_return Join(a, b, c);
               }),
      MakeForm("ExceptionAcrossThreeLevels", "Failed",
               [](WorkflowContext& ctx) -> Texts {
                 std::string seen;
                 try {
                   const Tracked local = "l";
                   co_await Deep(ctx, 3, Tracked("d"));
                 } catch (const ActivityError& e) {
                   seen = e.failure().type;
                 }
                 co_return seen;
               }),
      MakeForm("MemberStaticAndVirtual", "nns",
               [](WorkflowContext& ctx) -> Texts {
                 Bakery bakery(Tracked("n"));
                 std::string text = co_await bakery.Member(ctx);
                 text += (co_await bakery.Virtual(ctx)).substr(0, 1);
                 text += co_await Shop::Static(ctx, Tracked("s"));
                 co_return text;
               }),
      MakeForm("NamedLambdaThatCaptures", "ab",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = "a";
                 auto lambda = [&ctx, a](Tracked b) -> Texts {
                   co_return (co_await ctx.Run(kEcho, a)).text() + b.text();
                 };
                 co_return co_await lambda(Tracked("b"));
               }),
      MakeForm("LambdaWithTrivialCapturesInPlace", "a",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = "a";
                 co_return co_await [&]() -> Texts { co_return (co_await ctx.Run(kEcho, a)).text(); }();
               }),
#if defined(__clang__) || __GNUC__ > 12  // g++ 12 destroys the closure twice, and nothing can refuse it
      MakeForm("LambdaThatCapturesInPlace", "a",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = "a";
                 co_return co_await [&ctx, a]() -> Texts { co_return (co_await ctx.Run(kEcho, a)).text(); }();
               }),
#endif
      MakeForm("LambdaOfParametersInPlace", "ab",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = "a";
                 const std::string first = co_await [](WorkflowContext& own, Tracked copy) -> Texts {
                   co_return (co_await own.Run(kEcho, copy)).text();
                 }(ctx, a);
                 auto branch = ctx.Spawn([](WorkflowContext& own, Tracked copy) -> Texts {
                   co_return (co_await own.Run(kEcho, copy)).text();
                 }(ctx, Tracked("b")));
                 co_return first + co_await branch;
               }),
      MakeForm("AggregateReturnedByAHelper", "o-32",
               [](WorkflowContext& ctx) -> Texts {
                 const Order order = co_await ReturnsAnAggregate(ctx, Tracked("o-3"));
                 auto branch = ctx.Spawn(ReturnsAnAggregate(ctx, Tracked("o-4")));
                 const Order other = co_await branch;
                 co_return order.id.text() + std::to_string(other.lines.size());
               }),
      MakeForm("StandardFunction", "a",
               std::function<Texts(WorkflowContext&)>([kept = Tracked("a")](WorkflowContext& ctx) -> Texts {
                 co_return (co_await ctx.Run(kEcho, kept)).text();
               })),
      MakeForm("GenericHelpers", "a7",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked a = co_await Generic(ctx, kEcho, Tracked("a"));
                 auto lambda = [&ctx](auto def, auto value) -> Workflow<decltype(value)> {
                   co_return co_await ctx.Run(def, value);
                 };
                 co_return a.text() + std::to_string(co_await lambda(kInt, 7));
               }),
      MakeForm("VoidHelperAndBranches", "voidvoidvoid",
               [](WorkflowContext& ctx) -> Texts {
                 std::string out;
                 co_await Void(ctx, &out);
                 auto one = ctx.Spawn(Void(ctx, &out));
                 auto two = ctx.Spawn(Void(ctx, &out));
                 co_await ctx.All(one, two);
                 co_return out;
               }),
      MakeForm("BranchesLeftBehind", "a",
               [](WorkflowContext& ctx) -> Texts {
                 auto left = ctx.Spawn(Helper(ctx, Tracked("left")));
                 auto never = ctx.Spawn(Helper(ctx, Tracked("never")));
                 co_return (co_await ctx.Run(kEcho, Tracked("a"))).text();
               }),
      MakeForm("NamedWorkflowNeverAwaited", "a",
               [](WorkflowContext& ctx) -> Texts {
                 const auto unused = Helper(ctx, Tracked("unused"));
                 auto spawned = Helper(ctx, Tracked("a"));
                 auto handle = ctx.Spawn(std::move(spawned));
                 co_return (co_await handle).text().substr(0, 1);
               }),
      MakeForm("AllOfATuple", "a7",
               [](WorkflowContext& ctx) -> Texts {
                 auto a = ctx.Start(kEcho, Tracked("a"));
                 auto timer = ctx.StartTimer(1s);
                 auto number = ctx.Start(kInt, 7);
                 auto [text, nothing, seven] = co_await ctx.All(a, timer, number);
                 co_return text.text() + std::to_string(seven);
               }),
      MakeForm("AllOfAVector", "abc",
               [](WorkflowContext& ctx) -> Texts {
                 std::vector<ActivityHandle<Tracked>> handles;
                 for (const char* text : {"a", "b", "c"}) handles.push_back(ctx.Start(kEcho, Tracked(text)));
                 std::string joined;
                 for (const Tracked& value : co_await ctx.All(handles)) joined += value.text();
                 co_return joined;
               }),
      MakeForm("AllThatFails", "Failed",
               [](WorkflowContext& ctx) -> Texts {
                 std::vector<ActivityHandle<Tracked>> handles;
                 handles.push_back(ctx.Start(kEcho, Tracked("a")));
                 handles.push_back(ctx.Start(kFail, Tracked("b")));
                 std::string seen;
                 try {
                   co_await ctx.All(handles);
                 } catch (const ActivityError& e) {
                   seen = e.failure().type;
                 }
                 co_return seen;
               }),
      MakeForm("AnyAndCancel", "0canceled",
               [](WorkflowContext& ctx) -> Texts {
                 auto a = ctx.Start(kEcho, Tracked("a"));
                 auto timer = ctx.StartTimer(24h);
                 const size_t first = co_await ctx.Any(a, timer);
                 timer.Cancel();
                 std::string seen = std::to_string(first);
                 try {
                   co_await timer;
                 } catch (const CanceledError&) {
                   seen += "canceled";
                 }
                 co_return seen;
               }),
      MakeForm("TryOfAHandle", "aFailed",
               [](WorkflowContext& ctx) -> Texts {
                 auto good = ctx.Start(kEcho, Tracked("a"));
                 auto bad = ctx.Spawn(Deep(ctx, 2, Tracked("d")));
                 const Outcome<Tracked> value = co_await ctx.Try(good);
                 const Outcome<Tracked> failure = co_await ctx.Try(bad);
                 co_return value.value().text() + failure.failure().type;
               }),
  };
}

std::vector<Form> Control() {
  return {
      MakeForm("RetryLoop", "Failed3",
               [](WorkflowContext& ctx) -> Texts {
                 int tries = 0;
                 std::string type;
                 while (tries < 3) {
                   try {
                     const Tracked local = "l";
                     co_return (co_await ctx.Run(kFail, local)).text();
                   } catch (const ActivityError& e) {
                     type = e.failure().type;
                   }
                   ++tries;
                   co_await ctx.Sleep(1ms);
                 }
                 co_return type + std::to_string(tries);
               }),
      MakeForm("SagaOfAnExceptionPointer", "undoneFailed",
               [](WorkflowContext& ctx) -> Texts {
                 std::exception_ptr error;
                 try {
                   co_await ctx.Run(kFail, Tracked("x"));
                 } catch (...) {
                   error = std::current_exception();
                 }
                 const Tracked undone = co_await ctx.Run(kEcho, Tracked("undone"));
                 std::string seen = undone.text();
                 try {
                   std::rethrow_exception(error);
                 } catch (const ActivityError& e) {
                   seen += e.failure().type;
                 }
                 co_return seen;
               }),
      MakeForm("Loops", "abcabxy",
               [](WorkflowContext& ctx) -> Texts {
                 std::string text;
                 for (const char* each : {"a", "b", "c"}) text += (co_await ctx.Run(kEcho, Tracked(each))).text();
                 const std::vector<Tracked> values = {"a", "b"};
                 for (const Tracked& each : values) text += (co_await ctx.Run(kEcho, each)).text();
                 const std::map<std::string, Tracked> map = {{"k", "x"}, {"l", "y"}};
                 for (const auto& [key, value] : map) text += (co_await ctx.Run(kEcho, value)).text();
                 co_return text;
               }),
      MakeForm("Operands", "if while for switch",
               [](WorkflowContext& ctx) -> Texts {
                 std::string text;
                 if (co_await ctx.Run(kInt, 1) == 1 && co_await ctx.Run(kInt, 2) == 2) text += "if";
                 if (co_await ctx.Run(kInt, 0) != 0 || co_await ctx.Run(kInt, 0) != 0) text += "never";
                 int n = 0;
                 while (co_await ctx.Run(kInt, n) < 2) ++n;
                 if (n == 2) text += " while";
                 for (n = 0; co_await ctx.Run(kInt, n) < 3; n += co_await ctx.Run(kInt, 1)) {
                   const Tracked local = "l";
                   co_await ctx.Run(kRing);
                 }
                 if (n == 3) text += " for";
                 switch (co_await ctx.Run(kInt, 5)) {
                   case 5: {
                     const Tracked local = " switch";
                     co_await ctx.Sleep(1ms);
                     text += local.text();
                     break;
                   }
                   default:
                     break;
                 }
                 co_return text;
               }),
      MakeForm("CompoundAssignment", "13ab",
               [](WorkflowContext& ctx) -> Texts {
                 int sum = 1;
                 sum += co_await ctx.Run(kInt, 5) + co_await ctx.Run(kInt, 7);
                 std::string text = std::to_string(sum);
                 text += (co_await ctx.Run(kEcho, Tracked("a"))).text() + (co_await ctx.Run(kEcho, Tracked("b"))).text();
                 co_return text;
               }),
      MakeForm("NestedAwait", "a",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked inner = co_await ctx.Run(kEcho, co_await ctx.Run(kEcho, Tracked("a")));
                 co_return inner.text();
               }),
      MakeForm("ArgumentsAndPairs", "abcd",
               [](WorkflowContext& ctx) -> Texts {
                 const std::string joined =
                     Join(co_await ctx.Run(kEcho, Tracked("a")), co_await ctx.Run(kEcho, Tracked("b")));
                 const std::pair<Tracked, Tracked> pair(co_await ctx.Run(kEcho, Tracked("c")),
                                                        co_await ctx.Run(kEcho, Tracked("d")));
                 co_return joined + Join(pair.first, pair.second);
               }),
      MakeForm("ConditionalsInSteps", "bx1",
               [](WorkflowContext& ctx) -> Texts {
                 const bool no = co_await ctx.Run(kInt, 0) != 0;
                 const Tracked chosen = no ? Tracked("a") : Tracked("b");
                 const Tracked text = co_await ctx.Run(kEcho, chosen);
                 auto helper = no ? Helper(ctx, Tracked("h")) : HelperByView(ctx, "x");
                 auto handle = ctx.Spawn(std::move(helper));
                 const int scalar = co_await ctx.Run(kInt, no ? 0 : 1);
                 co_return text.text() + (co_await handle).text() + std::to_string(scalar);
               }),
      MakeForm("StructuredBinding", "o-12",
               [](WorkflowContext& ctx) -> Texts {
                 const Order order{"o-1", {1, 2}};
                 const auto [id, lines] = co_await ctx.Run(kOrder, order);
                 co_return id.text() + std::to_string(lines.size());
               }),
      MakeForm("ContainersAcrossAwaits", "3ab",
               [](WorkflowContext& ctx) -> Texts {
                 std::vector<Tracked> values;
                 std::array<Tracked, 2> pair = {"a", "b"};
                 auto owned = std::make_unique<Tracked>("o");
                 std::optional<Tracked> maybe;
                 for (int i = 0; i < 3; ++i) values.push_back(co_await ctx.Run(kEcho, pair[0]));
                 maybe = co_await ctx.Run(kEcho, *owned);
                 co_return std::to_string(values.size()) + Join(pair[0], pair[1]);
               }),
      MakeForm("AllocatesAfterTheAwait", "a",
               [](WorkflowContext& ctx) -> Texts {  // `new T{co_await …}` allocates before, and leaks if it is evicted
                 Tracked value = co_await ctx.Run(kEcho, Tracked("a"));
                 const auto owned = std::make_unique<Tracked>(std::move(value));
                 co_await ctx.Sleep(1ms);
                 co_return owned->text();
               }),
      MakeForm("ThrowsAfterAnAwait", "",
               [](WorkflowContext& ctx) -> Texts {
                 const Tracked local = "l";
                 co_await ctx.Run(kRing);
                 throw ApplicationError("thrown " + local.text(), {.type = "Own"});
                 co_return "";
               }),
      MakeForm("NeverWaits", "at once",
               [](WorkflowContext&) -> Texts {
                 const Tracked local = "at once";
                 co_return local.text();
               }),
      MakeForm("FoldOfAwaits", "6",
               [](WorkflowContext& ctx) -> Texts {
                 auto sum = [&ctx](auto... x) -> Workflow<int> { co_return (co_await ctx.Run(kInt, x) + ...); };
                 co_return std::to_string(co_await sum(1, 2, 3));
               }),
  };
}

std::vector<Form> AllForms() {
  std::vector<Form> all;
  for (const auto& some : {Calls(), Composition(), Control()}) all.insert(all.end(), some.begin(), some.end());
  return all;
}

class CoroutineFormsTest : public ::testing::TestWithParam<Form> {};
INSTANTIATE_TEST_SUITE_P(, CoroutineFormsTest, ::testing::ValuesIn(AllForms()),
                         [](const auto& form) { return std::string(form.param.name); });

// Stops after 0, 1, 2 … waits, until it has ended.
TEST_P(CoroutineFormsTest, RunsAndCanBeDestroyedAtEachWait) {
  const std::set<const Tracked*> before = Tracked::Living();
  bool ended = false;
  for (int stop_after = 0; !ended; ++stop_after) {
    ASSERT_LT(stop_after, 100) << "does not end";
    {
      Driver driver(GetParam().factory);
      for (int i = 0; i < stop_after && !driver.closed(); ++i) driver.Step();
      ended = driver.closed();
      if (ended && GetParam().expected != "\"\"") {
        EXPECT_EQ(driver.End(), GetParam().expected);
      }
      EXPECT_EQ(driver.ReplayAgain(), "") << "after " << stop_after;
    }
    EXPECT_EQ(Tracked::Living(), before) << "leaked, destroyed after " << stop_after;
  }
}

thread_local int of_the_thread = 0;

// clang 14 kept a thread's id and the addresses of its variables across a co_await.
TEST(CoroutineThreadTest, SeesTheThreadThatResumesIt) {
  using Seen = std::pair<std::thread::id, const int*>;
  const auto here = [] { return Seen(std::this_thread::get_id(), &of_the_thread); };
  std::vector<Seen> seen;
  const auto workflow = [&seen, here](WorkflowContext& ctx) -> Workflow<void> {
    for (int i = 0; i < 2; ++i) {
      seen.emplace_back(std::this_thread::get_id(), &of_the_thread);
      co_await ctx.Run(kRing);
    }
    seen.push_back(here());
  };
  const detail::WorkflowFactory factory = detail::MakeWorkflow<void()>(workflow);
  Driver driver(factory);
  std::vector<Seen> expected = {here()};
  std::thread other([&] {
    driver.Step();
    expected.push_back(here());
  });
  other.join();
  driver.Step();
  expected.push_back(here());
  EXPECT_TRUE(driver.closed());
  EXPECT_EQ(seen, expected);
  EXPECT_NE(seen[0].first, seen[1].first);
}

// Not as deep as a stack: helpers that never wait, a million of them.
TEST(CoroutineStackTest, AMillionHelpersThatDoNotWait) {
  struct Helpers {
    static Workflow<int> One() { co_return 1; }
  };
  const auto workflow = [](WorkflowContext&) -> Workflow<int> {
    int sum = 0;
    for (int i = 0; i < 1'000'000; ++i) sum += co_await Helpers::One();
    co_return sum;
  };
  const detail::WorkflowFactory factory = detail::MakeWorkflow<int()>(workflow);
  EXPECT_EQ(Driver(factory).End(), "1000000");
}

}  // namespace
}  // namespace marathon::tests::coroutine_forms_test
