// What an operator does to a run from another program, or a shell: this one knows its id and nothing of its code.
//
//   Payout ──► Pay: the bank is down ──► next try in a day
//                operator: pause … the bank is back … retry now, resume ──► paid … delete
#include <marathon/marathon.h>

#include <atomic>
#include <iostream>
#include <thread>

using namespace std::chrono_literals;

inline constexpr marathon::ActivityDef<std::string(int)> kPay{"Pay"};
inline constexpr marathon::WorkflowDef<std::string(int)> kPayout{"Payout"};
constexpr marathon::RetryPolicy kTomorrow{.initial_interval = 24h};

marathon::Workflow<std::string> Payout(marathon::WorkflowContext& ctx, int amount) {
  // Should paying kill five workers in a row, it waits for the operator, too.
  co_return co_await ctx.Run(kPay, amount, {.retry = &kTomorrow, .hold_dead_letter = true});
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

// The activity that waits for its next attempt, once there is one.
marathon::EventId Waiting(const marathon::Run& run) {
  for (;;) {
    const auto described = run.Describe();
    if (!described.ok()) return 0;
    for (const marathon::ActivityRow& activity : described->activities) {
      if (activity.state != marathon::ActivityState::kBackoff) continue;
      std::cout << activity.activity_type << " failed: " << activity.last_failure->message << "\n";
      return activity.key.id;
    }
    std::this_thread::yield();
  }
}

int main() {
  std::atomic<bool> bank_is_up = false;
  marathon::Registry registry;
  registry.Bind(kPayout, Payout);
  registry.Bind(kPay, [&](int amount) {
    if (!bank_is_up) throw marathon::ApplicationError("the bank is down");
    return "paid " + std::to_string(amount);
  });
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());
  auto started = engine->Start(kPayout, 120, {.workflow_id = "payout-7"});
  if (!started.ok()) return Complain(started.status());

  const marathon::Run run = engine->Find("payout-7");
  const marathon::EventId pay = Waiting(run);
  if (auto status = run.Pause("until the bank is back"); !status.ok()) return Complain(status);
  const auto paused = engine->List({.paused_only = true});
  if (!paused.ok()) return Complain(paused.status());
  for (const marathon::RunRow& row : paused->runs) {
    std::cout << row.key.workflow_id.view() << " is paused: " << row.paused->reason << "\n";
  }

  bank_is_up = true;
  if (auto status = run.RetryActivity(pay); !status.ok()) return Complain(status);  // once it may
  if (auto status = run.Resume(); !status.ok()) return Complain(status);
  const auto result = run.Result<std::string>(10s);
  if (!result.ok()) return Complain(result.status());
  std::cout << *result << "\n";

  if (auto status = run.Delete(); !status.ok()) return Complain(status);
  const absl::Status gone = run.Describe().status();
  std::cout << "deleted: " << (absl::IsNotFound(gone) ? "there is no such run" : gone.ToString()) << "\n";
}
