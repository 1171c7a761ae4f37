// A schedule: starts a run of a workflow at each of its times, and whenever it is told to.
//
//   schedule "reports" ──┬── every 200 ms ──► Report "reports/2027-01-15T03:00:00.200Z" …
//                        ├── paused: no more of them
//                        └── triggered ─────► Report "reports/trigger-1"
#include <marathon/marathon.h>

#include <iostream>
#include <thread>

using namespace std::chrono_literals;

inline constexpr marathon::WorkflowDef<std::string(std::string)> kReport{"Report"};

marathon::Workflow<std::string> Report(marathon::WorkflowContext& ctx, std::string region) {
  std::cout << "a report of the " << region << " is written\n";
  co_await ctx.Sleep(20ms);
  co_return "report of the " + region;
}

// Looks until the schedule has started so many runs.
absl::Status AwaitStarts(const marathon::Schedule& schedule, int64_t count) {
  for (;;) {
    const auto now = schedule.Describe();
    if (!now.ok()) return now.status();
    if (now->counts.started >= count) return {};
    std::this_thread::sleep_for(10ms);
  }
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kReport, Report);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  // In earnest: {.crons = {"0 3 * * MON-FRI"}, .time_zone = "Europe/Berlin"}
  auto schedule = engine->CreateSchedule("reports", {.intervals = {{.every = 200ms}}}, kReport, "north",
                                         {.overlap = marathon::OverlapPolicy::kBufferOne,
                                          .remaining_actions = 3});
  if (!schedule.ok()) return Complain(schedule.status());

  if (auto status = AwaitStarts(*schedule, 3); !status.ok()) return Complain(status);
  if (auto status = schedule->Pause("enough for today"); !status.ok()) return Complain(status);
  if (auto status = schedule->Trigger(); !status.ok()) return Complain(status);  // also while paused
  if (auto status = AwaitStarts(*schedule, 4); !status.ok()) return Complain(status);
  const auto extra = engine->Find("reports/trigger-1").Result<std::string>(10s);
  if (!extra.ok()) return Complain(extra.status());
  std::cout << "triggered: " << *extra << "\n";
  if (auto status = schedule->Delete(); !status.ok()) return Complain(status);
}
