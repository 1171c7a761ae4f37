// FaultyLimiter stands between one simulated process and the limiter that it shares with others: calls take their time, fail,
// arrive late or twice, as FaultyStateStore's do.
//
// Not safe from several threads: the world has one.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/status.h"
#include "marathon/testing/fault_rates.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

class FaultyLimiter final : public Limiter {
 public:
  FaultyLimiter(std::shared_ptr<Limiter> base, SimRuntime& caller, const FaultRates& rates)
      : link_(std::make_shared<Link>(std::move(base), caller, rates)) {}

  // From now on.
  void SetRates(const FaultRates& rates) { link_->rates = rates; }

  void Acquire(AcquireLimit request, Done<Permit> done) override {
    link_->Call("acquire", &Limiter::Acquire, std::move(request), std::move(done));
  }
  void Settle(SettleLimit request, DoneStatus done) override {
    link_->Call("settle", &Limiter::Settle, std::move(request), std::move(done));
  }
  void Clear(std::string key, DoneStatus done) override {
    link_->Call("clear", &Limiter::Clear, std::move(key), std::move(done));
  }
  void Enter(EnterPlace request, Done<EnterReply> done) override {
    SimUses<"Limiter.Enter">();
    link_->Trace("enters", request.key, request.holder, request.epoch);
    link_->Call("enter", &Limiter::Enter, std::move(request), std::move(done));
  }
  void Leave(LeavePlace request, Done<LeaveReply> done) override {
    SimUses<"Limiter.Leave">();
    link_->Trace("leaves", request.key, request.holder, request.epoch);
    link_->Call("leave", &Limiter::Leave, std::move(request), std::move(done));
  }

 private:
  struct Link : std::enable_shared_from_this<Link> {
    Link(std::shared_ptr<Limiter> limiter, SimRuntime& caller, const FaultRates& given)
        : base(std::move(limiter)),
          world(caller.world()),
          actor(caller.actor()),
          rates(given),
          random(world.Fork("limiter calls of " + world.NameOf(actor))) {}

    void Trace(std::string_view what, std::string_view key, std::string_view holder, int64_t epoch) {
      if (world.tracing()) world.Trace(actor, fmt::format("{} \"{}\": {} at epoch {}", what, key, holder, epoch));
    }

    enum class Fault : uint8_t { kNone, kUnavailable, kLost, kAnswerLost, kLate, kRepeated };
    Fault Draw() {
      if (random.Chance(rates.unavailable)) return Fault::kUnavailable;
      if (random.Chance(rates.ambiguous)) return random.Below(2) == 0 ? Fault::kLost : Fault::kAnswerLost;
      if (random.Chance(rates.late_effect)) return Fault::kLate;
      return random.Chance(rates.repeated) ? Fault::kRepeated : Fault::kNone;
    }
    int64_t Latency() {
      return random.Between(0, random.Chance(rates.slow) ? rates.slow_micros_max : rates.latency_micros_max);
    }

    template <class Request, class Result>
    void Call(std::string_view name, void (Limiter::*method)(Request, Callback<void(Result)>),
              std::type_identity_t<Request> request, std::type_identity_t<Callback<void(Result)>> done) {
      if (!world.IsAlive(actor)) return;
      const Fault fault = Draw();
      world.Mix(static_cast<uint64_t>(fault));
      if (world.tracing()) world.Trace(actor, fmt::format("calls {} (fault {})", name, static_cast<int>(fault)));
      world.After(kWorldActor, Latency(), name,
                  [link = this->shared_from_this(), name, method, fault, request = std::move(request),
                   done = std::move(done)]() mutable {
                    link->Arrive<Request, Result>(name, method, fault, std::move(request), std::move(done));
                  });
    }

    template <class Request, class Result>
    void Arrive(std::string_view name, void (Limiter::*method)(Request, Callback<void(Result)>), Fault fault,
                Request request, Callback<void(Result)> done) {
      const auto reply = [&](Result result) {
        world.After(actor, Latency(), name, [result = std::move(result), done = std::move(done)]() mutable {
          done(std::move(result));
        });
      };
      if (fault == Fault::kUnavailable) return reply(Result(Unavailable("simulated: the limiter is unavailable")));
      if (fault == Fault::kLate || fault == Fault::kRepeated) {
        world.After(kWorldActor, random.Between(0, rates.slow_micros_max), name,
                    [link = this->shared_from_this(), method, request] {
                      (link->base.get()->*method)(request, [](const Result&) {});
                    });
      }
      if (fault == Fault::kLost || fault == Fault::kLate) return reply(Result(Unknown("simulated: the connection broke")));
      (base.get()->*method)(std::move(request), [&](Result result) {  // answers before it returns
        reply(fault == Fault::kAnswerLost ? Result(Unknown("simulated: the connection broke")) : std::move(result));
      });
    }

    const std::shared_ptr<Limiter> base;
    SimWorld& world;
    const ActorId actor;
    FaultRates rates;
    SeededRandom random;
  };

  const std::shared_ptr<Link> link_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
