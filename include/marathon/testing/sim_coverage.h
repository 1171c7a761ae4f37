// SimCoverage: which of the library's public operations the simulator has used, and how often.
//
//   SimUses<"ctx.Start", "ctx.Any">();   // in what the simulator runs; a name that the table has not does not compile
//
// Overloads that differ in types alone are one operation. The simulator's users call a Host, since nothing may block
// in one thread; an Engine and its Runs wait for the same calls. In workflows, replays count, too.
//
// A value. SimUses counts for the simulation of the calling thread.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::testing {

inline constexpr std::string_view kSimOperations[] = {
    // Of a workflow.
    "ctx.Run", "ctx.TryRun", "ctx.Start", "ctx.Start(concurrency_key)", "ctx.RunLocal", "ctx.StartLocal", "ctx.RunChild", "ctx.StartChild",
    "ctx.SignalRun", "ctx.SignalRun(child)", "ctx.CancelRun", "ctx.Sleep", "ctx.StartTimer", "ctx.Now", "ctx.Spawn",
    "ctx.All", "ctx.All(vector)", "ctx.Any", "ctx.Any(vector)", "ctx.Try", "ctx.Receive", "ctx.Receive(timeout)",
    "ctx.WaitUntil", "ctx.WaitUntil(timeout)", "ctx.OnSignal", "ctx.OnSignal(Workflow)", "ctx.OnUpdate",
    "ctx.OnUpdate(validator)", "ctx.OnQuery", "ctx.AllHandlersFinished", "ctx.cancel_requested", "ctx.cancel_reason",
    "ctx.Version", "ctx.Patched", "ctx.ContinueAsNew", "ctx.ContinueAsNewSuggested", "ctx.SideEffect", "ctx.Random",
    "ctx.NewUuid", "ctx.SetAttributes", "ctx.attributes", "ctx.memo", "ctx.workflow_id", "ctx.run_id",
    "ctx.workflow_type", "ctx.first_run_id", "ctx.attempt", "ctx.priority", "ctx.parent", "ctx.is_replaying", "ctx.Log",
    "Handle.co_await", "Handle.done", "ActivityHandle.Cancel", "TimerHandle.Cancel", "BranchHandle.Cancel",
    "ChildHandle.Cancel", "ChildHandle.Cancel(kTry)", "ChildHandle.Cancel(kAbandon)", "ChildHandle.run", "CancellationScope.Cancel", "CancellationScope.canceled", "ShieldedScope",
    // Of an activity.
    "activity.Heartbeat", "activity.LastHeartbeat", "activity.CompleteLater", "activity.idempotency_key",
    "activity.stop_token", "activity.elapsed", "activity.Complete", "activity.Fail", "activity.Postpone",
    // Of a program that has an engine.
    "Engine.Start", "Engine.SignalWithStart", "Engine.UpdateWithStart", "Engine.Find", "Engine.List", "Engine.Count",
    "Engine.CompleteActivity", "Engine.FailActivity", "Engine.Shutdown", "Engine.CreateSchedule",
    "Engine.FindSchedule", "Engine.ListSchedules", "Run.Result", "Run.Signal", "Run.Cancel", "Run.Query",
    "Run.Update", "Run.StartUpdate", "Run.FindUpdate", "Run.Terminate", "Run.Unblock", "Run.Pause", "Run.Resume",
    "Run.Pin", "Run.Unpin", "Run.RetryActivity", "Run.Delete", "Run.Fork", "Run.Describe", "Run.History",
    "Run.Subscribe", "UpdateHandle.Wait", "UpdateHandle.Result", "Schedule.Pause", "Schedule.Resume",
    "Schedule.Trigger", "Schedule.Backfill", "Schedule.Update", "Schedule.Describe", "Schedule.Delete",
    // Of what stands beside the runs, and of payloads that do.
    "Payload(large)", "Payload(sealed)",
    "BlobStore.Put", "BlobStore.Get", "BlobStore.Sweep", "StreamLog.Append", "StreamLog.Read", "StreamLog.CancelRead",
    "StreamLog.Trim", "StreamLog.Sweep", "Limiter.Acquire", "Limiter.Settle", "Limiter.Clear", "Limiter.Enter",
    "Limiter.Leave", "Transactions.End"};

class SimOperation {
 public:
  consteval SimOperation(const char* name) {  // NOLINT(google-explicit-constructor): named where it is noted
    while (kSimOperations[index] != name) ++index;  // behind the last: no constant, and so an error
  }
  size_t index = 0;
};

// What the simulator does without, and why.
struct SimLeftOut {
  SimOperation operation;
  std::string_view reason;
};
inline constexpr std::string_view kSimNamesOnly = "only makes a handle, in the caller's process";
inline constexpr std::string_view kSimSchedules =
    "a schedule is a workflow of the library's, commanded by signals: tests/sim/schedule_test.cc";
inline constexpr std::string_view kSimForOperators = "changes what others count on: the ports' conformance suites";
inline constexpr SimLeftOut kSimLeftOut[] = {
    {"ctx.is_replaying", "code that decides by it breaks, and what it says is not to be the same"},
    {"Engine.Find", kSimNamesOnly},
    {"Engine.FindSchedule", kSimNamesOnly},
    {"Run.FindUpdate", kSimNamesOnly},
    {"Engine.CreateSchedule", kSimSchedules},
    {"Engine.ListSchedules", kSimSchedules},
    {"Schedule.Pause", kSimSchedules},
    {"Schedule.Resume", kSimSchedules},
    {"Schedule.Trigger", kSimSchedules},
    {"Schedule.Backfill", kSimSchedules},
    {"Schedule.Update", kSimSchedules},
    {"Schedule.Describe", kSimSchedules},
    {"Schedule.Delete", kSimSchedules},
    {"Limiter.Clear", kSimForOperators},
    {"Transactions.End", "the simulated store has none: tests/workflow/transactions_test.cc"},
};

class SimCoverage {
 public:
  void Count(SimOperation operation) { ++counts_[operation.index]; }

  SimCoverage& operator+=(const SimCoverage& other) {
    for (size_t i = 0; i < std::size(counts_); ++i) counts_[i] += other.counts_[i];
    return *this;
  }

  // "ctx.Run 12, ctx.Start 7": those that were used.
  std::string Covered() const {
    std::string text;
    for (size_t i = 0; i < std::size(counts_); ++i) {
      if (counts_[i] > 0) Add(text, fmt::format("{} {}", kSimOperations[i], counts_[i]));
    }
    return text;
  }
  // "Engine.Find, Run.FindUpdate (why), Limiter.Clear (why)": those that were not, as planned.
  std::string LeftOut() const {
    std::string text;
    std::string_view reason;  // of the last
    for (const SimLeftOut& out : kSimLeftOut) {
      if (counts_[out.operation.index] > 0) continue;
      if (!reason.empty() && reason != out.reason) text += fmt::format(" ({})", reason);
      Add(text, kSimOperations[out.operation.index]);
      reason = out.reason;
    }
    return reason.empty() ? text : fmt::format("{} ({})", text, reason);
  }
  // "ctx.Run": those that were not, and should have been.
  std::string Missing() const {
    std::string text;
    for (size_t i = 0; i < std::size(counts_); ++i) {
      if (counts_[i] == 0 && !IsLeftOut(i)) Add(text, kSimOperations[i]);
    }
    return text;
  }

  // Of the simulation of this thread; null: it runs none.
  static SimCoverage*& OfThisThread() {
    thread_local SimCoverage* coverage = nullptr;
    return coverage;
  }

 private:
  static void Add(std::string& text, std::string_view one) {
    if (!text.empty()) text += ", ";
    text += one;
  }
  static bool IsLeftOut(size_t operation) {
    for (const SimLeftOut& out : kSimLeftOut) {
      if (out.operation.index == operation) return true;
    }
    return false;
  }

  uint64_t counts_[std::size(kSimOperations)] = {};
};

// Says that these have been called.
template <SimOperation... kUsed>
void SimUses() {
  SimCoverage* const coverage = SimCoverage::OfThisThread();
  if (coverage != nullptr) (coverage->Count(kUsed), ...);
}

}  // namespace marathon::inline MARATHON_ABI::testing
