#pragma once

#include <fmt/format.h>

#include <charconv>
#include <deque>
#include <iterator>
#include <utility>

#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_steps-inl.h"

namespace marathon::inline MARATHON_ABI::testing {

MARATHON_INLINE int64_t SimWork::Pack() const {
  return static_cast<int64_t>(uint64_t{id} | uint64_t{fails} << 16 |
                              uint64_t{static_cast<uint8_t>(mode)} << 24 | uint64_t{busy_ms} << 32);
}

MARATHON_INLINE SimWork SimWork::Unpack(int64_t packed) {
  const auto bits = static_cast<uint64_t>(packed);
  return {static_cast<uint16_t>(bits), static_cast<uint8_t>(bits >> 16),
          static_cast<Mode>(static_cast<uint8_t>(bits >> 24)), static_cast<uint32_t>(bits >> 32)};
}

MARATHON_INLINE SimProgram SimProgram::Draw(SeededRandom& random) {
  static constexpr SimStep::Kind kKinds[] = {
      SimStep::Kind::kWork,    SimStep::Kind::kWork,    SimStep::Kind::kWork,
      SimStep::Kind::kQuick,   SimStep::Kind::kFan,     SimStep::Kind::kSleep,
      SimStep::Kind::kSleep,   SimStep::Kind::kReceive, SimStep::Kind::kReceive,
      SimStep::Kind::kPatient, SimStep::Kind::kBranches, SimStep::Kind::kRecord,
      SimStep::Kind::kRace,    SimStep::Kind::kCancel,  SimStep::Kind::kCondition,
      SimStep::Kind::kHandler, SimStep::Kind::kScope,   SimStep::Kind::kVersion,
      SimStep::Kind::kChild,   SimStep::Kind::kToldChild, SimStep::Kind::kLeftChild,
      SimStep::Kind::kGuard,   SimStep::Kind::kContinue, SimStep::Kind::kLocal,
      SimStep::Kind::kErrand,  SimStep::Kind::kDismissed, SimStep::Kind::kGather,
      SimStep::Kind::kDeadlines, SimStep::Kind::kFacts,   SimStep::Kind::kLater,
      SimStep::Kind::kSpeak,   SimStep::Kind::kBlobs,   SimStep::Kind::kTake,
      SimStep::Kind::kKeyed};
  SimProgram program;
  if (random.Below(8) == 0) {
    program.steps.push_back(
        {SimStep::Kind::kFlaky, {}, 0, static_cast<uint32_t>(random.Between(1, 2))});
  }
  const size_t length = 2 + random.Below(6);
  for (size_t i = 0; i < length; ++i) {
    SimStep step;
    step.kind = kKinds[random.Below(std::size(kKinds))];
    step.work = internal::DrawWork(random, i + 1);
    step.millis = static_cast<uint32_t>(
        random.Below(3) == 0 ? random.Between(1, 20) : random.Between(100, 12'000));
    step.count = static_cast<uint32_t>(random.Between(2, 5));
    if (step.kind == SimStep::Kind::kCancel && i % 2 == 0) {  // its deadline is a long one
      step.work.mode = SimWork::Mode::kSucceeds;
      step.work.fails = 0;
      step.work.busy_ms = step.millis + 60'000;
    }
    program.steps.push_back(step);
  }
  // What is retried from its start must not have received anything by then.
  if (program.Attempts() == 1 && random.Below(12) == 0) {
    program.steps.push_back({SimStep::Kind::kThrow, {}, 0, 0});
  }
  return program;
}

MARATHON_INLINE std::string SimProgram::ToText() const {
  std::string text;
  for (const SimStep& step : steps) {
    fmt::format_to(std::back_inserter(text), "{}{} {} {};", static_cast<char>(step.kind),
                   step.work.Pack(), step.millis, step.count);
  }
  return text;
}

MARATHON_INLINE SimProgram SimProgram::FromText(std::string_view text) {
  const auto number = [&text](char separator) {
    uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    text.remove_prefix(text.find(separator) + 1);
    return value;
  };
  SimProgram program;
  while (!text.empty()) {
    SimStep step;
    step.kind = static_cast<SimStep::Kind>(text.front());
    text.remove_prefix(1);
    step.work = SimWork::Unpack(static_cast<int64_t>(number(' ')));
    step.millis = static_cast<uint32_t>(number(' '));
    step.count = static_cast<uint32_t>(number(';'));
    program.steps.push_back(step);
  }
  return program;
}

MARATHON_INLINE int64_t SimProgram::Receives() const {
  int64_t count = 0;
  for (const SimStep& step : steps) {
    count += step.kind == SimStep::Kind::kReceive || step.kind == SimStep::Kind::kPatient ||
             step.kind == SimStep::Kind::kHandler;
  }
  return count;
}

MARATHON_INLINE int SimProgram::Attempts() const {
  const bool flaky = !steps.empty() && steps.front().kind == SimStep::Kind::kFlaky;
  return flaky ? static_cast<int>(steps.front().count) + 1 : 1;
}

MARATHON_INLINE bool SimProgram::Throws() const {
  return !steps.empty() && steps.back().kind == SimStep::Kind::kThrow;
}

MARATHON_INLINE bool SimProgram::HasChildren() const {
  return std::any_of(steps.begin(), steps.end(), [](const SimStep& step) {
    using enum SimStep::Kind;
    return step.kind == kChild || step.kind == kToldChild || step.kind == kLeftChild || step.kind == kGuard ||
           step.kind == kErrand || step.kind == kDismissed || step.kind == kFailingChild;
  });
}

MARATHON_INLINE ActivityCancellation SimCancellationOf(const SimStep& step) {
  return step.count == 4 ? ActivityCancellation::kTry : step.count == 5 ? ActivityCancellation::kAbandon
                                                                        : ActivityCancellation::kWait;
}

MARATHON_INLINE SimProgram SimChildOf(const SimStep& step) {
  SimProgram child;
  const SimStep receive{SimStep::Kind::kReceive, {}, 0, 0};
  switch (step.kind) {
    case SimStep::Kind::kToldChild:
    case SimStep::Kind::kGuard: child.steps = {receive}; break;
    case SimStep::Kind::kErrand:
    case SimStep::Kind::kDismissed: child.steps = {receive, receive}; break;
    default:
      child.steps = {{SimStep::Kind::kWork, step.work, 0, 0}, {SimStep::Kind::kSleep, {}, step.millis, 0}};
      if (step.kind == SimStep::Kind::kFailingChild) child.steps.push_back({SimStep::Kind::kThrow, {}, 0, 0});
  }
  return child;
}

MARATHON_INLINE std::string SimProgram::Expected() const {
  std::string log;
  int64_t received = 0;
  for (const SimStep& step : steps) {
    switch (step.kind) {
      case SimStep::Kind::kWork:
      case SimStep::Kind::kQuick:
      case SimStep::Kind::kFacts:
      case SimStep::Kind::kRace: log += internal::SimExpected(step.work); break;
      case SimStep::Kind::kFan:
      case SimStep::Kind::kKeyed:
        for (uint32_t i = 0; i < step.count; ++i) {
          log += internal::SimExpected(internal::SimPart(step.work, i));
        }
        break;
      case SimStep::Kind::kBranches:
      case SimStep::Kind::kCondition:
      case SimStep::Kind::kLocal:
        log += internal::SimExpected(step.work);
        log += internal::SimExpected(internal::SimPart(step.work, 1));
        break;
      case SimStep::Kind::kGather: log += internal::SimGathered(step); break;
      case SimStep::Kind::kLater: log += internal::SimExpected(internal::SimLaterWork(step.work)); break;
      case SimStep::Kind::kSpeak: log += "z,"; break;
      case SimStep::Kind::kBlobs: log += "b,"; break;
      case SimStep::Kind::kTake: log += "l,"; break;
      case SimStep::Kind::kDeadlines: log += "o,"; break;
      case SimStep::Kind::kErrand: log += "kr0,r0,"; break;
      case SimStep::Kind::kDismissed: log += "d,"; break;
      case SimStep::Kind::kSleep: log += "t,"; break;
      case SimStep::Kind::kScope: log += "s,"; break;
      case SimStep::Kind::kVersion: log += "v,"; break;
      case SimStep::Kind::kHandler:
      case SimStep::Kind::kReceive:
      case SimStep::Kind::kPatient: log += fmt::format("r{},", received++); break;
      case SimStep::Kind::kRecord: log += "e,"; break;
      case SimStep::Kind::kCancel: log += "c,"; break;
      case SimStep::Kind::kChild:
      case SimStep::Kind::kToldChild: log += "k" + SimChildOf(step).Expected(); break;
      case SimStep::Kind::kFailingChild: log += "h,"; break;
      case SimStep::Kind::kLeftChild: log += "a,"; break;
      case SimStep::Kind::kGuard: log += "g,"; break;
      case SimStep::Kind::kContinue: log += "n,"; break;
      case SimStep::Kind::kFlaky: log += "f,"; break;
      case SimStep::Kind::kThrow: return "thrown by its program";
    }
  }
  return log;
}

MARATHON_INLINE Workflow<std::string> RunSimProgram(WorkflowContext& ctx, std::string text) {
  std::string log;
  internal::SimSignals signals;
  if (text.starts_with('[')) {  // goes on where the run before ended: its log, and signals that it took early
    const size_t bar = text.find('|');
    const size_t end = text.find(']');
    log = text.substr(1, bar - 1);
    signals = internal::ReadSignals(std::string_view(text).substr(bar + 1, end - bar - 1));
    text.erase(0, end + 1);
  }
  auto answers = ctx.OnQuery(kSimQuery, [&] { return log; });
  SimUses<"ctx.OnQuery">();
  int64_t handled = 0;
  auto updates = internal::SimUpdates(ctx, handled);
  auto tallies = internal::SimPlainUpdates(ctx, handled);
  SimProgram program = SimProgram::FromText(text);
  for (size_t i = 0; i < program.steps.size(); ++i) {
    if (program.steps[i].kind == SimStep::Kind::kContinue) {
      program.steps.erase(program.steps.begin(), program.steps.begin() + static_cast<ptrdiff_t>(i) + 1);
      const std::string rest =
          fmt::format("[{}n,|{}]{}", log, fmt::join(signals, ","), program.ToText());
      SimUses<"ctx.ContinueAsNew">();
      const bool upgrade = i % 2 == 0;  // matters where runs are pinned
      co_await ctx.ContinueAsNew(rest, {.upgrade = upgrade});
    }
    const std::string line = co_await internal::SimSingleStep(ctx, program.steps[i], signals);
    log += line;
  }
  co_return log;
}

}  // namespace marathon::inline MARATHON_ABI::testing
