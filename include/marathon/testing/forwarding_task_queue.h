// ForwardingTaskQueue passes every call on to another queue: derive from it and override the one call
// that a test wants to watch, count or break.
//
// As thread-safe as its base.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/task_queue.h"

namespace marathon::inline MARATHON_ABI::testing {

class ForwardingTaskQueue : public TaskQueue {
 public:
  explicit ForwardingTaskQueue(std::shared_ptr<TaskQueue> base) : base_(std::move(base)) {}

  std::string_view domain() const override { return base_->domain(); }
  void Send(std::vector<TaskHint> hints, DoneStatus done) override {
    base_->Send(std::move(hints), std::move(done));
  }
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override {
    base_->Receive(std::move(request), std::move(done));
  }
  void Ack(std::vector<std::string> receipts, DoneStatus done) override {
    base_->Ack(std::move(receipts), std::move(done));
  }
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override {
    base_->Nack(std::move(deliveries), std::move(done));
  }
  void StopReceiving(const SessionId& session) override { base_->StopReceiving(session); }
  void Flush(DoneStatus done) override { base_->Flush(std::move(done)); }

 protected:
  const std::shared_ptr<TaskQueue>& base() const { return base_; }

 private:
  std::shared_ptr<TaskQueue> base_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
