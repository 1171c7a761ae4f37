// PayloadStore: the store as an engine sees it, in which every payload is where it belongs. Behind it, those that are
// large are blobs beside the histories and rows that name them.
//
// Only what stays is moved out: a run's history, and the inputs of its pending activities, which are the same bytes. What
// is on its way stays whole: messages in an inbox, until the turn that takes them; details of heartbeats and of the last
// failure, which the next ones replace; answers to updates. Inputs of activities come as they are stored, and are
// read when an attempt begins (ActivityRunner).
//
// As thread-safe as its base.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/store/forwarding_state_store.h"

namespace marathon::inline MARATHON_ABI {

class PayloadStore final : public ForwardingStateStore {
 public:
  // REQUIRES: base->keeps_blobs(). Payloads of more than `inline_bytes` are moved out.
  PayloadStore(std::shared_ptr<StateStore> base, size_t inline_bytes)
      : ForwardingStateStore(std::move(base)), inline_bytes_(inline_bytes) {}

  void Start(StartRequest request, Done<StartReply> done) override;
  void Commit(TurnCommit commit, Done<CommitReply> done) override;
  // Their records are whole. kDataLoss: a blob is damaged, or not there, and the message says which; an activity's input
  // of which that is so stays a name.
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override;
  void Read(ReadRequest request, Done<RunSnapshot> done) override;
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override;

 private:
  const size_t inline_bytes_;
};

// The two halves of what it does with a commit.
void MovePayloadsOut(TurnCommit& commit, size_t inline_bytes);
void MovePayloadsBack(TurnCommit& commit);  // from commit.blobs; what those do not have stays

// Reads a payload that is a blob of the run's; any other is answered at once. Errors as of PayloadStore::Read, and
// transient ones.
void ReadPayload(StateStore& store, const RunKey& run, Payload payload, Done<Payload> done);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine/payload_store-inl.h"
#endif
