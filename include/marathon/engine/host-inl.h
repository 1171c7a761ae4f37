#pragma once

#include "marathon/engine/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/detail/text.h"
#include "marathon/engine/activity_gate-inl.h"
#include "marathon/engine/activity_runner-inl.h"
#include "marathon/engine/due_keeper-inl.h"
#include "marathon/engine/host_calls-inl.h"
#include "marathon/engine/host_close-inl.h"
#include "marathon/engine/host_control-inl.h"
#include "marathon/engine/host_fork-inl.h"
#include "marathon/engine/host_queries-inl.h"
#include "marathon/engine/host_start-inl.h"
#include "marathon/engine/local_activities-inl.h"
#include "marathon/engine/nothing_beside.h"
#include "marathon/engine/payload_store.h"
#include "marathon/engine/place_keeper-inl.h"
#include "marathon/engine/run_messages-inl.h"
#include "marathon/engine/schedules-inl.h"
#include "marathon/engine/session_keeper-inl.h"
#include "marathon/engine/turn_commit-inl.h"
#include "marathon/engine/turn_locals-inl.h"
#include "marathon/engine/turn_runner-inl.h"
#include "marathon/engine/turn_undo-inl.h"
#include "marathon/engine/watchdog-inl.h"

namespace marathon::inline MARATHON_ABI {

// The store, with large payloads in their places, and all of them sealed.
inline std::shared_ptr<StateStore> WithPayloads(std::shared_ptr<StateStore> store, const EngineOptions& options,
                                                std::shared_ptr<const PayloadSealer> sealer) {
  if (store->keeps_blobs()) store = std::make_shared<PayloadStore>(std::move(store), options.payload_inline_bytes);
  if (sealer->has_codecs()) store = std::make_shared<SealingStore>(std::move(store), std::move(sealer));
  return store;
}

MARATHON_INLINE Host::Host(Runtime& runtime, Ports ports, std::shared_ptr<const Registry> registry,
                           EngineOptions options)
    : runtime_(runtime),
      sealer_(std::make_shared<const PayloadSealer>(options.payload_codecs)),
      store_(WithPayloads(std::move(ports.store), options, sealer_)),
      queue_(std::move(ports.queue)),
      blobs_(ports.blobs ? std::move(ports.blobs) : detail::NoBlobs(store_->domain())),
      streams_(ports.streams ? std::move(ports.streams) : detail::NoStreams(store_->domain())),
      limiter_(ports.limiter ? std::move(ports.limiter) : detail::NoLimiter(store_->domain())),
      transactions_(std::move(ports.transactions)),
      registry_(std::move(registry)),
      options_(std::move(options)),
      session_(*this),
      due_(*this),
      turns_(*this, options_),
      activities_(*this, options_),
      locals_(*this),
      places_(*this) {
  if (!options_.log) options_.log = NewStderrLogSink();
}

MARATHON_INLINE std::shared_ptr<Host> Host::Create(Runtime& runtime, Ports ports,
                                                   std::shared_ptr<const Registry> registry,
                                                   EngineOptions options) {
  std::shared_ptr<Host> host(
      new Host(runtime, std::move(ports), std::move(registry), std::move(options)));
  if (host->works()) {
    auto all = std::make_shared<Registry>(*host->registry_);
    detail::AddSchedules(*all, host);
    detail::AddRunMessages(*all, host);
    host->registry_ = std::move(all);
  }
  std::vector<std::string>& queues = host->turn_queues_;
  queues = host->options_.task_queues;
  if (host->registry_->has_pinned()) {
    for (const std::string& queue : host->options_.task_queues) {
      queues.push_back(PinnedQueue(queue, host->options_.build_id));
    }
  }
  return host;
}

// ---- Life ------------------------------------------------------------------------------------------

MARATHON_INLINE void Host::Open(DoneStatus done) {
  session_.Open([self = Self(), done = std::move(done)](Status status) mutable {
    if (status.ok()) {
      self->BeginReceiving();
      if (self->works()) self->due_.Poll();
      if (self->registry_->has_workflows()) self->UnblockAll("", 0);
    }
    done(std::move(status));
  });
}

MARATHON_INLINE void Host::BeginReceiving() {
  if (registry_->has_workflows()) ReceiveTurns(session_.id());
  activities_.Pump();
}

// One chain of calls a session: it ends when the session is lost and its successor begins its own.
MARATHON_INLINE void Host::ReceiveTurns(const SessionId& session) {
  constexpr int kBatch = 64;
  if (stopping()) return;
  queue_->Receive({session, TaskKind::kTurn, turn_queues_, kBatch},
                  [self = Self(), session](StatusOr<std::vector<Delivery>> hints) {
                    // On any thread, perhaps another engine's: a shutdown waits until this has an end, and
                    // there is no runtime behind that.
                    self->turns_.Enter();
                    self->OnTurnHints(session, std::move(hints));
                    self->turns_.Exit();
                  });
}

// A hint that comes after the shutdown goes back to the queue; one that comes before its end is waited for.
MARATHON_INLINE void Host::OnTurnHints(const SessionId& session, StatusOr<std::vector<Delivery>> hints) {
  auto again = [self = Self(), session] { self->ReceiveTurns(session); };
  const bool over = finished();
  if (!hints.ok()) {
    if (over || hints.status().code() == StatusCode::kCancelled) return;
    return AfterBackoff(1, std::move(again));
  }
  if (over) {
    for (Delivery& delivery : *hints) delivery.hint.preferred.clear();
    if (!hints->empty()) queue_->Nack(*std::move(hints), [](const Status&) {});
    return;
  }
  std::vector<std::string> receipts;
  for (Delivery& delivery : *hints) {
    turns_.Wake(delivery.hint.run);
    receipts.push_back(std::move(delivery.receipt));
  }
  queue_->Ack(std::move(receipts), [](const Status&) {});
  runtime_.Post(Lane::kTurn, std::move(again));
}

MARATHON_INLINE void Host::UnblockAll(std::string page_token, int failures) {
  ListRequest request;
  request.blocked_only = true;
  request.page_token = page_token;
  store_->List(std::move(request), [self = Self(), page_token = std::move(page_token),
                                    failures](StatusOr<ListReply> page) mutable {
    if (!page.ok()) {
      if (!IsTransient(page.status()) || self->stopping()) return;  // they stay as they are
      return self->AfterBackoff(failures + 1, [weak = self->weak_from_this(), page_token = std::move(page_token),
                                               failures]() mutable {
        const auto host = weak.lock();
        if (host && !host->stopping()) host->UnblockAll(std::move(page_token), failures + 1);
      });
    }
    for (const RunRow& row : page->runs) {
      if (self->registry_->FindWorkflow(row.workflow_type) == nullptr || !self->IsOurs(row)) continue;
      self->store_->Unblock(row.key, [](const Status&) {});
    }
    if (!page->next_page_token.empty()) self->UnblockAll(page->next_page_token, 0);
  });
}

MARATHON_INLINE void Host::Shutdown(DoneStatus done) {
  {
    std::lock_guard lock(shutdown_mutex_);
    shutdown_done_ = std::move(done);
  }
  stopping_ = true;  // before busy() is looked at, as whoever becomes busy looks at it afterwards
  queue_->StopReceiving(session_.id());
  due_.Stop();
  activities_.StopAll();
  locals_.StopAll();
  TryFinishShutdown();
}

MARATHON_INLINE void Host::TryFinishShutdown() {
  DoneStatus done;
  {
    std::lock_guard lock(shutdown_mutex_);
    if (turns_.busy() > 0 || activities_.running() > 0 || locals_.running() > 0) return;
    finished_ = true;
    done = std::exchange(shutdown_done_, nullptr);
  }
  if (done) session_.Close(std::move(done));
}

// Whoever has made itself busy before it asks is waited for, or told.
MARATHON_INLINE bool Host::finished() {
  if (!stopping()) return false;
  std::lock_guard lock(shutdown_mutex_);
  return finished_;
}

MARATHON_INLINE void Host::Abandon() {
  abandoned_ = true;
  stopping_ = true;
  due_.Stop();
  session_.Stop();
  activities_.Abandon();
  locals_.Abandon();
}

// ---- StoreWatcher ----------------------------------------------------------------------------------

MARATHON_INLINE void Host::OnDue(Time at) {
  if (works()) due_.Note(at);
}

MARATHON_INLINE void Host::OnActivitiesCanceled(const std::vector<ActivityKey>& keys) {
  for (const ActivityKey& key : keys) activities_.Cancel(key);
}

MARATHON_INLINE void Host::OnReturned(std::vector<HeldActivity> held) {
  activities_.ForgetBegun(held);
  activities_.GiveBackUnknown(std::move(held));  // first: a session that holds something does not rest
  session_.Renew();                              // its lease, too, is what it was
}

// ---- Shared ----------------------------------------------------------------------------------------

MARATHON_INLINE void Host::AfterBackoff(int failures, Callback<void()> work) {
  const int64_t longest = std::min<int64_t>(int64_t{20} << std::min(failures, 8), 5'000);
  const auto wait = longest / 2 + static_cast<int64_t>(runtime_.Random() % (longest / 2 + 1));
  runtime_.SetAlarm(Duration(wait), std::move(work));
}

MARATHON_INLINE SessionId Host::NewSessionId() {
  return detail::ShortIdText(runtime_.Random(), runtime_.Random());
}

MARATHON_INLINE Id Host::NewId() {
  const uint64_t millis = static_cast<uint64_t>(ToMicros(runtime_.Now())) / 1000;
  const uint64_t random = runtime_.Random();
  return detail::UuidText(millis << 16 | (random & 0xfff), runtime_.Random(), 7);
}

}  // namespace marathon::inline MARATHON_ABI
