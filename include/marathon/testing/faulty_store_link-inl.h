// FaultyStateStore::Link: the way of a worker's calls to the store and back, and what becomes of them on it.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/testing/fault_rates.h"
#include "marathon/testing/faulty_state_store.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/testing/sim_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

class FaultyStateStore::Link : public std::enable_shared_from_this<Link> {
 public:
  // A session's renewals overtake neither one another nor themselves: an old one that says "long" must not
  // come after a new one that says "short". Stores must see to that; here, no renewal comes late or twice.
  enum class Kind : uint8_t { kRead, kWrite, kRenewal };

  Link(std::shared_ptr<StateStore> base, SimRuntime& caller, Options given)
      : store(std::move(base)),
        world(caller.world()),
        actor(caller.actor()),
        options(std::move(given)),
        random(world.Fork("store calls of " + world.NameOf(actor))) {}

  // Makes one call: `effect` does it at the store and passes the result to its argument. Once only,
  // since it gives its request away; a copy of it does it once more.
  template <class Result, class Effect>
  void Call(std::string_view name, Kind kind, Callback<void(Result)> done, Effect effect) {
    if (!world.IsAlive(actor)) return;
    ++calls;
    ++options.counts->calls;
    const CallFault fault = DrawFault(kind);
    const bool direct = fault == CallFault::kNone && random.Chance(options.rates.direct);
    world.Mix(static_cast<uint64_t>(fault) * 2 + direct);
    if (world.tracing()) Trace(name, fault, direct);
    if (direct) return effect(std::move(done));
    const bool outlives_caller = random.Next() % 2 == 0;
    world.After(kWorldActor, Latency(), name,
                [link = this->shared_from_this(), name, kind, fault, outlives_caller,
                 deaths = ServerDeaths(), done = std::move(done),
                 effect = std::move(effect)]() mutable {
                  if (!outlives_caller && !link->world.IsAlive(link->actor)) return;
                  CallFault met = fault;
                  if (deaths != link->ServerDeaths()) met = Possible(CallFault::kUnknownNotDone, kind);
                  link->Arrive(name, met, std::move(done), std::move(effect));
                });
  }

  // Calls `method` of the store, which answers to its last parameter.
  template <class Method, class Result, class... Args>
  void Forward(std::string_view name, Kind kind, Method method, Callback<void(Result)> done, Args... args) {
    Call<Result>(name, kind, std::move(done),
                 [to = store, method, ...args = std::move(args)](Callback<void(Result)> answer) mutable {
                   (to.get()->*method)(std::move(args)..., std::move(answer));
                 });
  }

  // Runs `work` at the caller after the way back, unless the caller is dead by then.
  void Reply(std::string_view name, Callback<void()> work) {
    world.After(actor, Latency(), name, std::move(work));
  }

  CallFault DrawFault(Kind kind) {
    if (ordered_at != 0 && (calls == ordered_at || (for_ever && calls > ordered_at))) {
      return Possible(ordered, kind);
    }
    const FaultRates& rates = options.rates;
    if (random.Chance(rates.unavailable)) return CallFault::kUnavailable;
    if (kind == Kind::kRead) return CallFault::kNone;
    if (random.Chance(rates.ambiguous)) {
      return random.Next() % 2 == 0 ? CallFault::kUnknownDone : CallFault::kUnknownNotDone;
    }
    if (kind == Kind::kWrite) {
      if (random.Chance(rates.late_effect)) return CallFault::kUnknownLate;
      if (random.Chance(rates.repeated)) return CallFault::kRepeated;
    }
    if (random.Chance(rates.crash_after_write)) return CallFault::kCrashAfter;
    return CallFault::kNone;
  }

  uint64_t ServerDeaths() const {
    return options.server_deaths == nullptr ? 0 : *options.server_deaths;
  }

  int64_t Latency() {
    const FaultRates& rates = options.rates;
    return random.Between(
        0, random.Chance(rates.slow) ? rates.slow_micros_max : rates.latency_micros_max);
  }

  const std::shared_ptr<StateStore> store;
  SimWorld& world;
  const ActorId actor;
  Options options;
  SeededRandom random;
  uint64_t calls = 0;
  uint64_t ordered_at = 0;  // which call FailCall spoke of
  CallFault ordered = CallFault::kNone;
  bool for_ever = false;
  std::vector<std::shared_ptr<StoreWatcher>> watchers;

  // Await: what waits, by the name that the caller knows.
  struct Wait {
    Done<RunSnapshot> done;
    uint64_t name_at_store = 0;
  };
  std::map<uint64_t, Wait> waits;
  uint64_t last_wait = 0;

 private:
  static CallFault Possible(CallFault fault, Kind kind) {
    const bool ambiguous = fault == CallFault::kUnknownDone || fault == CallFault::kUnknownLate ||
                           fault == CallFault::kUnknownNotDone;
    return ambiguous && kind == Kind::kRead ? CallFault::kUnavailable : fault;
  }

  void Trace(std::string_view name, CallFault fault, bool direct) {
    static constexpr std::string_view kNames[] = {
        "", " (unavailable)", " (unknown, not done)", " (unknown, done)", " (unknown, done later)",
        " (repeated)", " (crash before)", " (crash after)"};
    world.Trace(actor, fmt::format("calls {}{}{}", name, kNames[static_cast<size_t>(fault)],
                                   direct ? " (direct)" : ""));
  }

  // The request has come to the store.
  template <class Result, class Effect>
  void Arrive(std::string_view name, CallFault fault, Callback<void(Result)> done, Effect effect) {
    FaultCounts& counts = *options.counts;
    switch (fault) {
      case CallFault::kNone:
        return effect(Answering<Result>(name, std::move(done)));
      case CallFault::kUnavailable:
        ++counts.unavailable;
        return Fail(name, Unavailable("simulated: the store is unavailable"), std::move(done));
      case CallFault::kUnknownNotDone:
        ++counts.ambiguous;
        return Fail(name, Unknown("simulated: the connection broke"), std::move(done));
      case CallFault::kUnknownDone:
        ++counts.ambiguous;
        ++counts.ambiguous_done;
        return effect([link = this->shared_from_this(), name, done = std::move(done)](
                          const Result&) mutable {
          link->Fail(name, Unknown("simulated: the connection broke"), std::move(done));
        });
      case CallFault::kUnknownLate:
        ++counts.ambiguous;
        ++counts.ambiguous_done;
        Fail(name, Unknown("simulated: the connection broke"), std::move(done));
        return ArriveLater<Result>(name, std::move(effect));
      case CallFault::kRepeated:
        ++counts.duplicated;
        ArriveLater<Result>(name, effect);
        return effect(Answering<Result>(name, std::move(done)));
      case CallFault::kCrashBefore:
        return Crash();
      case CallFault::kCrashAfter:
        ++counts.crashes_after_write;
        return effect([link = this->shared_from_this()](const Result&) { link->Crash(); });
    }
  }

  template <class Result, class Effect>
  void ArriveLater(std::string_view name, Effect effect) {
    world.After(kWorldActor, random.Between(0, options.rates.slow_micros_max), name,
                [link = this->shared_from_this(), deaths = ServerDeaths(),
                 effect = std::move(effect)]() mutable {
                  if (deaths == link->ServerDeaths()) effect([](const Result&) {});
                });
  }

  // What the store may keep for long (Await) must not keep the link, which keeps the store.
  template <class Result>
  Callback<void(Result)> Answering(std::string_view name, Callback<void(Result)> done) {
    return [weak = this->weak_from_this(), name, done = std::move(done)](Result&& result) mutable {
      const std::shared_ptr<Link> link = weak.lock();
      if (link == nullptr) return;
      if (link->world.tracing()) link->TraceResult(name, result);
      link->Reply(name, [done = std::move(done), result = std::move(result)]() mutable {
        done(std::move(result));
      });
    };
  }

  template <class Result>
  void TraceResult(std::string_view name, const Result& result) {
    if (result.ok()) return;
    if constexpr (std::is_same_v<Result, Status>) {
      world.Trace(actor, fmt::format("{}: {}", name, MessageOf(result)));
    } else {
      world.Trace(actor, fmt::format("{}: {}", name, MessageOf(result.status())));
    }
  }

  template <class Result>
  void Fail(std::string_view name, Status status, Callback<void(Result)> done) {
    Reply(name, [status = std::move(status), done = std::move(done)]() mutable {
      done(Result(std::move(status)));
    });
  }

  // An entry of its own: the caller's engine must not go away under the store's feet.
  void Crash() {
    world.After(kWorldActor, 0, "crash", [link = this->shared_from_this()] {
      if (link->world.IsAlive(link->actor)) link->options.on_crash();
    });
  }
};

}  // namespace marathon::inline MARATHON_ABI::testing
