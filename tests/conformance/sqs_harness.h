// A store of another kind whose hints go through SQS, for the suites: a server of the program's own, queues
// of each harness's own.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../sqs_server.h"
#include "marathon/adapters/sqs.h"
#include "marathon/backend.h"
#include "marathon/config.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/store/open_ports.h"
#include "marathon/testing/forwarding_task_queue.h"
#include "marathon/testing/store_harness.h"

namespace marathon::inline MARATHON_ABI::testing {

// Counts what goes out and what comes in, so that a test can wait for it.
class CountingTaskQueue final : public ForwardingTaskQueue {
 public:
  explicit CountingTaskQueue(std::shared_ptr<TaskQueue> base)
      : ForwardingTaskQueue(std::move(base)), state_(std::make_shared<State>()) {}

  void Send(std::vector<TaskHint> hints, DoneStatus done) override {
    state_->Change(static_cast<int64_t>(hints.size()), 0);
    base()->Send(std::move(hints), std::move(done));
  }
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override {
    state_->Change(0, 1);
    base()->Receive(std::move(request), [state = state_, done = std::move(done)](
                                            StatusOr<std::vector<Delivery>> result) mutable {
      const auto count = result.ok() ? static_cast<int64_t>(result->size()) : 0;
      done(std::move(result));
      state->Change(-count, -1);
    });
  }
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override {
    state_->Change(static_cast<int64_t>(deliveries.size()), 0);
    base()->Nack(std::move(deliveries), std::move(done));
  }

  // While something is under way and somebody waits for something: until something changes, or a moment.
  void WaitABit() {
    std::unique_lock lock(state_->mutex);
    const int64_t before = state_->changes;
    if (state_->under_way <= 0 || state_->receivers == 0) return;
    state_->changed.wait_for(lock, std::chrono::milliseconds(30),
                             [&] { return state_->changes != before; });
  }

 private:
  struct State {
    void Change(int64_t hints, int64_t parked) {
      const std::lock_guard lock(mutex);
      under_way += hints;
      receivers += parked;
      ++changes;
      changed.notify_all();
    }
    std::mutex mutex;
    std::condition_variable changed;
    int64_t under_way = 0, receivers = 0, changes = 0;
  };
  const std::shared_ptr<State> state_;
};

// `Base` is the harness of the store.
template <class Base>
class SqsHarness final : public StoreHarness {
 public:
  SqsHarness() { Join(); }
  ~SqsHarness() override {
    ports_ = Ports();
    queue_.reset();
    sqs_.reset();
    runtime_.Stop();
  }

  Ports& ports() override { return ports_; }
  void Advance(std::chrono::microseconds by) override { base_.Advance(by); }
  void Pump() override {
    base_.Pump();
    std::promise<void> done;
    SqsSync(*sqs_, [&](const Status&) { done.set_value(); });
    done.get_future().get();
    queue_->WaitABit();
  }
  bool HintsWaitForTheirSession() override { return false; }
  bool SessionsEndWithTheStore() override { return base_.SessionsEndWithTheStore(); }
  std::optional<int64_t> DueVisited() override { return base_.DueVisited(); }
  bool Reopen() override { return Rejoin([this] { return base_.Reopen(); }); }
  bool KeepClosed(Duration keep, int64_t bytes) override {
    return Rejoin([&] { return base_.KeepClosed(keep, bytes); });
  }

 private:
  static tests::SqsServer& Server() {
    static tests::SqsServer server;
    return server;
  }

  template <class Open>
  bool Rejoin(Open open) {
    ports_ = Ports();
    if (!open()) return false;
    Join();
    return true;
  }
  void Join() {
    static std::atomic<int> count{0};
    SqsOptions options;
    options.access_key_id = tests::SqsServer::kKeyId;
    options.secret_access_key = tests::SqsServer::kSecret;
    if (sqs_ == nullptr) {
      BackendUrl url{.scheme = "sqs", .host = tests::SqsServer::kRegion};
      url.path = std::string(tests::SqsServer::kAccount) + "/test" + std::to_string(++count);
      url.parameters = {{"create", "true"}, {"endpoint", Server().endpoint()}};
      auto opened = SqsBackend(options).open(url, runtime_);
      ASSERT_TRUE(opened.ok()) << opened.status();
      sqs_ = opened->queue;
      queue_ = std::make_shared<CountingTaskQueue>(sqs_);
    }
    auto joined = JoinPorts(base_.ports().store, queue_, runtime_);
    ASSERT_TRUE(joined.ok()) << joined.status();
    ports_ = *std::move(joined);
  }

  ThreadRuntime runtime_{1, 1};  // the queue's; the store's clock is that of its harness
  Base base_;
  std::shared_ptr<TaskQueue> sqs_;
  std::shared_ptr<CountingTaskQueue> queue_;
  Ports ports_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
