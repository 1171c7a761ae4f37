// A signal or a timer, whichever comes first: a request waits for a person, but not for ever.
//
//   Expense ──► ask ──┬── signal "decision" ──► paid or refused
//                     └── 150 ms pass ────────► escalated
#include <marathon/marathon.h>

#include <iostream>

using namespace std::chrono_literals;

struct Decision {
  std::string by;
  bool approved = false;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Decision, by, approved)

inline constexpr marathon::SignalDef<Decision> kDecision{"decision"};
inline constexpr marathon::WorkflowDef<std::string(int)> kExpense{"Expense"};

marathon::Workflow<std::string> Expense(marathon::WorkflowContext& ctx, int amount) {
  const std::optional<Decision> decision = co_await ctx.Receive(kDecision, 150ms);
  if (!decision) co_return "nobody decided about " + std::to_string(amount);
  co_return decision->by + (decision->approved ? " paid " : " refused ") + std::to_string(amount);
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kExpense, Expense);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  auto lunch = engine->Start(kExpense, 12, {.workflow_id = "lunch"});
  auto yacht = engine->Start(kExpense, 1'000'000, {.workflow_id = "yacht"});
  if (!lunch.ok()) return Complain(lunch.status());
  if (!yacht.ok()) return Complain(yacht.status());
  // From anywhere that can open the store: the id is enough.
  const absl::Status sent = engine->Find("lunch").Signal(kDecision, {"Ada", true});
  if (!sent.ok()) return Complain(sent);

  for (const auto& run : {*lunch, *yacht}) {
    const auto result = run.Result<std::string>(10s);
    if (!result.ok()) return Complain(result.status());
    std::cout << run.workflow_id() << ": " << *result << "\n";
  }
}
