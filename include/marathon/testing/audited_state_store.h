// AuditedStateStore tells Invariants of every write that its base applied. It stands before the shared
// store, behind the faults, so that it sees what really happened and not what callers were told; and it sees to it
// that whoever awaits an update is told by the write that answers it.
//
// The base answers before its calls return, as the memory store does.
//
// As thread-safe as Invariants: not.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/engine/sealing_store.h"
#include "marathon/testing/forwarding_state_store.h"
#include "marathon/testing/invariants.h"

namespace marathon::inline MARATHON_ABI::testing {

class AuditedStateStore final : public ForwardingStateStore {
 public:
  // `invariants` must outlive it. With a `sealer`, every payload is to come sealed, by one of its codecs.
  AuditedStateStore(std::shared_ptr<StateStore> base, Invariants& invariants,
                    std::shared_ptr<PayloadSealer> sealer = std::make_shared<PayloadSealer>())
      : ForwardingStateStore(std::move(base)), invariants_(invariants), sealer_(std::move(sealer)) {}

  void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) override;
  void RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) override;
  void CloseSession(SessionId session, DoneStatus done) override;
  void ExpireSession(SessionId session, DoneStatus done) override;
  void Start(StartRequest request, Done<StartReply> done) override;
  void Put(PutRequest request, Done<PutReply> done) override;
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override;
  void Commit(TurnCommit commit, Done<CommitReply> done) override;
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override;
  void CancelAwait(uint64_t name) override;
  void Pause(RunKey run, std::string reason, DoneStatus done) override;
  void Resume(RunKey run, DoneStatus done) override;
  void Pin(RunKey run, std::string build_id, DoneStatus done) override;
  void Delete(RunKey run, DoneStatus done) override;
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override;
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override;

 private:
  // Invariants speak of payloads as the code gave them, and not of how and where they are kept.
  template <class T>
  void Open(const RunKey& run, T& value);
  void Open(const RunKey& run, std::vector<Message>& messages);
  void Open(TurnCommit& commit);
  void CheckTold(const RunKey& run, const std::vector<UpdateAnswer>& answers);

  Invariants& invariants_;
  const std::shared_ptr<PayloadSealer> sealer_;
  std::map<uint64_t, AwaitRequest> awaiting_;  // an update
  std::map<uint64_t, uint64_t> awaiters_;      // by the base's names
  uint64_t last_awaiter_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/audited_state_store-inl.h"
#endif
