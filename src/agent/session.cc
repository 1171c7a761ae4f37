#include "marathon/agent/session.h"

#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "marathon/agent/agent.h"
#include "marathon/agent/loop.h"
#include "marathon/codec.h"
#include "marathon/errors.h"
#include "marathon/llm/json.h"
#include "src/agent/json.h"
#include "src/llm/kept_json.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

// Turns that are still taken once the history is long, if somebody always waits: it must not come to its limit.
constexpr int kLateTurns = 10;

[[noreturn]] void TurnAway(const char* type, const char* message) {
  throw ApplicationError(message, {.type = type, .non_retryable = true});
}

class Session {
 public:
  Session(WorkflowContext& ctx, const Agent& agent, const SessionOptions& options, const SessionInput& input)
      : ctx_(ctx),
        agent_(agent),
        options_(options),
        began_(input.began == Time() ? ctx.Now() : input.began),
        ledger_(options.budget, agent.prices, began_, input.spent),
        loop_(ctx, agent, Conversation(input.messages, input.kept, input.head)),
        turns_(input.turns),
        says_(ctx.OnUpdate(
            kSay, [this](Input said) { return Say(std::move(said)); }, [this](const Input& said) { Admit(said); })),
        closes_(ctx.OnSignal(kClose.name,
                             [this](Payload signal) {
                               const auto order = Decode<StopOrder>(signal);
                               if (!closed_) closed_ = order.ok() ? order->reason : "";
                             })),
        status_(ctx.OnQuery(kSession, [this] { return GetStatus(); })) {}

  Workflow<SessionResult> Run() {
    for (;;) {
      // Whoever waits for the last turn has its result before the run may end.
      co_await ctx_.WaitUntil([this] { return !waiting_.empty() || ctx_.AllHandlersFinished(); });
      if (MayGoOn() && ctx_.ContinueAsNewSuggested()) co_await GoOn();
      const bool in_time = co_await WaitForWork();
      if (!waiting_.empty()) {
        co_await TakeTurn();
      } else if (closed_ || !in_time) {
        break;
      }
    }
    SessionResult result{.why = closed_ ? "closed" : "idle", .reason = closed_.value_or(""), .turns = turns_};
    result.spent = ledger_.spent();
    co_return result;
  }

 private:
  struct Turn {
    Input input;
    std::optional<Result> result{};
  };

  // Who says something waits here, in the order of arrival.
  Workflow<Result> Say(Input said) {
    Turn turn{std::move(said)};
    waiting_.push_back(&turn);
    co_await ctx_.WaitUntil([&turn] { return turn.result.has_value(); });
    co_return *std::move(turn.result);
  }

  void Admit(const Input& said) const {
    if (closed_) TurnAway("Closed", "the session is closed");
    if (said.messages.empty()) TurnAway("Empty", "there is no message");
    if (static_cast<int>(waiting_.size()) >= options_.max_waiting) TurnAway("Busy", "too many messages wait");
    if (late_turns_ >= kLateTurns) TurnAway("Busy", "the session is about to go on as a new run: say it again");
  }

  // True: there is something to do. False: it has been idle for too long.
  Workflow<bool> WaitForWork() {
    const auto work = [this] { return !waiting_.empty() || closed_.has_value(); };
    bool in_time = true;
    if (options_.idle_timeout > Duration(0)) {
      in_time = co_await ctx_.WaitUntil(work, options_.idle_timeout);
    } else {
      co_await ctx_.WaitUntil(work);
    }
    co_return in_time;
  }

  Workflow<void> TakeTurn() {
    Turn& turn = *waiting_.front();
    waiting_.pop_front();
    busy_ = true;
    Budget lent;
    const Budget wanted = turn.input.budget ? Least(agent_.budget, *turn.input.budget) : agent_.budget;
    Result result{.stop = StopReason::kBudget, .why = ledger_.Lend(wanted, 1, ctx_.Now(), lent)};
    if (result.why.empty()) {
      turn.input.budget = lent;
      loop_.Begin(turn.input, turns_ + 1);
      result = co_await RunTurn(loop_);
      ledger_.Return(lent, result.spent);
    }
    ++turns_;
    if (ctx_.ContinueAsNewSuggested()) ++late_turns_;
    busy_ = false;
    turn.result = std::move(result);
  }

  bool MayGoOn() const { return waiting_.empty() && !closed_; }

  // As a new run. Comes back if somebody says something meanwhile, or if all that was said is too large to go with it.
  Workflow<void> GoOn() {
    if (const auto fits = Encode<SessionInput>(Next()); !fits.ok()) {
      ctx_.Log(LogLevel::kWarning, "the session cannot go on as a new run: " + std::string(MessageOf(fits.status())));
      late_turns_ = 0;
      co_return;
    }
    co_await loop_.TellContinued();
    if (!MayGoOn()) co_return;
    const SessionInput next = Next();
    try {
      co_await ctx_.ContinueAsNew(next);
    } catch (const ApplicationError& error) {
      ctx_.Log(LogLevel::kWarning, std::string("the session cannot go on as a new run: ") + error.what());
    }
    late_turns_ = 0;
  }

  SessionInput Next() const {
    const Conversation& said = loop_.conversation();
    return {said.messages(), said.head(), said.kept(), turns_, ledger_.spent(), began_};
  }

  SessionStatus GetStatus() const {
    return {.turns = turns_, .busy = busy_, .turn = busy_ ? turns_ + 1 : 0, .waiting = static_cast<int>(waiting_.size()), .spent = ledger_.spent()};
  }

  WorkflowContext& ctx_;
  const Agent& agent_;
  const SessionOptions& options_;
  const Time began_;
  Ledger ledger_;
  Loop loop_;
  std::deque<Turn*> waiting_;  // each lives in the coroutine that waits for it
  std::optional<std::string> closed_;  // why
  int turns_;
  bool busy_ = false;
  int late_turns_ = 0;

  // Behind all that they refer to.
  HandlerRegistration says_;
  HandlerRegistration closes_;
  HandlerRegistration status_;
};

}  // namespace

Workflow<SessionResult> RunSession(WorkflowContext& ctx, const Agent& agent, const SessionOptions& options,
                                   const SessionInput& input) {
  Session session(ctx, agent, options, input);
  SessionResult result = co_await session.Run();
  co_return result;
}

// ---- Kept forms

using llm::internal::Get;
using llm::internal::Put;
using nlohmann::json;

void to_json(json& to, const SessionInput& input) {
  to = {{"messages", input.messages}};
  if (input.head) to["head"] = internal::ToJson(*input.head);
  Put(to, "kept", input.kept);
  Put(to, "turns", input.turns);
  if (input.spent != Spending()) to["spent"] = input.spent;
  if (input.began != Time()) to["began"] = ToMicros(input.began);
}
void from_json(const json& from, SessionInput& input) {
  Get(from, "messages", input.messages);
  if (const auto head = from.find("head"); head != from.end()) input.head = internal::ToRef(*head);
  Get(from, "kept", input.kept);
  Get(from, "turns", input.turns);
  Get(from, "spent", input.spent);
  if (const auto began = from.find("began"); began != from.end()) input.began = FromMicros(began->get<int64_t>());
  if (input.kept > input.messages.size() || (input.kept > 0 && !input.head)) {
    throw std::invalid_argument("a session keeps only messages that it has, and knows their head");
  }
}

void to_json(json& to, const SessionResult& result) {
  to = {{"why", result.why}, {"turns", result.turns}, {"spent", result.spent}};
  Put(to, "reason", result.reason);
}
void from_json(const json& from, SessionResult& result) {
  from.at("why").get_to(result.why);
  Get(from, "reason", result.reason);
  Get(from, "turns", result.turns);
  Get(from, "spent", result.spent);
}

void to_json(json& to, const SessionStatus& status) {
  to = {{"turns", status.turns}, {"busy", status.busy}, {"waiting", status.waiting}, {"spent", status.spent}};
  Put(to, "turn", status.turn);
}
void from_json(const json& from, SessionStatus& status) {
  Get(from, "turns", status.turns);
  Get(from, "busy", status.busy);
  Get(from, "turn", status.turn);
  Get(from, "waiting", status.waiting);
  Get(from, "spent", status.spent);
}

}  // namespace marathon::inline MARATHON_ABI::agent
