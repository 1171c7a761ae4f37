// A store of another kind whose hints go through SQS, for the suites: a server of the program's own, queues
// of each harness's own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
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

// Knows what has gone out and not come in, so that a test can wait for it.
class WatchedTaskQueue final : public ForwardingTaskQueue {
 public:
  explicit WatchedTaskQueue(std::shared_ptr<TaskQueue> base)
      : ForwardingTaskQueue(std::move(base)), state_(std::make_shared<State>()) {}

  void Send(std::vector<TaskHint> hints, DoneStatus done) override {
    state_->Change([&](State& state) {
      for (const TaskHint& hint : hints) {
        // What is for a session here goes to it at once, or waits for it.
        if (!state.here.contains(hint.preferred)) state.under_way.push_back(hint);
      }
    });
    base()->Send(std::move(hints), std::move(done));
  }
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override {
    state_->Change([&](State& state) {
      state.here.insert(request.session);
      for (const std::string& task_queue : request.task_queues) ++state.parked[{request.kind, task_queue}];
    });
    base()->Receive(request, [state = state_, request, done = std::move(done)](
                                 StatusOr<std::vector<Delivery>> result) mutable {
      const std::vector<Delivery> deliveries = result.value_or(std::vector<Delivery>());
      done(std::move(result));  // first: whoever waits for it, then finds it
      state->Change([&](State& changed) {
        for (const Delivery& delivery : deliveries) {
          const auto found = std::ranges::find(changed.under_way, delivery.hint);
          if (found != changed.under_way.end()) changed.under_way.erase(found);
        }
        for (const std::string& task_queue : request.task_queues) --changed.parked[{request.kind, task_queue}];
      });
    });
  }
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override {
    state_->Change([&](State& state) {
      for (const Delivery& delivery : deliveries) state.under_way.push_back(delivery.hint);
    });
    base()->Nack(std::move(deliveries), std::move(done));
  }
  void StopReceiving(const SessionId& session) override {
    state_->Change([&](State& state) { state.here.erase(session); });
    base()->StopReceiving(session);
  }

  // Until nobody waits where something is under way. A poll that was cut off may have taken that along: it is given up
  // after a while, until something changes.
  void WaitForHints() {
    std::unique_lock lock(state_->mutex);
    if (state_->given_up == state_->changes) return;
    const auto arrived = [this] {
      return std::ranges::none_of(state_->under_way, [this](const TaskHint& hint) {
        return state_->parked[{hint.kind, hint.task_queue}] > 0;
      });
    };
    if (!state_->changed.wait_for(lock, std::chrono::seconds(5), arrived)) state_->given_up = state_->changes;
  }

 private:
  struct State {
    template <class Fn>
    void Change(Fn&& change) {
      const std::lock_guard lock(mutex);
      change(*this);
      ++changes;
      changed.notify_all();
    }
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<TaskHint> under_way;
    std::map<std::pair<TaskKind, std::string>, int> parked;  // receivers, by where
    std::set<SessionId> here;                                // that receive
    int64_t changes = 0, given_up = -1;
  };
  const std::shared_ptr<State> state_;
};

// `Base` is the harness of the store.
template <class Base, class SqsServer = tests::SqsServer>
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
    sqs_->Flush([&](const Status&) { done.set_value(); });
    done.get_future().get();
    queue_->WaitForHints();
  }
  bool HintsWaitForTheirSession() override { return false; }
  bool HintsComeInOrder() override { return false; }
  bool SessionsEndWithTheStore() override { return base_.SessionsEndWithTheStore(); }
  bool ForgetsByItsClock() override { return base_.ForgetsByItsClock(); }
  std::optional<int64_t> DueVisited() override { return base_.DueVisited(); }
  bool Reopen() override { return Rejoin([this] { return base_.Reopen(); }); }
  bool KeepClosed(Duration keep, int64_t bytes) override {
    return Rejoin([&] { return base_.KeepClosed(keep, bytes); });
  }

 private:
  static SqsServer& Server() {
    static SqsServer server;
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
    options.access_key_id = SqsServer::kKeyId;
    options.secret_access_key = SqsServer::kSecret;
    if (sqs_ == nullptr) {
      BackendUrl url{.scheme = "sqs", .host = SqsServer::kRegion};
      url.path = std::string(SqsServer::kAccount) + "/test" + std::to_string(++count);
      url.parameters = {{"create", "true"}, {"endpoint", Server().endpoint()}};
      auto opened = SqsBackend(options).open(url, runtime_);
      ASSERT_TRUE(opened.ok()) << opened.status();
      sqs_ = opened->queue;
      queue_ = std::make_shared<WatchedTaskQueue>(sqs_);
    }
    auto joined = JoinPorts(base_.ports().store, queue_, runtime_);
    ASSERT_TRUE(joined.ok()) << joined.status();
    ports_ = *std::move(joined);
  }

  ThreadRuntime runtime_{1, 1};  // the queue's; the store's clock is that of its harness
  Base base_;
  std::shared_ptr<TaskQueue> sqs_;
  std::shared_ptr<WatchedTaskQueue> queue_;
  Ports ports_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
