// FaultyStateStore stands between one simulated worker and the store it shares with others. Each call
// is two entries of the world's heap, the way there and the way back, and may fail as FaultRates say or
// as FailCall() orders. When the worker is killed, nothing comes back to it any more; a request that was
// on its way still arrives in half of the cases, as bytes in a socket do.
//
// Not safe from several threads: the world has one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/testing/fault_rates.h"
#include "marathon/testing/forwarding_state_store.h"
#include "marathon/testing/sim_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

// What becomes of one call.
enum class CallFault : uint8_t {
  kNone,
  kUnavailable,   // kUnavailable; nothing happened
  kUnknownNotDone,  // kUnknown; nothing happened
  kUnknownDone,   // kUnknown; it happened
  kUnknownLate,   // kUnknown; it happens afterwards
  kRepeated,      // it happens, and afterwards it arrives once more; the caller sees the first answer
  kCrashBefore,   // the caller dies; nothing happened
  kCrashAfter,    // it happens; the caller dies without hearing of it
};

class FaultyStateStore final : public ForwardingStateStore {
 public:
  struct Options {
    FaultRates rates;
    FaultCounts* counts = nullptr;    // outlives the world's run; required
    std::function<void()> on_crash;   // kills the caller, from an entry of the world's own
    // Counts how often the store's server died; what was under way to it dies, too. Null: never.
    const uint64_t* server_deaths = nullptr;
  };

  FaultyStateStore(std::shared_ptr<StateStore> base, SimRuntime& caller, Options options);
  ~FaultyStateStore() override;

  // From now on (the end of a simulation's faulty phase, say).
  void SetRates(const FaultRates& rates);
  const FaultRates& rates() const;

  // Systematic testing: the `nth` call from now, counted from 1, meets `fault`, and, if `for_ever`, all
  // later ones too. A reading call that cannot be ambiguous is answered with kUnavailable.
  void FailCall(uint64_t nth, CallFault fault, bool for_ever = false);
  // Calls so far.
  uint64_t calls() const;

  void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) override;
  void RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) override;
  void CloseSession(SessionId session, DoneStatus done) override;
  void ExpireSession(SessionId session, DoneStatus done) override;
  void Start(StartRequest request, Done<StartReply> done) override;
  void Put(PutRequest request, Done<PutReply> done) override;
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override;
  void Commit(TurnCommit commit, Done<CommitReply> done) override;
  void Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) override;
  void Unblock(RunKey run, DoneStatus done) override;
  void Pause(RunKey run, std::string reason, DoneStatus done) override;
  void Resume(RunKey run, DoneStatus done) override;
  void Pin(RunKey run, std::string build_id, DoneStatus done) override;
  void RetryActivity(ActivityKey key, DoneStatus done) override;
  void Delete(RunKey run, DoneStatus done) override;
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override;
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override;
  void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) override;
  void PollDue(DueRequest request, Done<DueReply> done) override;
  void ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override;
  void Read(ReadRequest request, Done<RunSnapshot> done) override;
  void List(ListRequest request, Done<ListReply> done) override;
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override;
  void CancelAwait(uint64_t name) override;

 private:
  class Link;  // outlives this object for as long as calls are on their way

  std::shared_ptr<Link> link_;
};

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/faulty_state_store-inl.h"
#endif
