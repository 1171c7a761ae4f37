// Priorities: a nightly batch has filled the task queue when a customer comes, who does not wait for its end.
//
//   Batch (priority 5) ──► Report 1 … 6 ─┐
//                                        ├─► one queue, one worker that writes one report at a time
//   Customer (priority 1) ──► Invoice ───┘
#include <marathon/marathon.h>

#include <iostream>
#include <string>
#include <thread>

using namespace std::chrono_literals;

inline constexpr marathon::ActivityDef<std::string(std::string)> kWrite{"Write"};

std::string last;  // what was written, in the end

std::string Write(const std::string& what) {
  std::cout << what << "\n";
  last = what;  // one thread writes
  std::this_thread::sleep_for(100ms);  // it is work
  return what;
}

marathon::Workflow<int> Batch(marathon::WorkflowContext& ctx, int reports) {
  std::vector<marathon::ActivityHandle<std::string>> written;
  for (int i = 1; i <= reports; ++i) written.push_back(ctx.Start(kWrite, "report " + std::to_string(i)));
  co_await ctx.All(written);
  co_return reports;
}

// Its activities have its priority, unless they say otherwise: {.priority = 2}.
marathon::Workflow<std::string> Customer(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.Run(kWrite, "invoice of a customer of priority " + std::to_string(ctx.priority()));
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kWrite, Write);
  registry.Bind("Batch", Batch);
  registry.Bind("Customer", Customer);
  auto engine = marathon::Engine::Open("memory:", registry, {.activity_threads = 1});
  if (!engine.ok()) return Complain(engine.status());
  auto batch = engine->Start("Batch", 6, {.priority = 5});
  if (!batch.ok()) return Complain(batch.status());
  auto customer = engine->Start("Customer", {.priority = 1});
  if (!customer.ok()) return Complain(customer.status());
  if (const auto invoice = customer->Result<std::string>(10s); !invoice.ok()) return Complain(invoice.status());
  if (const auto reports = batch->Result<int>(10s); !reports.ok()) return Complain(reports.status());
  return last.starts_with("report") ? 0 : Complain(absl::InternalError("the customer had to wait for all reports"));
}
