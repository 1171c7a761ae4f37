#pragma once

#include "marathon/engine/activity_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "marathon/engine/activity_claims-inl.h"
#include "marathon/engine/activity_ends-inl.h"
#include "marathon/engine/attempt-inl.h"
#include "marathon/engine/host.h"
#include "marathon/engine/payload_store.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

MARATHON_INLINE ActivityRunner::ActivityRunner(Host& host, const EngineOptions& options)
    : host_(host), ahead_(options.activity_threads), gate_(host.registry(), options) {
  blocking_.limit = options.activity_threads;
  async_.limit = options.max_async_activities;
}

MARATHON_INLINE bool ActivityRunner::Reserve(std::string_view activity_type,
                                             std::string_view task_queue, uint8_t priority) {
  if (host_.stopping()) return false;
  const auto& queues = host_.options().task_queues;
  if (std::ranges::find(queues, task_queue) == queues.end()) return false;
  const ActivityEntry* entry = host_.registry().FindActivity(activity_type);
  if (entry == nullptr) return false;
  if (!gate_.TakeNew(activity_type, host_.runtime().MonotonicMicros())) return false;
  Lanes& lanes = LanesOf(entry->asynchronous);
  const int used = lanes.used.fetch_add(1);
  const bool ahead = !entry->asynchronous && used >= lanes.limit && MayClaimAhead(priority);
  const int limit = ahead ? ahead_.limit() : lanes.limit;
  if (used < limit && host_.session().Hold()) {
    if (ahead) ++claimed_ahead_;
    return true;
  }
  lanes.used.fetch_sub(1);
  gate_.GiveBack(activity_type);
  return false;
}

// ---- Those that were claimed ahead -----------------------------------------------------------------

// What is claimed ahead goes past the queue, and keeps the worker from it: so not what is to come behind something that
// waits there, as far as is known, and not for more than about 200 ms of work without a look.
MARATHON_INLINE bool ActivityRunner::MayClaimAhead(uint8_t priority) const {
  constexpr int kTimesWhatMayWait = 4;
  if (receiving_.load()) return true;  // nothing waits, or is about to be told
  return priority <= waiting_priority_.load() && claimed_ahead_.load() < kTimesWhatMayWait * ahead_.limit();
}

MARATHON_INLINE void ActivityRunner::WatchWaiting() {
  if (watching_.exchange(true)) return;
  host_.runtime().SetAlarm(ClaimAhead::kMostWaiting, [weak = host_.weak_from_this()] {
    if (auto self = weak.lock()) self->activities().GiveBackWaiting();
  });
}

// Activities turned out longer than they used to be: what has waited for a thread since the last look,
// anybody may begin.
MARATHON_INLINE void ActivityRunner::GiveBackWaiting() {
  std::vector<std::shared_ptr<Attempt>> given_back;
  bool waiting = false;
  watching_ = false;  // first: what starts from here on is seen below, or watched anew
  {
    std::lock_guard lock(mutex_);
    for (const auto& [hash, attempt] : running_) {
      if (attempt->asynchronous() || attempt->begun()) continue;
      waiting = true;
      if (!attempt->entering() && attempt->WaitedBefore() && attempt->Begin()) given_back.push_back(attempt);
    }
  }
  // Before they are in the queue again, and would be fetched from there.
  if (!given_back.empty()) ahead_.WaitedTooLong();
  for (const auto& attempt : given_back) GiveBack(*attempt, Duration(0));
  if (waiting) WatchWaiting();
}

// It may also be about to begin here, or its end on the way: so only after another look, later.
// One that runs may have ended in what was lost, and the answer be on its way: it is looked at once that is here.
MARATHON_INLINE void ActivityRunner::GiveBackUnknown(std::vector<HeldActivity> held) {
  if (held.empty()) return;
  host_.session().HoldClaimed();
  host_.runtime().SetAlarm(host_.options().lease / 3, [weak = host_.weak_from_this(),
                                                      held = std::move(held)] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    for (const HeldActivity& one : held) {
      if (self->activities().IsRunning(one.key, one.epoch)) continue;
      AttemptEnd end;
      end.key = one.key;
      end.epoch = one.epoch;
      end.kind = AttemptEnd::Kind::kGiveBack;
      self->activities().SendEnd(std::move(end));
    }
    self->session().Release();
  });
}

MARATHON_INLINE void ActivityRunner::Unreserve(std::string_view activity_type) {
  const ActivityEntry* entry = host_.registry().FindActivity(activity_type);
  LanesOf(entry != nullptr && entry->asynchronous).used.fetch_sub(1);
  gate_.GiveBack(activity_type);
  host_.session().Release();
  Pump();
}

MARATHON_INLINE void ActivityRunner::Start(ActivityRow&& row, SlotPtr slot, bool admitted) {
  admitted |= slot != nullptr;
  if (!admitted && !gate_.Take(row.activity_type, host_.runtime().MonotonicMicros())) {
    AttemptEnd end;
    end.key = row.key;
    end.epoch = row.epoch;
    end.kind = AttemptEnd::Kind::kGiveBack;
    return SendEnd(std::move(end));
  }
  const ActivityEntry* entry = host_.registry().FindActivity(row.activity_type);
  auto attempt = Attempt::Create(host_.Self(), std::move(row), entry, std::move(slot));
  const bool own_turn = attempt->own_turn();
  if (!own_turn) {
    LanesOf(attempt->asynchronous()).used.fetch_add(1);
    host_.session().HoldClaimed();
  }
  ++running_count_;
  const size_t hash = HashOf(*attempt);
  bool canceled = attempt->canceled();
  attempt->SetEntering(attempt->keyed());  // before others see it
  {
    std::lock_guard lock(mutex_);
    running_.emplace(hash, attempt);
    NoteBegun(hash, attempt->epoch());
    canceled |= TakeEarlyCancel(attempt->key());
  }
  if (!attempt->asynchronous() && blocking_.used.load() > blocking_.limit) WatchWaiting();
  if (canceled) attempt->RequestStop(true);
  // Whoever loses the session stops what runs, and what comes late is stopped here.
  if (host_.stopping() || host_.session().HasLost(attempt->session())) attempt->RequestStop(false);
  const int deaths = IsBuiltIn(attempt->activity_type()) ? 0 : attempt->deliveries();
  if (deaths >= limits::kMaxDeliveries) {
    Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
    failure.type = failure_type::kDeadLetter;
    failure.message = fmt::format("its worker died {} times while it ran", deaths);
    return attempt->policy().hold_dead_letter ? HoldDead(*attempt, std::move(failure))
                                              : attempt->Finish(std::move(failure));
  }
  if (attempt->keyed()) return Enter(std::move(attempt), 0);
  Begin(std::move(attempt));
}

MARATHON_INLINE void ActivityRunner::Begin(std::shared_ptr<Attempt> attempt) {
  if (attempt->input().encoding == Encoding::kBlob) return ReadInput(std::move(attempt), 0);
  if (attempt->sealed()) return OpenInput(std::move(attempt), 0);
  const bool suspect = attempt->deliveries() >= limits::kSuspectDeliveries && !IsBuiltIn(attempt->activity_type());
  suspect ? RunSuspect(std::move(attempt)) : Run(std::move(attempt));
}

// A damaged one is a failure like any other, so that the retry policy gives people time to mend it.
MARATHON_INLINE void ActivityRunner::ReadInput(std::shared_ptr<Attempt> attempt, int failures) {
  const RunKey& run = attempt->key().run;
  Payload name = attempt->input();
  ReadPayload(host_.store(), run, std::move(name), [self = host_.Self(), attempt, failures](StatusOr<Payload> input) {
    constexpr int kPatience = 8;  // some seconds: its deadline passes meanwhile
    if (input.ok()) {  // also if it was told to stop: a child's delivery has that to pass on
      attempt->SetInput(*std::move(input));
      return self->activities().Begin(attempt);
    }
    if (!IsTransient(input.status())) {
      Failure failure{.kind = FailureKind::kEngine};
      failure.type = failure_type::kDataLoss;
      failure.message = fmt::format("the input of activity \"{}\" is not to be had: {}", attempt->activity_type(),
                                    MessageOf(input.status()));
      return attempt->Finish(std::move(failure));
    }
    const bool gives_up = failures == kPatience || self->stopping() || self->session().HasLost(attempt->session());
    if (gives_up) return self->activities().GiveBack(*attempt, Duration(1'000));
    self->AfterBackoff(failures + 1, [self, attempt, failures] { self->activities().ReadInput(attempt, failures + 1); });
  });
}

// What cannot be opened here is left for a worker that can, as if it had never been delivered; its row says why.
MARATHON_INLINE void ActivityRunner::OpenInput(std::shared_ptr<Attempt> attempt, int failures) {
  constexpr int kPatience = 8;  // some seconds: its deadline passes meanwhile
  const Status opened = attempt->Open(host_.sealer());
  if (opened.ok()) return Begin(std::move(attempt));
  const bool gives_up = failures == kPatience || host_.stopping() || host_.session().HasLost(attempt->session());
  if (IsTransient(opened) && !gives_up) {
    return host_.AfterBackoff(failures + 1, [self = host_.Self(), attempt, failures] {
      self->activities().OpenInput(attempt, failures + 1);
    });
  }
  Failure failure{.kind = FailureKind::kEngine};
  failure.type = failure_type::kSealed;
  failure.message =
      fmt::format("what activity \"{}\" reads is sealed: {}", attempt->activity_type(), MessageOf(opened));
  const RunKey& run = attempt->key().run;
  host_.Log(LogLevel::kError,
            fmt::format("activity {} of run {} of workflow \"{}\" is given back: {}", attempt->key().id, run.run_id,
                        run.workflow_id, failure.message));
  GiveBack(*attempt, limits::kSealedRetry, std::move(failure));
}

// What is told to stop ends when the answer to its question is there: it may have a place by then.
MARATHON_INLINE void ActivityRunner::Enter(std::shared_ptr<Attempt> attempt, int failures) {
  if (attempt->stop_source().stop_requested()) return GiveBack(*attempt, Duration(0));
  const Attempt& asker = *attempt;
  host_.places().Enter(asker, [self = host_.Self(), attempt = std::move(attempt),
                               failures](const StatusOr<bool>& granted) mutable {
    self->activities().OnEntered(std::move(attempt), failures, granted);
  });
}

MARATHON_INLINE void ActivityRunner::OnEntered(std::shared_ptr<Attempt> attempt, int failures,
                                               const StatusOr<bool>& granted) {
  constexpr int kPatience = 8;  // some seconds: its deadline passes meanwhile
  if (attempt->stop_source().stop_requested()) return GiveBack(*attempt, Duration(0));
  if (granted.ok() && *granted) {
    attempt->SetEntering(false);
    return Begin(std::move(attempt));
  }
  const bool transient = !granted.ok() && IsTransient(granted.status());
  if (granted.ok() || (transient && failures == kPatience)) {
    const auto spread = static_cast<int64_t>(host_.runtime().Random() % static_cast<uint64_t>(limits::kPlaceRetry.count()));
    // Posted, since it makes room for the next hint: of thousands that wait, each would be refused within the one before.
    return host_.runtime().Post(Lane::kTurn, [self = host_.Self(), attempt, spread] {
      self->activities().GiveBack(*attempt, limits::kPlaceRetry / 2 + Duration(spread));
    });
  }
  if (transient) {
    return host_.AfterBackoff(failures + 1, [self = host_.Self(), attempt, failures] {
      self->activities().Enter(attempt, failures + 1);
    });
  }
  Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
  failure.type = failure_type::kNoPlace;
  failure.message = fmt::format("activity \"{}\" has the concurrency key \"{}\", and its store gives it no place: {}",
                                attempt->activity_type(), attempt->policy().concurrency_key, MessageOf(granted.status()));
  attempt->Finish(std::move(failure));
}

MARATHON_INLINE void ActivityRunner::HoldDead(Attempt& attempt, Failure failure) {
  host_.Log(LogLevel::kError,
            fmt::format("activity {} \"{}\" of run {} of workflow \"{}\" is a dead letter: {}",
                        attempt.key().id, attempt.activity_type(), attempt.key().run.run_id,
                        attempt.key().run.workflow_id, failure.message));
  AttemptEnd end = EndOf(attempt);
  end.kind = AttemptEnd::Kind::kDead;
  end.failure = std::move(failure);
  SendEnd(std::move(end), attempt.place());
  Forget(attempt, true);
}

MARATHON_INLINE void ActivityRunner::Run(std::shared_ptr<Attempt> attempt) {
  const Lane lane = attempt->asynchronous() ? Lane::kBegin : Lane::kActivity;
  host_.runtime().Post(lane, [attempt = std::move(attempt)] { attempt->Run(); });
}

// What has killed workers before runs while no other such does, so that the next death has one suspect.
// The others are given back for a moment: waiting here, they would be counted as killers, too.
MARATHON_INLINE void ActivityRunner::RunSuspect(std::shared_ptr<Attempt> attempt) {
  constexpr uint64_t kMomentMillis = 500;
  bool alone;
  {
    std::lock_guard lock(mutex_);
    alone = suspect_ == nullptr;
    if (alone) suspect_ = attempt.get();
  }
  if (alone) return Run(std::move(attempt));
  GiveBack(*attempt, Duration(kMomentMillis / 2 + host_.runtime().Random() % kMomentMillis));
}

MARATHON_INLINE size_t ActivityRunner::HashOf(const Attempt& attempt) {
  const ActivityKey& key = attempt.key();
  // As std::hash<ActivityKey> has it, but a slot knows the hash of its run.
  if (attempt.slot()) return attempt.slot()->hash * 31 + std::hash<EventId>()(key.id);
  return std::hash<ActivityKey>()(key);
}

// Of two attempts of one activity, never the same.
inline uint64_t BegunHash(size_t hash, Epoch epoch) {
  return static_cast<uint64_t>(hash) * 0x9e3779b97f4a7c15 ^ static_cast<uint64_t>(epoch);
}

MARATHON_INLINE std::vector<std::shared_ptr<Attempt>> ActivityRunner::AttemptsOf(
    const ActivityKey& key) {
  std::vector<std::shared_ptr<Attempt>> attempts;
  const auto [first, last] = running_.equal_range(std::hash<ActivityKey>()(key));
  for (auto entry = first; entry != last; ++entry) {
    if (entry->second->key() == key) attempts.push_back(entry->second);
  }
  return attempts;
}

MARATHON_INLINE bool ActivityRunner::IsRunning(const ActivityKey& key, Epoch epoch) {
  std::lock_guard lock(mutex_);
  const auto attempts = AttemptsOf(key);
  return std::any_of(attempts.begin(), attempts.end(),
                     [&](const auto& attempt) { return attempt->epoch() == epoch; });
}

MARATHON_INLINE void ActivityRunner::NoteBegun(size_t hash, Epoch epoch) {
  begun_[next_begun_++ % begun_.size()] = BegunHash(hash, epoch);
}

MARATHON_INLINE bool ActivityRunner::MayBegin(const ActivityKey& key, Epoch epoch) {
  const size_t hash = std::hash<ActivityKey>()(key);
  std::lock_guard lock(mutex_);
  if (std::ranges::find(begun_, BegunHash(hash, epoch)) != begun_.end()) return false;
  NoteBegun(hash, epoch);
  return true;
}

MARATHON_INLINE void ActivityRunner::ForgetBegun(const std::vector<HeldActivity>& held) {
  std::lock_guard lock(mutex_);
  const auto before = std::exchange(begun_, {});
  for (const HeldActivity& one : held) {
    const size_t hash = std::hash<ActivityKey>()(one.key);
    if (std::ranges::find(before, BegunHash(hash, one.epoch)) != before.end()) NoteBegun(hash, one.epoch);
  }
}

MARATHON_INLINE void ActivityRunner::Cancel(const ActivityKey& key) {
  std::vector<std::shared_ptr<Attempt>> attempts;
  {
    std::lock_guard lock(mutex_);
    attempts = AttemptsOf(key);
    // What runs may be an older attempt than the one that is being claimed.
    if (attempts.empty() || claiming_.contains(key)) {
      // What is dropped here is told by its next heartbeat.
      constexpr size_t kRemembered = 1'000;
      if (early_cancels_.size() == kRemembered) early_cancels_.pop_front();
      early_cancels_.push_back(key);
    }
  }
  for (const auto& attempt : attempts) attempt->RequestStop(true);  // runs users' stop_callbacks
}

MARATHON_INLINE bool ActivityRunner::TakeEarlyCancel(const ActivityKey& key) {
  return !early_cancels_.empty() && std::erase(early_cancels_, key) > 0;
}

MARATHON_INLINE void ActivityRunner::Stop(const ActivityKey& key, Epoch epoch) {
  std::vector<std::shared_ptr<Attempt>> attempts;
  {
    std::lock_guard lock(mutex_);
    attempts = AttemptsOf(key);
  }
  for (const auto& attempt : attempts) {
    if (attempt->epoch() == epoch) attempt->Overtake();
  }
}

MARATHON_INLINE void ActivityRunner::StopAll() {
  // If only the session was lost, they are good for the next.
  const Hints back(host_.Self(), gate_, host_.stopping() ? gate_.TakeKept() : std::vector<Delivery>());
  std::vector<std::shared_ptr<Attempt>> attempts;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [hash, attempt] : running_) attempts.push_back(attempt);
  }
  for (const auto& attempt : attempts) attempt->RequestStop(false);
}

MARATHON_INLINE std::string ActivityRunner::DescribeRunning() {
  std::lock_guard lock(mutex_);
  std::string names;
  for (const auto& [hash, attempt] : running_) {
    if (names.size() > 400) return names + " and more";
    names += fmt::format("{}\"{}\" of workflow \"{}\"", names.empty() ? "" : ", ",
                         attempt->activity_type(), attempt->key().run.workflow_id);
  }
  return "shutting down: waiting for activities that ignore their stop_token: " + names;
}

MARATHON_INLINE void ActivityRunner::Abandon() {
  Running running;
  std::lock_guard lock(mutex_);
  running.swap(running_);
}

}  // namespace marathon::inline MARATHON_ABI::detail
