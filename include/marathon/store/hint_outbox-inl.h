#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "marathon/limits.h"
#include "marathon/store/hint_outbox.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

inline constexpr size_t kOutboxBatch = 10;  // what SQS takes in one call
inline constexpr int kOutboxCalls = 8;      // at a time

}  // namespace detail

MARATHON_INLINE std::shared_ptr<HintOutbox> HintOutbox::Create(std::shared_ptr<TaskQueue> queue,
                                                               Runtime& runtime) {
  return std::shared_ptr<HintOutbox>(new HintOutbox(std::move(queue), runtime));
}

MARATHON_INLINE size_t HintOutbox::waiting() const {
  const std::lock_guard lock(mutex_);
  return items_.size() + being_sent_;
}

MARATHON_INLINE uint64_t HintOutbox::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

MARATHON_INLINE void HintOutbox::Send(std::vector<TaskHint> hints, DoneStatus done) {
  const int64_t now = runtime_.MonotonicMicros();
  {
    const std::lock_guard lock(mutex_);
    const size_t used = std::min(items_.size() + being_sent_, limits::kOutboxHints);
    const size_t room = std::min(hints.size(), limits::kOutboxHints - used);
    for (size_t i = 0; i < room; ++i) items_.push_back({std::move(hints[i]), now});
    dropped_ += hints.size() - room;
  }
  Pump();
  done(Status());
}

MARATHON_INLINE void HintOutbox::Pump() {
  std::unique_lock lock(mutex_);
  if (std::exchange(pumping_, true)) return;
  while (!resting_ && in_flight_ < detail::kOutboxCalls) {
    std::vector<Item> batch = TakeBatch();
    if (batch.empty()) break;
    ++in_flight_;
    being_sent_ += batch.size();
    lock.unlock();
    std::vector<TaskHint> hints;
    for (const Item& item : batch) hints.push_back(item.hint);
    queue_->Send(std::move(hints), [weak = weak_from_this(),
                                    batch = std::move(batch)](const Status& status) mutable {
      if (const auto self = weak.lock()) self->OnSent(std::move(batch), status);
    });
    lock.lock();
  }
  pumping_ = false;
  if (!items_.empty() || being_sent_ > 0) return;
  std::vector<DoneStatus> flushes = std::exchange(flushes_, {});
  lock.unlock();
  FlushQueue(std::move(flushes));
}

MARATHON_INLINE void HintOutbox::Flush(DoneStatus done) {
  {
    const std::lock_guard lock(mutex_);
    flushes_.push_back(std::move(done));
  }
  Pump();
}

MARATHON_INLINE void HintOutbox::FlushQueue(std::vector<DoneStatus> flushes) {
  for (DoneStatus& flush : flushes) {
    Status given_up;
    {
      const std::lock_guard lock(mutex_);
      if (const uint64_t count = dropped_ - std::exchange(dropped_told_, dropped_); count > 0) {
        given_up = Unavailable(fmt::format("{} hints were dropped, since the queue did not take them in time", count));
      }
    }
    queue_->Flush([given_up = std::move(given_up), flush = std::move(flush)](Status status) mutable {
      flush(given_up.ok() ? std::move(status) : std::move(given_up));
    });
  }
}

// The oldest that are worth sending.
MARATHON_INLINE auto HintOutbox::TakeBatch() -> std::vector<Item> {
  const int64_t patience =
      std::chrono::duration_cast<std::chrono::microseconds>(limits::kOutboxPatience).count();
  const int64_t oldest = runtime_.MonotonicMicros() - patience;
  std::vector<Item> batch;
  while (!items_.empty() && batch.size() < detail::kOutboxBatch) {
    if (items_.front().since < oldest) {
      ++dropped_;
    } else {
      batch.push_back(std::move(items_.front()));
    }
    items_.pop_front();
  }
  return batch;
}

// After a failure everything rests, each time twice as long: 20 ms to 5 s, with jitter.
MARATHON_INLINE void HintOutbox::OnSent(std::vector<Item> batch, const Status& status) {
  int64_t rest_ms = 0;
  {
    const std::lock_guard lock(mutex_);
    --in_flight_;
    being_sent_ -= batch.size();
    if (status.ok()) {
      failures_ = 0;
    } else {
      items_.insert(items_.begin(), std::make_move_iterator(batch.begin()),
                    std::make_move_iterator(batch.end()));
      if (!std::exchange(resting_, true)) {
        rest_ms = std::min<int64_t>(int64_t{20} << std::min(failures_++, 8), 5'000);
      }
    }
  }
  if (rest_ms > 0) {
    const auto jitter = static_cast<int64_t>(runtime_.Random() % static_cast<uint64_t>(rest_ms));
    runtime_.SetAlarm(Duration(rest_ms / 2 + jitter / 2), [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      {
        const std::lock_guard lock(self->mutex_);
        self->resting_ = false;
      }
      self->Pump();
    });
  }
  Pump();
}

}  // namespace marathon::inline MARATHON_ABI
