// HintOutbox stands between a store and a queue of another domain: it takes the store's hints at once, sends
// them a few at a time, and tries again when the queue is away or wants less of them. It keeps no more than
// limits::kOutboxHints, none for longer than limits::kOutboxPatience, and nothing beyond its process: a hint
// that it drops is one that the store publishes again.
//
// Safe to call from any thread; calls nobody while it holds its lock.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/status.h"
#include "marathon/task_queue.h"

namespace marathon::inline MARATHON_ABI {

class HintOutbox final : public TaskQueue, public std::enable_shared_from_this<HintOutbox> {
 public:
  // `runtime` outlives what is sent.
  static std::shared_ptr<HintOutbox> Create(std::shared_ptr<TaskQueue> queue, Runtime& runtime);

  std::string_view domain() const override { return queue_->domain(); }

  // Answers OK at once: the hints are taken, which is all that hints need.
  void Send(std::vector<TaskHint> hints, DoneStatus done) override;

  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override {
    queue_->Receive(std::move(request), std::move(done));
  }
  void Ack(std::vector<std::string> receipts, DoneStatus done) override {
    queue_->Ack(std::move(receipts), std::move(done));
  }
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override {
    queue_->Nack(std::move(deliveries), std::move(done));
  }
  void StopReceiving(const SessionId& session) override { queue_->StopReceiving(session); }
  // First of what waits here, then of the queue behind it. kUnavailable: hints were dropped since the last time.
  void Flush(DoneStatus done) override;

  // How many wait to be sent, or to be answered; and how many were ever dropped.
  size_t waiting() const;
  uint64_t dropped() const;

 private:
  struct Item {
    TaskHint hint;
    int64_t since = 0;  // of the runtime's monotonic clock
  };

  HintOutbox(std::shared_ptr<TaskQueue> queue, Runtime& runtime)
      : queue_(std::move(queue)), runtime_(runtime) {}

  void Pump();
  std::vector<Item> TakeBatch();  // with mutex_ held
  void OnSent(std::vector<Item> batch, const Status& status);
  void FlushQueue(std::vector<DoneStatus> flushes);

  const std::shared_ptr<TaskQueue> queue_;
  Runtime& runtime_;

  mutable std::mutex mutex_;  // guards:
  std::deque<Item> items_;
  int in_flight_ = 0;       // calls of Send
  size_t being_sent_ = 0;   // their hints
  int failures_ = 0;        // in a row
  bool resting_ = false;    // until the alarm after a failure
  bool pumping_ = false;    // somebody is in Pump, and looks again before leaving it
  uint64_t dropped_ = 0;
  uint64_t dropped_told_ = 0;  // of them, by Flush
  std::vector<DoneStatus> flushes_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/store/hint_outbox-inl.h"
#endif
