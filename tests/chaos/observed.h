// What a worker of a chaos run puts between its engine and its ports: a store that writes down what
// it was told is done, and a queue that loses and doubles hints when the supervisor asks for it.
//
// Safe from any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "shared.h"
#include "marathon/backend.h"
#include "marathon/testing/forwarding_state_store.h"
#include "marathon/testing/forwarding_task_queue.h"

namespace marathon::chaos {

// Writes into the ledger of effects, for each answer that arrives:
//   committed RUN VERSION COMMIT      a turn
//   resolved RUN/ACTIVITY EPOCH       the end of an activity, by its attempt or handed over in a
//   turn
class ObservedStore final : public testing::ForwardingStateStore {
 public:
  ObservedStore(std::shared_ptr<StateStore> base, Ledger* effects)
      : ForwardingStateStore(std::move(base)), effects_(effects) {}

  void Commit(TurnCommit commit, Done<CommitReply> done) override;
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override;
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override;

  // When the claim was sent that this process has last won of `key`; 0: it came with a turn.
  int64_t ClaimedAt(const ActivityKey& key);

 private:
  Ledger* const effects_;
  std::mutex mutex_;
  std::map<ActivityKey, int64_t> claimed_;
};

class LossyQueue final : public testing::ForwardingTaskQueue {
 public:
  LossyQueue(std::shared_ptr<TaskQueue> base, Shared* shared)
      : ForwardingTaskQueue(std::move(base)), state_(std::make_shared<State>(shared)) {}

  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override;

 private:
  struct State {
    explicit State(Shared* given) : shared(given) {}
    Shared* const shared;
    std::mutex mutex;
    std::vector<Delivery>
        copies;  // of hints that were delivered; the next receiver gets them again
  };

  std::shared_ptr<State> state_;
};

// The same backends, with what they open wrapped. `store`: set when one has been opened.
std::vector<Backend> Observed(std::vector<Backend> backends, Ledger* effects, Shared* shared,
                              std::shared_ptr<ObservedStore>* store);

}  // namespace marathon::chaos
