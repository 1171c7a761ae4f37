// SimLimits: simulated activities that all take from one limit, and what a Limiter must never do (I17).
//
// Not safe from several threads: the world has one.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/registry.h"
#include "marathon/status.h"
#include "marathon/testing/invariants.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_world.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

class SimLimits {
 public:
  SimLimits(SimWorld& world, Invariants& invariants, std::shared_ptr<Limiter> limiter)
      : world_(world), invariants_(invariants), random_(world.Fork("limiter")), limiter_(std::move(limiter)) {}

  void Bind(Registry& registry, SimProcess& process);
  // From any asking to any permit after it, no more was given than fits in, has flowed, and was given back: what waits
  // for one unit has taken the others when it asked.
  void Check();

 private:
  static constexpr std::string_view kKey = "simulated";
  static constexpr std::string_view kUnits[] = {"requests", "tokens"};
  static constexpr int64_t kPerMinute[] = {20, 240};
  static constexpr int64_t kBurst[] = {2, 60};
  using Amounts = std::array<int64_t, 2>;  // of these units

  // One attempt that wants to go.
  struct Taker {
    ActivityContext& ctx;
    ActivityCompletion<int64_t> done;
    ActorId actor;
    Amounts amounts;
    bool fails;
    Time begun;
    Time permit{};  // that it has waited for
  };

  void Acquire(const std::shared_ptr<Taker>& taker);
  void OnPermit(const std::shared_ptr<Taker>& taker, const StatusOr<Permit>& permit);
  void Go(const std::shared_ptr<Taker>& taker);
  struct Given {
    Time at{};  // the permit's instant
    Amounts amounts{};
  };
  // A window that was given too much in is reported.
  void CheckFrom(std::multimap<Time, Given>::const_iterator first);
  // What was given back between these, and could be given again.
  int64_t ReturnedIn(size_t unit, Time from, Time to) const;
  void Settle(SettleLimit request);
  // What was given for `request`.
  void Note(const Taker& taker, const AcquireLimit& request, const StatusOr<Permit>& permit);
  void Report(std::string_view what) { invariants_.Report("I17", {}, what); }

  SimWorld& world_;
  Invariants& invariants_;
  SeededRandom random_;
  const std::shared_ptr<Limiter> limiter_;
  std::multimap<Time, Given> given_;  // by when they were asked for
  std::map<Time, Amounts> returned_;  // when
  Time paused_until_{};
};

// An attempt that has waited finds its permit in its heartbeat; another attempt's is not its own.
inline void SimLimits::Bind(Registry& registry, SimProcess& process) {
  registry.Bind(kSimTake, [this, &process](ActivityContext& ctx, const int64_t& input,
                                           ActivityCompletion<int64_t> done) {
    const SimWork work = SimWork::Unpack(input);
    auto taker = std::make_shared<Taker>(Taker{ctx, std::move(done), process.runtime.actor(), {1, 5 + work.id % 40},
                                               ctx.attempt() <= work.fails, world_.Now()});
    const std::string left = ctx.LastHeartbeat<std::string>().value_or("");
    if (!left.empty()) SimUses<"activity.LastHeartbeat">();
    const size_t space = left.find(' ');
    if (space != left.npos && left.substr(0, space) == std::to_string(ctx.attempt())) {
      taker->permit = FromMicros(std::stoll(left.substr(space + 1)));
    }
    Acquire(taker);
  });
}

inline void SimLimits::Acquire(const std::shared_ptr<Taker>& taker) {
  world_.After(taker->actor, random_.Between(0, 20) * 1'000, "acquire", [this, taker] {
    AcquireLimit request{.key = std::string(kKey), .permit = taker->permit};
    for (size_t i = 0; i < std::size(kUnits); ++i) {
      request.units.push_back({std::string(kUnits[i]), taker->amounts[i], kPerMinute[i], kBurst[i]});
    }
    SimUses<"Limiter.Acquire">();
    const bool answer_is_lost = random_.Below(8) == 0;
    if (answer_is_lost) {
      limiter_->Acquire(request, [&](const StatusOr<Permit>& permit) { Note(*taker, request, permit); });
    }
    limiter_->Acquire(request, [&](const StatusOr<Permit>& permit) {
      Note(*taker, request, permit);
      OnPermit(taker, permit);
    });
  });
}

inline void SimLimits::Note(const Taker& taker, const AcquireLimit& request, const StatusOr<Permit>& permit) {
  if (!permit.ok()) return Report(fmt::format("an acquire got: {}", MessageOf(permit.status())));
  const auto until = std::chrono::ceil<Duration>(permit->at - world_.Now());
  if (permit->wait != std::max(until, Duration(0))) Report("a wait does not end at its permit's instant");
  if (permit->at < paused_until_) Report("a permit is for an instant in a pause");
  if (permit->at == request.permit) return;  // nothing was taken
  given_.emplace(world_.Now(), Given{permit->at, taker.amounts});
}

// Short waits are its own; for a long one it lets its worker go.
inline void SimLimits::OnPermit(const std::shared_ptr<Taker>& taker, const StatusOr<Permit>& permit) {
  constexpr Duration kShort{300};
  if (!permit.ok()) return;
  if (permit->wait == Duration(0)) return Go(taker);
  if (permit->wait > kShort) {
    SimUses<"activity.Postpone">();
    return taker->done.Postpone(permit->wait, fmt::format("{} {}", taker->ctx.attempt(), ToMicros(permit->at)));
  }
  taker->permit = permit->at;
  world_.After(taker->actor, permit->wait.count() * 1'000, "has waited", [this, taker] { Acquire(taker); });
}

inline void SimLimits::Go(const std::shared_ptr<Taker>& taker) {
  SimUses<"activity.elapsed">();
  if (taker->ctx.elapsed() != std::chrono::floor<Duration>(world_.Now() - taker->begun)) {
    invariants_.Report("I7", taker->ctx.info().key.run, "an attempt does not know how long it has been at work");
  }
  SettleLimit settle{.key = std::string(kKey)};
  Amounts unused{};
  if (taker->fails) {
    unused = taker->amounts;
  } else if (random_.Below(3) == 0) {
    unused[1] = taker->amounts[1] / 2;
  }
  for (size_t i = 0; i < unused.size(); ++i) {
    if (unused[i] > 0) settle.unused.push_back({std::string(kUnits[i]), unused[i]});
    returned_[world_.Now()][i] += unused[i];
  }
  if (random_.Below(12) == 0) {
    settle.pause = Duration(random_.Between(100, 3'000));
    paused_until_ = std::max(paused_until_, world_.Now() + settle.pause);
  }
  if (!settle.unused.empty() || settle.pause > Duration(0)) Settle(std::move(settle));
  if (taker->fails) return taker->done.Fail(Failure{.message = "fails by plan"});
  taker->done.Complete(taker->amounts[1] - unused[1]);
}

inline void SimLimits::Settle(SettleLimit request) {
  SimUses<"Limiter.Settle">();
  limiter_->Settle(std::move(request), [this](const Status& status) {
    if (!status.ok()) Report(fmt::format("a settle got: {}", MessageOf(status)));
  });
}

inline int64_t SimLimits::ReturnedIn(size_t unit, Time from, Time to) const {
  int64_t sum = 0;
  for (auto it = returned_.lower_bound(from); it != returned_.end() && it->first <= to; ++it) sum += it->second[unit];
  return sum;
}

inline void SimLimits::Check() {
  for (auto first = given_.begin(); first != given_.end(); ++first) CheckFrom(first);
}

inline void SimLimits::CheckFrom(std::multimap<Time, Given>::const_iterator first) {
  std::vector<Given> given;
  for (auto it = first; it != given_.end(); ++it) given.push_back(it->second);
  std::ranges::sort(given, {}, &Given::at);
  for (size_t unit = 0; unit < std::size(kUnits); ++unit) {
    int64_t sum = 0;
    for (const Given& one : given) {
      sum += one.amounts[unit];
      const double minutes = static_cast<double>(ToMicros(one.at) - ToMicros(first->first)) / 60e6;
      const double most = static_cast<double>(kBurst[unit]) + minutes * static_cast<double>(kPerMinute[unit]);
      const int64_t again = ReturnedIn(unit, first->first, one.at);
      if (static_cast<double>(sum - again) <= most + 1e-6) continue;
      return Report(fmt::format("{} {} were given where {:.3f} had flowed", sum, kUnits[unit], most));
    }
  }
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
