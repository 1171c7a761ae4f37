// Labels: runs that are found by what they are about and how far they have come, by programs that know none of their
// ids. A memo is only shown.
//
//   Order {customer, stage: open} ──► paid ──► {stage: paid} ──► sent
//                list, count {customer: c-7, stage: paid}
#include <marathon/marathon.h>

#include <iostream>
#include <string>

using namespace std::chrono_literals;

inline constexpr marathon::WorkflowDef<std::string(int)> kOrder{"Order"};
inline constexpr marathon::UpdateDef<int(std::string)> kPay{"pay"};
inline constexpr marathon::SignalDef<bool> kSent{"sent"};

marathon::Workflow<std::string> Order(marathon::WorkflowContext& ctx, int amount) {
  ctx.SetAttributes({{"stage", "open"}});
  bool paid = false;
  auto pays = ctx.OnUpdate(kPay, [&](std::string by) {
    ctx.SetAttributes({{"stage", "paid"}, {"paid by", by}, {"dunned", ""}});  // the last is taken away, if it is there
    paid = true;
    return amount;
  });
  co_await ctx.WaitUntil([&] { return paid; });
  co_await ctx.Receive(kSent);
  co_return std::string(marathon::LabelOf(ctx.attributes(), "customer")) + " got it for " + std::to_string(amount);
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kOrder, Order);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  for (int i = 1; i <= 6; ++i) {
    marathon::StartOptions options{.workflow_id = "order-" + std::to_string(i)};
    options.attributes = {{"customer", i % 2 == 0 ? "c-8" : "c-7"}};
    options.memo = {{"placed by", i % 2 == 0 ? "Grace" : "Ada"}};
    auto started = engine->Start(kOrder, 10 * i, options);
    if (!started.ok()) return Complain(started.status());
    if (i > 4) continue;
    if (auto pay = started->Update(kPay, "card"); !pay.ok()) return Complain(pay.status());
  }

  const auto paid = engine->Count({.attributes = {{"stage", "paid"}}});
  if (!paid.ok()) return Complain(paid.status());
  std::cout << *paid << " orders are paid\n";
  const auto theirs = engine->List({.attributes = {{"customer", "c-7"}, {"stage", "paid"}}});
  if (!theirs.ok()) return Complain(theirs.status());
  for (const marathon::RunRow& row : theirs->runs) {
    std::cout << row.key.workflow_id.view() << ", placed by " << marathon::LabelOf(row.labels->memo, "placed by") << "\n";
    const marathon::Run run = engine->Find(row.key.workflow_id);
    if (auto status = run.Signal(kSent, true); !status.ok()) return Complain(status);
    const auto result = run.Result<std::string>(10s);
    if (!result.ok()) return Complain(result.status());
    std::cout << *result << "\n";
  }
}
