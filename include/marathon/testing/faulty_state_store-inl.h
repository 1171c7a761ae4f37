#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <type_traits>
#include <utility>

#include "marathon/testing/faulty_state_store.h"

namespace marathon::inline MARATHON_ABI::testing {

// A worker's connection to the store.
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

namespace internal {

// Passes what the store tells to the worker's own watcher, after the way back.
class SimWatcher final : public StoreWatcher {
 public:
  SimWatcher(SimWorld& world, ActorId actor, std::weak_ptr<StoreWatcher> target)
      : world_(world), actor_(actor), target_(std::move(target)) {}

  void OnDue(Time at) override {
    world_.After(actor_, kMicros, "watcher: due", [target = target_, at] {
      if (const auto watcher = target.lock()) watcher->OnDue(at);
    });
  }
  void OnActivitiesCanceled(const std::vector<ActivityKey>& keys) override {
    world_.After(actor_, kMicros, "watcher: canceled", [target = target_, keys] {
      if (const auto watcher = target.lock()) watcher->OnActivitiesCanceled(keys);
    });
  }
  void OnReturned(std::vector<HeldActivity> held) override {
    world_.After(actor_, kMicros, "watcher: returned", [target = target_, held = std::move(held)] {
      if (const auto watcher = target.lock()) watcher->OnReturned(held);
    });
  }

 private:
  static constexpr int64_t kMicros = 100;

  SimWorld& world_;
  ActorId actor_;
  std::weak_ptr<StoreWatcher> target_;
};

}  // namespace internal

MARATHON_INLINE FaultyStateStore::FaultyStateStore(std::shared_ptr<StateStore> base,
                                                   SimRuntime& caller, Options options)
    : ForwardingStateStore(base),
      link_(std::make_shared<Link>(std::move(base), caller, std::move(options))) {}

MARATHON_INLINE FaultyStateStore::~FaultyStateStore() {
  for (auto& [name, wait] : link_->waits) base()->CancelAwait(wait.name_at_store);
  link_->waits.clear();
}

MARATHON_INLINE void FaultyStateStore::SetRates(const FaultRates& rates) {
  link_->options.rates = rates;
}

MARATHON_INLINE const FaultRates& FaultyStateStore::rates() const { return link_->options.rates; }

MARATHON_INLINE void FaultyStateStore::FailCall(uint64_t nth, CallFault fault, bool for_ever) {
  link_->ordered_at = link_->calls + nth;
  link_->ordered = fault;
  link_->for_ever = for_ever;
}

MARATHON_INLINE uint64_t FaultyStateStore::calls() const { return link_->calls; }

MARATHON_INLINE void FaultyStateStore::OpenSession(SessionRow row,
                                                   std::weak_ptr<StoreWatcher> watcher,
                                                   Done<Time> done) {
  auto between =
      std::make_shared<internal::SimWatcher>(link_->world, link_->actor, std::move(watcher));
  link_->watchers.push_back(between);
  link_->Forward("OpenSession", Link::Kind::kWrite, &StateStore::OpenSession, std::move(done), std::move(row),
                 std::move(between));
}

MARATHON_INLINE void FaultyStateStore::RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) {
  link_->Forward("RenewSession", Link::Kind::kRenewal, &StateStore::RenewSession, std::move(done),
                 std::move(request));
}

MARATHON_INLINE void FaultyStateStore::CloseSession(SessionId session, DoneStatus done) {
  link_->Forward("CloseSession", Link::Kind::kWrite, &StateStore::CloseSession, std::move(done), std::move(session));
}

MARATHON_INLINE void FaultyStateStore::ExpireSession(SessionId session, DoneStatus done) {
  link_->Forward("ExpireSession", Link::Kind::kWrite, &StateStore::ExpireSession, std::move(done),
                 std::move(session));
}

MARATHON_INLINE void FaultyStateStore::Start(StartRequest request, Done<StartReply> done) {
  link_->Forward("Start", Link::Kind::kWrite, &StateStore::Start, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::Put(PutRequest request, Done<PutReply> done) {
  link_->Forward("Put", Link::Kind::kWrite, &StateStore::Put, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  link_->Forward("TakeTurn", Link::Kind::kWrite, &StateStore::TakeTurn, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  link_->Call<StatusOr<CommitReply>>(
      "Commit", Link::Kind::kWrite, std::move(done),
      [store = base(), counts = link_->options.counts,
       commit = std::move(commit)](Done<CommitReply> d) mutable {
        store->Commit(std::move(commit),
                      [counts, d = std::move(d)](StatusOr<CommitReply> reply) mutable {
                        if (reply.ok()) ++counts->commits;
                        d(std::move(reply));
                      });
      });
}

MARATHON_INLINE void FaultyStateStore::Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) {
  link_->Forward("Block", Link::Kind::kWrite, &StateStore::Block, std::move(done),
                 std::move(run), version, std::move(info));
}

MARATHON_INLINE void FaultyStateStore::Unblock(RunKey run, DoneStatus done) {
  link_->Forward("Unblock", Link::Kind::kWrite, &StateStore::Unblock, std::move(done), std::move(run));
}

MARATHON_INLINE void FaultyStateStore::Pause(RunKey run, std::string reason, DoneStatus done) {
  link_->Forward("Pause", Link::Kind::kWrite, &StateStore::Pause, std::move(done), std::move(run), std::move(reason));
}

MARATHON_INLINE void FaultyStateStore::Resume(RunKey run, DoneStatus done) {
  link_->Forward("Resume", Link::Kind::kWrite, &StateStore::Resume, std::move(done), std::move(run));
}

MARATHON_INLINE void FaultyStateStore::Pin(RunKey run, std::string build_id, DoneStatus done) {
  link_->Forward("Pin", Link::Kind::kWrite, &StateStore::Pin, std::move(done), std::move(run), std::move(build_id));
}

MARATHON_INLINE void FaultyStateStore::RetryActivity(ActivityKey key, DoneStatus done) {
  link_->Forward("RetryActivity", Link::Kind::kWrite, &StateStore::RetryActivity, std::move(done), std::move(key));
}

MARATHON_INLINE void FaultyStateStore::Delete(RunKey run, DoneStatus done) {
  link_->Forward("Delete", Link::Kind::kWrite, &StateStore::Delete, std::move(done), std::move(run));
}

MARATHON_INLINE void FaultyStateStore::ClaimActivities(SessionId session,
                                                       std::vector<ClaimRequest> requests,
                                                       Done<std::vector<ActivityRow>> done) {
  link_->Forward("ClaimActivities", Link::Kind::kWrite, &StateStore::ClaimActivities, std::move(done),
                 std::move(session), std::move(requests));
}

MARATHON_INLINE void FaultyStateStore::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  link_->Forward("EndAttempt", Link::Kind::kWrite, &StateStore::EndAttempt, std::move(done), std::move(end));
}

MARATHON_INLINE void FaultyStateStore::Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) {
  link_->Forward("Heartbeat", Link::Kind::kWrite, &StateStore::Heartbeat, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::PollDue(DueRequest request, Done<DueReply> done) {
  link_->Forward("PollDue", Link::Kind::kWrite, &StateStore::PollDue, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs,
                                                 Done<std::vector<std::string>> done) {
  link_->Forward("ReadBlobs", Link::Kind::kRead, &StateStore::ReadBlobs, std::move(done),
                 std::move(workflow_id), std::move(refs));
}

MARATHON_INLINE void FaultyStateStore::Read(ReadRequest request, Done<RunSnapshot> done) {
  link_->Forward("Read", Link::Kind::kRead, &StateStore::Read, std::move(done), std::move(request));
}

MARATHON_INLINE void FaultyStateStore::List(ListRequest request, Done<ListReply> done) {
  link_->Forward("List", Link::Kind::kRead, &StateStore::List, std::move(done), std::move(request));
}

MARATHON_INLINE uint64_t FaultyStateStore::Await(AwaitRequest request,
                                                 Done<RunSnapshot> done) {
  const uint64_t name = ++link_->last_wait;
  link_->waits[name].done = std::move(done);
  // Whoever answers takes the wait out of the map first, so that CancelAwait is the end of it.
  const std::weak_ptr<Link> weak = link_;
  Done<RunSnapshot> answer = [weak, name](StatusOr<RunSnapshot> result) {
    const std::shared_ptr<Link> link = weak.lock();
    if (link == nullptr) return;
    auto node = link->waits.extract(name);
    if (!node.empty()) node.mapped().done(std::move(result));
  };
  link_->Call<StatusOr<RunSnapshot>>(
      "Await", Link::Kind::kRead, std::move(answer),
      [weak, name, request = std::move(request)](Done<RunSnapshot> d) mutable {
        const std::shared_ptr<Link> link = weak.lock();
        if (link == nullptr || !link->waits.contains(name)) return;
        const uint64_t at_store = link->store->Await(std::move(request), std::move(d));
        const auto wait = link->waits.find(name);
        if (wait != link->waits.end()) wait->second.name_at_store = at_store;
      });
  return name;
}

MARATHON_INLINE void FaultyStateStore::CancelAwait(uint64_t name) {
  auto node = link_->waits.extract(name);
  if (!node.empty() && node.mapped().name_at_store != 0) {
    base()->CancelAwait(node.mapped().name_at_store);
  }
}

}  // namespace marathon::inline MARATHON_ABI::testing
