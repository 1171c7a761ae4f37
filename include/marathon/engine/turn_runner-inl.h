#pragma once

#include "marathon/engine/turn_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/engine/host.h"
#include "marathon/engine/run_messages.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

// Whose turn is the last in a part of a history that follows one of `before`'s.
inline std::string_view BuildOf(const History& history, std::string_view before) {
  for (auto event = history.rbegin(); event != history.rend(); ++event) {
    const auto* marker = std::get_if<TurnStarted>(&event->body);
    if (marker != nullptr && !marker->build_id.empty()) return marker->build_id;
  }
  return before;
}

MARATHON_INLINE TurnRunner::TurnRunner(Host& host, const EngineOptions& options)
    : host_(host), cache_(options.cache_runs, options.cache_bytes), watchdog_(host, cache_) {}

// ---- Taking work -----------------------------------------------------------------------------------

MARATHON_INLINE void TurnRunner::Wake(const RunKey& run) {
  if (SlotPtr slot = cache_.Wake(run)) {
    ++busy_;
    Drive(std::move(slot), true);
  }
}

MARATHON_INLINE void TurnRunner::HandOver(const SlotPtr& slot, HandedOutcome outcome) {
  if (SlotPtr busy = cache_.HandOver(slot, std::move(outcome))) {
    ++busy_;
    Drive(std::move(busy), false);
  }
}

MARATHON_INLINE void TurnRunner::HandOver(const RunKey& run, HandedOutcome outcome) {
  if (SlotPtr busy = cache_.HandOver(run, std::move(outcome))) {
    ++busy_;
    Drive(std::move(busy), false);
  }
}

// `ask`: the store may have messages.
MARATHON_INLINE void TurnRunner::Drive(SlotPtr slot, bool ask) {
  // An answer that comes after a shutdown: others take the turn, soon after the end of the session.
  if (ask && slot->taken.empty() && host_.finished()) return Finish(std::move(slot), true);
  if (ask || !slot->replayer) {
    Take(std::move(slot));
  } else {
    RunTurn(std::move(slot), {}, host_.store().Now());
  }
}

MARATHON_INLINE void TurnRunner::Take(SlotPtr slot) {
  TakeTurnRequest request;
  request.run = slot->key;
  request.session = host_.session().id();
  request.build_id = host_.options().build_id;
  if (slot->replayer) {
    request.known_version = slot->replayer->version();
    request.known_commit = slot->commit_id;
  }
  host_.store().TakeTurn(std::move(request),
                         [self = host_.Self(), slot](StatusOr<RunSnapshot> taken) {
                           self->turns().OnTaken(slot, std::move(taken));
                         });
}

MARATHON_INLINE void TurnRunner::OnTaken(SlotPtr slot, StatusOr<RunSnapshot> taken) {
  if (taken.ok()) {
    slot->failures = 0;
    if (taken->more_records) {
      return ReadRest(slot, std::make_shared<RunSnapshot>(*std::move(taken)));
    }
    return Load(std::move(slot), *std::move(taken));
  }
  if (IsTransient(taken.status())) {
    return TryAgain(std::move(slot), &TurnRunner::Take);
  }
  if (taken.status().code() == StatusCode::kDataLoss) return BlockUnreadable(std::move(slot), taken.status());
  GiveUp(std::move(slot));
}

// A message or a record of it is damaged, or from a later version. Its row tells where it stands.
MARATHON_INLINE void TurnRunner::BlockUnreadable(SlotPtr slot, const Status& damage) {
  ReadRequest request;
  request.run = slot->key;
  host_.store().Read(std::move(request), [self = host_.Self(), slot, damage](StatusOr<RunSnapshot> read) {
    const std::string reason = fmt::format("it cannot be read: {}", MessageOf(damage));
    if (read.ok()) {
      slot->base_version = read->row.version;
      return self->turns().Block(slot, reason, read->row.version);
    }
    self->Log(LogLevel::kError,
              fmt::format("run {} of \"{}\": {}", slot->key.run_id, slot->key.workflow_id, reason));
    self->turns().GiveUp(slot);
  });
}

// A long history comes in pages.
MARATHON_INLINE void TurnRunner::ReadRest(SlotPtr slot, std::shared_ptr<RunSnapshot> snapshot) {
  ReadRequest request;
  request.run = slot->key;
  request.records = true;
  auto last = DecodeRecord(snapshot->records.back());
  if (!last.ok() || last->events.empty()) return Load(std::move(slot), std::move(*snapshot));
  request.after_version = last->events.back().id;
  host_.store().Read(std::move(request), [self = host_.Self(), slot,
                                          snapshot](StatusOr<RunSnapshot> page) {
    if (!page.ok()) return self->turns().OnTaken(slot, page.status());
    for (std::string& record : page->records) snapshot->records.push_back(std::move(record));
    if (page->more_records) return self->turns().ReadRest(slot, snapshot);
    self->turns().Load(slot, std::move(*snapshot));
  });
}

// ---- Replaying -------------------------------------------------------------------------------------

MARATHON_INLINE std::unique_ptr<Replayer> TurnRunner::NewReplayer(const RunKey& run,
                                                                  std::string_view type,
                                                                  std::string_view task_queue) {
  const WorkflowFactory* factory = host_.registry().FindWorkflow(type);
  if (factory == nullptr) return nullptr;
  auto replayer = std::make_unique<Replayer>(
      RunFacts{run, std::string(type), std::string(task_queue)}, *factory);
  replayer->SetLog([log = host_.options().log.get()](LogLevel level, std::string_view message) {
    log->Log(level, message);
  });
  return replayer;
}

MARATHON_INLINE void TurnRunner::Load(SlotPtr slot, RunSnapshot snapshot) {
  slot->base_version = snapshot.row.version;
  slot->incarnation = snapshot.incarnation;
  slot->pinned = snapshot.row.pinned.has_value();
  if (snapshot.row.deliveries > limits::kMaxDeliveries) {
    return Block(slot, fmt::format("its turn has ended its worker {} times", limits::kMaxDeliveries),
                 snapshot.row.version);
  }
  History history;
  for (const std::string& record : snapshot.records) {
    Status status;
    if (history.empty()) {  // begins anywhere: behind what the cache has, or at 1
      StatusOr<Record> first = DecodeRecord(record);
      status = first.status();
      if (first.ok()) history = std::move(first->events);
    } else {
      status = AppendRecord(record, history);
    }
    if (!status.ok()) {
      return Block(slot, fmt::format("its history cannot be read: {}", MessageOf(status)),
                   history.empty() ? 0 : history.back().id);
    }
  }
  if (LeftSealed(slot, history, snapshot.inbox)) return;
  const bool goes_on = slot->replayer && (history.empty() ||
                                          history.front().id == slot->replayer->version() + 1);
  if (!goes_on && !history.empty() && history.front().id != 1) {
    return Block(slot, fmt::format("its history begins with event {}", history.front().id), 0);
  }
  if (!goes_on) {
    slot->replayer = NewReplayer(slot->key, snapshot.row.workflow_type, snapshot.row.task_queue);
    slot->bytes = 0;
    slot->verified.clear();
  }
  if (!slot->replayer) {
    return GiveBack(slot,
                    fmt::format("workflow type \"{}\" is not registered in this worker; it has {}",
                                snapshot.row.workflow_type, host_.registry().WorkflowNames()),
                    0);
  }
  if (!history.empty()) {
    watchdog_.Begin(slot);
    const int64_t before = FrameBytesOfThisThread();
    const std::string build_before = slot->replayer->build_id();
    auto mismatch = slot->replayer->Replay(history);
    slot->bytes += FrameBytesOfThisThread() - before;
    watchdog_.End(slot);
    if (mismatch) {
      const bool own = slot->pinned || BuildOf(history, build_before) == host_.options().build_id;
      return LeaveMismatched(std::move(slot), *mismatch, own);
    }
  }
  slot->commit_id = snapshot.row.commit_id;
  slot->history_bytes = snapshot.row.history_bytes;
  if (host_.options().verify_determinism) {
    slot->verified.insert(slot->verified.end(), history.begin(), history.end());
  }
  if (slot->replayer->version() > snapshot.row.version) {  // a commit came between two pages
    return Lost(std::move(slot));
  }
  if (slot->replayer->version() < snapshot.row.version) {
    return Block(slot,
                 fmt::format("its history ends at event {} instead of {}",
                             slot->replayer->version(), snapshot.row.version),
                 slot->replayer->version());
  }
  RunTurn(std::move(slot), std::move(snapshot.inbox), snapshot.now);
}

// A turn is about values: what is still sealed keeps it from being taken, and is not the code's to see.
MARATHON_INLINE Status TurnRunner::CheckOpen(const RunKey& run, const History& history,
                                             const std::vector<Message>& inbox, EventId& event_id) const {
  const PayloadSealer& sealer = host_.sealer();
  if (Status status = sealer.CheckHistory(history, run.workflow_id, &event_id); !status.ok()) return status;
  for (const Message& message : inbox) {
    const Status status = sealer.CheckOpen(message.body, run.workflow_id);
    if (status.ok()) continue;
    return MakeStatus(status.code(),
                      fmt::format("a message that waits, {}: {}", Describe(message.body), MessageOf(status)));
  }
  return {};
}

// A codec that is not here another worker may have. One that does not open what it has sealed is for people to mend.
MARATHON_INLINE bool TurnRunner::LeftSealed(const SlotPtr& slot, const History& history,
                                            const std::vector<Message>& inbox) {
  EventId event_id = 0;
  const Status sealed = CheckOpen(slot->key, history, inbox, event_id);
  if (sealed.ok()) return false;
  const std::string reason = fmt::format("it cannot be opened: {}", MessageOf(sealed));
  if (IsTransient(sealed)) {
    TryAgain(slot, &TurnRunner::Take);
  } else if (sealed.code() == StatusCode::kFailedPrecondition) {
    GiveBack(slot, reason, event_id);
  } else {
    Block(slot, reason, event_id);
  }
  return true;
}

// ---- The turn --------------------------------------------------------------------------------------

MARATHON_INLINE TurnStarted TurnRunner::Marker(const RunSlot& slot, Time now) const {
  TurnStarted marker;
  marker.time = std::max(now, slot.replayer->last_turn());
  const std::string& build_id = host_.options().build_id;
  if (build_id != slot.replayer->build_id()) marker.build_id = build_id;
  if (slot.replayer->version() >= limits::kHistoryHintEvents ||
      slot.history_bytes >= limits::kHistoryHintBytes) {
    marker.behavior_flags |= kContinueAsNewSuggested;
  }
  return marker;
}

MARATHON_INLINE void TurnRunner::Distrust(const std::string& workflow_type) {
  std::lock_guard lock(distrusted_mutex_);
  distrusted_.insert(workflow_type);
  any_distrusted_ = true;
}

MARATHON_INLINE bool TurnRunner::IsDistrusted(std::string_view workflow_type) {
  if (!any_distrusted_.load(std::memory_order_relaxed)) return false;
  std::lock_guard lock(distrusted_mutex_);
  return distrusted_.contains(workflow_type);
}

MARATHON_INLINE SlotPtr TurnRunner::FirstTurn(const RunKey& run, std::string_view workflow_type,
                                              std::string_view task_queue,
                                              const std::vector<Message>& messages) {
  if (IsDistrusted(workflow_type)) return nullptr;
  auto replayer = NewReplayer(run, workflow_type, task_queue);
  if (!replayer) return nullptr;
  SlotPtr slot = cache_.Create(run);
  if (!slot) return nullptr;
  ++busy_;
  if (slot->replayer) {  // a child, whose start its store has lost: what is known of it is void
    Discard(std::move(slot));
    return nullptr;
  }
  slot->replayer = std::move(replayer);
  PooledVector<EventBody> inbound;
  inbound.reserve(messages.size());
  for (const Message& message : messages) inbound.push_back(message.body);
  const Ran ran = RunCode(slot, host_.store().Now(), std::move(inbound));
  // A mismatch is found again, and told, by a turn that the store knows of; one may wait for local activities, too.
  if (ran.mismatch || slot->replayer->AwaitsLocals() || Verify(slot)) {
    Discard(std::move(slot));
    return nullptr;
  }
  return slot;
}

// What the end of a run owes its parent, if it has one.
MARATHON_INLINE std::optional<NewActivity> TurnRunner::NewsOf(const RunSlot& slot, EventId closing) {
  const auto& parent = slot.replayer->parent();
  if (!parent) return std::nullopt;
  return NewsForParent(*parent, closing, slot.replayer->facts().task_queue);
}

// Runs the code over `inbound`.
MARATHON_INLINE TurnRunner::Ran TurnRunner::RunCode(const SlotPtr& slot, Time now,
                                                    PooledVector<EventBody> inbound) {
  slot->own_build = slot->pinned || slot->replayer->build_id() == host_.options().build_id;
  slot->turn_commit = host_.runtime().Random();
  slot->in_doubt = slot->refused = false;
  slot->now = now;
  watchdog_.Begin(slot);
  const int64_t before = FrameBytesOfThisThread();
  TurnOutput output = slot->replayer->Turn(Marker(*slot, now), std::move(inbound));
  slot->bytes += FrameBytesOfThisThread() - before;
  watchdog_.End(slot);
  return TakeOutput(*slot, std::move(output));
}

// What this build has done itself, it will not do better the next time, and nobody else takes a run that is pinned.
MARATHON_INLINE void TurnRunner::LeaveMismatched(SlotPtr slot, const Mismatch& mismatch, bool own) {
  (this->*(own ? &TurnRunner::Block : &TurnRunner::GiveBack))(
      std::move(slot), "nondeterminism: " + mismatch.ToString(), mismatch.event_id);
}

// Signals go before other messages once a close has been refused because of them. By hand:
// std::stable_partition is deprecated in parts, as clang sees libstdc++ 12.
inline void PutSignalsFirst(PooledVector<EventBody>& inbound) {
  const auto rank = [](const EventBody& body) {
    if (std::holds_alternative<WorkflowStarted>(body)) return 0;
    return std::holds_alternative<SignalReceived>(body) ? 1 : 2;
  };
  PooledVector<EventBody> sorted;
  sorted.reserve(inbound.size());
  for (int place = 0; place <= 2; ++place) {
    for (EventBody& body : inbound) {
      if (rank(body) == place) sorted.push_back(std::move(body));
    }
  }
  inbound = std::move(sorted);
}

MARATHON_INLINE void TurnRunner::RunTurn(SlotPtr slot, std::vector<Message> inbox, Time now) {
  if (inbox.empty() && slot->taken.empty()) return Finish(std::move(slot), true);
  slot->now = now;
  slot->base_version = slot->replayer->version();
  slot->inbox_taken = inbox.empty() ? 0 : inbox.back().seq;
  if (slot->base_version >= limits::kHistoryMaxEvents ||
      slot->history_bytes >= limits::kHistoryMaxBytes) {
    Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
    failure.type = failure_type::kHistoryLimit;
    failure.message = fmt::format("its history has {} events and {} bytes; the limits are {} and {}",
                                  slot->base_version, slot->history_bytes,
                                  limits::kHistoryMaxEvents, limits::kHistoryMaxBytes);
    return FailRun(std::move(slot), std::move(failure));
  }
  PooledVector<EventBody> inbound;
  inbound.reserve(inbox.size() + slot->taken.size());
  for (Message& message : inbox) inbound.push_back(std::move(message.body));
  for (const HandedOutcome& outcome : slot->taken) inbound.push_back(outcome.outcome);
  if (slot->signals_first) PutSignalsFirst(inbound);

  const Ran ran = RunCode(slot, now, std::move(inbound));
  if (!IsOver(slot, ran)) AwaitLocals(std::move(slot));
}

// With verify_determinism: replays the whole run, this turn included, in fresh coroutines.
MARATHON_INLINE std::optional<Mismatch> TurnRunner::Verify(const SlotPtr& slot) {
  if (!host_.options().verify_determinism) return std::nullopt;
  History history = slot->verified;
  history.insert(history.end(), slot->events.begin(), slot->events.end());
  if (history.empty()) return std::nullopt;
  const auto& started = std::get<WorkflowStarted>(history[1].body);
  auto replayer = NewReplayer(slot->key, started.workflow_type, started.task_queue);
  replayer->SetLog(nullptr);
  watchdog_.Begin(slot);
  auto mismatch = replayer->Replay(history);
  watchdog_.End(slot);
  return mismatch;
}

MARATHON_INLINE void TurnRunner::Finish(SlotPtr slot, bool keep) {
  constexpr int kInlineTurns = 64;
  slot->events = PooledVector<Event>();  // a cached run needs no room for them
  slot->claims_chosen = false;
  slot->closing = false;
  slot->next.reset();
  slot->news.reset();
  slot->answers = {};
  slot->known_locals.clear();
  if (!keep) slot->replayer.reset();
  const RunCache::Left left = cache_.Release(slot, keep);
  if (left != RunCache::Left::kIdle) {
    const bool ask = left == RunCache::Left::kMessages;
    if (++slot->inline_turns < kInlineTurns) return Drive(std::move(slot), ask);
    slot->inline_turns = 0;
    host_.runtime().Post(Lane::kTurn,
                         [self = host_.Self(), slot, ask] { self->turns().Drive(slot, ask); });
    return;
  }
  Exit();
}

MARATHON_INLINE void TurnRunner::Exit() {
  if (--busy_ == 0 && host_.stopping()) host_.TryFinishShutdown();
}

}  // namespace marathon::inline MARATHON_ABI::detail
