// An inbox: one run a customer, which the first message starts. Each message is read once, however often it is sent,
// and what is not read yet goes along when the run continues as new.
//
//   SignalWithStart "mail" (twice each) ──► run 1: reads two ──► run 2: reads two ──► run 3: reads one … quiet ──► done
//   Signal "alarm" ──► handler, at once       └── three unread ──┴── one unread ──┘
#include <marathon/marathon.h>

#include <iostream>
#include <optional>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

struct State {
  Texts mails = {};
  Texts alarms = {};
  int runs = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(State, mails, alarms, runs)

inline constexpr marathon::SignalDef<std::string> kMail{"mail"};
inline constexpr marathon::SignalDef<std::string> kAlarm{"alarm"};
inline constexpr marathon::SignalDef<bool> kOpen{"open"};
inline constexpr marathon::WorkflowDef<State(State)> kInbox{"Inbox"};

marathon::Workflow<State> Inbox(marathon::WorkflowContext& ctx, State state) {
  // Takes alarms as they come, those of before too, whatever the body waits for.
  auto alarms = ctx.OnSignal(kAlarm, [&](std::string text) { state.alarms.push_back(text); });
  if (state.runs == 1) co_await ctx.Receive(kOpen);
  constexpr int kMailsOfARun = 2;  // a real one asks ctx.ContinueAsNewSuggested()
  for (int i = 0; i < kMailsOfARun; ++i) {
    const std::optional<std::string> mail = co_await ctx.Receive(kMail, 100ms);
    if (!mail) co_return state;  // it is quiet: the next message will start an inbox of its own
    state.mails.push_back(*mail);
  }
  ++state.runs;
  co_await ctx.ContinueAsNew(state);  // does not come back
  co_return state;
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kInbox, Inbox);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  // Whoever sends need not know whether there is an inbox, nor whether a message that got no answer has arrived: it
  // sends again, under the same request ids.
  const Texts mails = {"one", "two", "three", "four", "five"};
  const marathon::StartOptions start{.workflow_id = "customer-7", .request_id = "customer-7"};
  for (const std::string& mail : mails) {
    for (int times = 0; times < 2; ++times) {
      const auto sent = engine->SignalWithStart(kInbox.name, State(), kMail.name, mail, start, {.request_id = mail});
      if (!sent.ok()) return Complain(sent.status());
    }
  }
  const marathon::Run run = engine->Find("customer-7");
  if (auto status = run.Signal(kAlarm, "the roof leaks"); !status.ok()) return Complain(status);
  if (auto status = run.Signal(kOpen, true); !status.ok()) return Complain(status);

  const auto state = run.Result<State>(10s);
  if (!state.ok()) return Complain(state.status());
  for (const std::string& mail : state->mails) std::cout << "mail: " << mail << "\n";
  for (const std::string& alarm : state->alarms) std::cout << "alarm: " << alarm << "\n";
  std::cout << state->runs << " runs\n";
  return state->mails == mails && state->alarms.size() == 1 && state->runs == 3 ? 0 : 1;
}
