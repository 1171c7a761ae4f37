// A workflow made of workflows: an order has each of its parcels sent by a child, tells one of them where to go,
// and leaves a survey behind that outlives it.
//
//   order-7 ──┬── RunChild ──► parcel "lamp"         each child is a run of its own: on any worker, with its own
//             ├── RunChild ──► parcel "table"        history, retries and cancel
//             │        ▲ signal "address"
//             └── StartChild ─► survey (abandoned)   goes on when the order is done
#include <marathon/marathon.h>

#include <iostream>
#include <string>
#include <vector>

using namespace std::chrono_literals;

inline constexpr marathon::ActivityDef<std::string(std::string)> kSend{"Send"};
inline constexpr marathon::WorkflowDef<std::string(std::string)> kParcel{"Parcel"};
inline constexpr marathon::WorkflowDef<std::string(std::string)> kSurvey{"Survey"};
inline constexpr marathon::SignalDef<std::string> kAddress{"address"};

marathon::Workflow<std::string> Parcel(marathon::WorkflowContext& ctx, std::string thing) {
  const auto address = co_await ctx.Receive(kAddress, 50ms);
  const std::string label = thing + " to " + address.value_or("the shop");
  co_return co_await ctx.Run(kSend, label);
}

marathon::Workflow<std::string> Survey(marathon::WorkflowContext& ctx, std::string order) {
  co_await ctx.Sleep(100ms);  // some days later
  co_return "how was " + order + "?";
}

marathon::Workflow<std::vector<std::string>> Order(marathon::WorkflowContext& ctx) {
  const std::string lamp = "lamp", table = "table", home = "home";
  const auto first = ctx.StartChild(kParcel, lamp);
  const auto second = ctx.StartChild(kParcel, table);
  co_await ctx.SignalRun(second, kAddress, home);  // it may not even have begun
  const std::string order = ctx.workflow_id();
  const auto survey = ctx.StartChild(
      kSurvey, order,
      {.workflow_id = "survey-7", .on_parent_close = marathon::ParentClosePolicy::kAbandon});
  const auto [sent_first, sent_second] = co_await ctx.All(first, second);
  co_return std::vector<std::string>{sent_first, sent_second};
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind("Order", Order);
  registry.Bind(kParcel, Parcel);
  registry.Bind(kSurvey, Survey);
  registry.Bind(kSend, [](const std::string& label) { return "sent: " + label; });
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  auto run = engine->Start("Order", {.workflow_id = "order-7"});
  if (!run.ok()) return Complain(run.status());
  const auto sent = run->Result<std::vector<std::string>>(10s);
  if (!sent.ok()) return Complain(sent.status());
  for (const std::string& line : *sent) std::cout << line << "\n";

  // The survey has outlived the run that started it.
  const auto question = engine->Find("survey-7").Result<std::string>(10s);
  if (!question.ok()) return Complain(question.status());
  std::cout << *question << "\n";
}
