// The workflows and activities that are measured.
#include <chrono>
#include <numeric>

#include "bench.h"

namespace bench {
namespace {

using namespace std::chrono_literals;
using marathon::EventType;

constexpr marathon::ActivityDef<int64_t(int64_t)> kIncrement{"Increment"};
constexpr marathon::ActivityDef<std::string(std::string)> kEcho{"Echo"};
constexpr int kSequence = 10;
constexpr int kFanout = 100;
constexpr int kSignals = 10;
constexpr size_t kTextBytes = 198;  // 200 as JSON

int64_t Increment(int64_t value) { return value + 1; }
std::string Echo(const std::string& text) { return text; }

marathon::Workflow<int64_t> OneActivity(marathon::WorkflowContext& ctx, int64_t value) {
  co_return co_await ctx.Run(kIncrement, value);
}

marathon::Workflow<std::string> OneText(marathon::WorkflowContext& ctx, std::string text) {
  std::string echo = co_await ctx.Run(kEcho, text);
  co_return echo;
}

marathon::Workflow<int64_t> Sequence(marathon::WorkflowContext& ctx, int64_t value) {
  for (int i = 0; i < kSequence; ++i) value = co_await ctx.Run(kIncrement, value);
  co_return value;
}

marathon::Workflow<int64_t> Fanout(marathon::WorkflowContext& ctx, int64_t value) {
  std::vector<marathon::ActivityHandle<int64_t>> handles;
  for (int i = 0; i < kFanout; ++i) handles.push_back(ctx.Start(kIncrement, value));
  const std::vector<int64_t> results = co_await ctx.All(handles);
  co_return std::accumulate(results.begin(), results.end(), int64_t{0});
}

marathon::Workflow<int64_t> Timer(marathon::WorkflowContext& ctx, int64_t value) {
  co_await ctx.Sleep(1ms);
  co_return value;
}

marathon::Workflow<int64_t> Signals(marathon::WorkflowContext& ctx, int64_t value) {
  for (int i = 0; i < kSignals; ++i) value += co_await ctx.Receive<int64_t>("add");
  co_return value;
}

marathon::Workflow<int64_t> Replay(marathon::WorkflowContext& ctx, int64_t value) {
  for (int i = 0; i < kReplaySteps; ++i) value = co_await ctx.Run(kIncrement, value);
  value += co_await ctx.Receive<int64_t>(kGoSignal);
  co_return value;
}

marathon::Workflow<void> Parked(marathon::WorkflowContext& ctx) { co_await ctx.Sleep(30 * 24h); }

std::string TextOf(int64_t index) {
  std::string text = std::to_string(index) + " ";
  while (text.size() < kTextBytes) text += "the quick brown fox jumps over the lazy dog ";
  text.resize(kTextBytes);
  return text;
}

template <class T>
std::string Expect(const marathon::Run& run, const T& wanted) {
  const auto got = run.Result<T>();
  if (!got.ok()) return std::string(got.status().message());
  if (*got != wanted) return "the result is wrong";
  return "";
}

template <class T>
void ConvertTo(const marathon::Payload& payload) {
  const auto value = marathon::Decode<T>(payload);
  if (!value.ok() || !marathon::Encode<T>(*value).ok()) Die("a payload has no value");
}

Workload IntWorkload(std::string name, std::string type, int steps, int64_t added) {
  Workload workload;
  workload.name = std::move(name);
  workload.steps = steps;
  workload.payload_bytes = 4;
  workload.start = [type](marathon::Engine& engine, int64_t index) {
    return engine.Start(type, index % 9'000);
  };
  workload.finish = [added](const marathon::Run& run, int64_t index) {
    return Expect<int64_t>(run, index % 9'000 + added);
  };
  workload.convert = ConvertTo<int64_t>;
  workload.events = {{EventType::kWorkflowStarted, 1}, {EventType::kWorkflowCompleted, 1}};
  return workload;
}

void AddEvents(Workload& workload, EventType begin, EventType end, int count) {
  workload.events.emplace_back(begin, count);
  workload.events.emplace_back(end, count);
}

}  // namespace

std::vector<Workload> Workloads() {
  std::vector<Workload> all;
  all.push_back(IntWorkload("one-activity", "OneActivity", 1, 1));
  AddEvents(all.back(), EventType::kActivityScheduled, EventType::kActivityCompleted, 1);

  Workload text = all.back();
  text.payload_bytes = 200;
  text.start = [](marathon::Engine& engine, int64_t index) {
    return engine.Start("OneText", TextOf(index));
  };
  text.finish = [](const marathon::Run& run, int64_t index) {
    return Expect<std::string>(run, TextOf(index));
  };
  text.convert = ConvertTo<std::string>;
  all.push_back(std::move(text));

  all.push_back(IntWorkload("sequence-10", "Sequence", kSequence, kSequence));
  AddEvents(all.back(), EventType::kActivityScheduled, EventType::kActivityCompleted, kSequence);

  all.push_back(IntWorkload("fanout-100", "Fanout", kFanout, 0));
  AddEvents(all.back(), EventType::kActivityScheduled, EventType::kActivityCompleted, kFanout);
  all.back().finish = [](const marathon::Run& run, int64_t index) {
    return Expect<int64_t>(run, kFanout * (index % 9'000 + 1));
  };

  all.push_back(IntWorkload("timers", "Timer", 1, 0));
  AddEvents(all.back(), EventType::kTimerStarted, EventType::kTimerFired, 1);
  all.back().has_timers = true;

  all.push_back(IntWorkload("signals", "Signals", kSignals, kSignals));
  all.back().events.emplace_back(EventType::kSignalReceived, kSignals);
  all.back().finish = [](const marathon::Run& run, int64_t index) {
    for (int i = 0; i < kSignals; ++i) {
      if (const auto status = run.Signal("add", int64_t{1}); !status.ok()) {
        return std::string(status.message());
      }
    }
    return Expect<int64_t>(run, index % 9'000 + kSignals);
  };
  return all;
}

void BindAll(marathon::Registry& registry) {
  registry.Bind(kIncrement, Increment);
  registry.Bind(kEcho, Echo);
  registry.Bind("OneActivity", OneActivity);
  registry.Bind("OneText", OneText);
  registry.Bind("Sequence", Sequence);
  registry.Bind("Fanout", Fanout);
  registry.Bind("Timer", Timer);
  registry.Bind("Signals", Signals);
  registry.Bind(kReplayWorkflow, Replay);
  registry.Bind(kParkedWorkflow, Parked);
}

}  // namespace bench
