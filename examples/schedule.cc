// A schedule: starts a run of a workflow at each of its times, and whenever it is told to.
//
//   schedule "reports" ──┬── every 200 ms ──► Report "reports/2027-01-15T03:00:00.200Z" ──► Write …
//                        ├── paused: no more of them
//                        └── triggered ─────► Report "reports/trigger-1"
#include <marathon/marathon.h>

#include <iostream>
#include <semaphore>

using namespace std::chrono_literals;

inline constexpr marathon::WorkflowDef<std::string(std::string)> kReport{"Report"};

inline constexpr marathon::ActivityDef<std::string(std::string)> kWrite{"Write"};

marathon::Workflow<std::string> Report(marathon::WorkflowContext& ctx, std::string region) {
  co_return co_await ctx.Run(kWrite, region);
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kReport, Report);
  std::counting_semaphore<> written(0);
  registry.Bind(kWrite, [&](const std::string& region) {
    std::cout << "a report of the " << region << " is written\n";
    written.release();
    return "report of the " + region;
  });
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  // In earnest: {.crons = {"0 3 * * MON-FRI"}, .time_zone = "Europe/Berlin"}
  auto schedule = engine->CreateSchedule("reports", {.intervals = {{.every = 200ms}}}, kReport, "north",
                                         {.overlap = marathon::OverlapPolicy::kBufferOne,
                                          .remaining_actions = 3});
  if (!schedule.ok()) return Complain(schedule.status());

  for (int i = 0; i < 3; ++i) written.acquire();
  if (auto status = schedule->Pause("enough for today"); !status.ok()) return Complain(status);
  if (auto status = schedule->Trigger(); !status.ok()) return Complain(status);  // also while paused
  written.acquire();
  const auto extra = engine->Find("reports/trigger-1").Result<std::string>(10s);
  if (!extra.ok()) return Complain(extra.status());
  std::cout << "triggered: " << *extra << "\n";
  if (auto status = schedule->Delete(); !status.ok()) return Complain(status);
}
