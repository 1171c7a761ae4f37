// FaultyTaskQueue stands between one simulated worker and the queue it shares with others: hints that
// it receives, or sends, get lost, doubled, late and out of order.
//
// Not safe from several threads: the world has one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/testing/fault_rates.h"
#include "marathon/testing/forwarding_task_queue.h"
#include "marathon/testing/sim_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

class FaultyTaskQueue final : public ForwardingTaskQueue {
 public:
  // `counts` outlives the world's run.
  FaultyTaskQueue(std::shared_ptr<TaskQueue> base, SimRuntime& caller, const FaultRates& rates,
                  FaultCounts* counts);
  ~FaultyTaskQueue() override;

  void SetRates(const FaultRates& rates);
  // The queue notices that the caller is gone: what it gives from now on goes to others.
  void Disconnect();

  void Send(std::vector<TaskHint> hints, DoneStatus done) override;
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override;
  void Ack(std::vector<std::string> receipts, DoneStatus done) override;
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override;
  void StopReceiving(const SessionId& session) override;

 private:
  class Link;  // outlives this object for as long as hints are on their way

  // Tells the queue, and the caller that it has been told, each in a while.
  void Tell(Callback<void(TaskQueue&)> what, DoneStatus done);

  std::shared_ptr<Link> link_;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/faulty_task_queue-inl.h"
#endif
