// SealingStore: the store as an engine sees it that has payload codecs. What goes to the store behind it is sealed, and
// what comes from there is opened; so replays, exports, forks and all that compares histories see what the code said.
//
// It stands before PayloadStore: a large payload is sealed first, and its blob is of sealed bytes.
//
// As thread-safe as its base.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/payload.h"
#include "marathon/payload_codec.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/store/forwarding_state_store.h"
#include "marathon/store/payload_refs.h"

namespace marathon::inline MARATHON_ABI {

// The codecs of an engine. Thread-safe, as they are.
class PayloadSealer {
 public:
  using Codecs = std::vector<std::shared_ptr<PayloadCodec>>;
  PayloadSealer() = default;
  explicit PayloadSealer(Codecs codecs) : codecs_(std::move(codecs)) {}  // REQUIRES: they are fit for EngineOptions
  bool has_codecs() const { return !codecs_.empty(); }

  // Seals with the first codec; without one, and if there is nothing to seal or it is sealed or a blob's name, nothing
  // happens. kUnavailable, kFailedPrecondition: the codec does not, now or at all, and says why.
  Status Seal(Payload& payload, std::string_view workflow_id) const;
  // Opens what is sealed; any other payload stays as it is, and so does one that cannot be opened. kUnavailable: not
  // now; kFailedPrecondition: its codec is not here; kDataLoss: its codec does not open it, or nothing would.
  Status Open(Payload& payload, std::string_view workflow_id) const;

  // OK if no payload of `value`, an event's body or a stored struct, is sealed; or why Open does not open the first.
  template <class T>
  Status CheckOpen(const T& value, std::string_view workflow_id) const;
  // The same of a history. `message` names the event, and `event_id`, if it is not null, is set to its id.
  Status CheckHistory(const History& history, std::string_view workflow_id, EventId* event_id = nullptr) const;

 private:
  Codecs codecs_;
};

class SealingStore final : public ForwardingStateStore {
 public:
  SealingStore(std::shared_ptr<StateStore> base, std::shared_ptr<const PayloadSealer> sealer)
      : ForwardingStateStore(std::move(base)), sealer_(std::move(sealer)) {}

  // Nothing is written if something cannot be sealed: kUnavailable; of a commit, if its codec never will, kDataLoss.
  void Start(StartRequest request, Done<StartReply> done) override;
  void Put(PutRequest request, Done<PutReply> done) override;
  void Commit(TurnCommit commit, Done<CommitReply> done) override;
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override;
  void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) override;

  // What cannot be opened stays sealed: whoever needs a value asks PayloadSealer why. kUnavailable: not now.
  // Activities that are claimed, or have fallen due, come as they are stored: who runs them opens what they read.
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override;
  void Read(ReadRequest request, Done<RunSnapshot> done) override;
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override;

 private:
  const std::shared_ptr<const PayloadSealer> sealer_;
};

// The two halves of what it does with a commit, and what it does with a snapshot. Errors as of PayloadSealer; what
// cannot be opened for good is no error.
Status SealPayloads(const PayloadSealer& sealer, TurnCommit& commit);
Status OpenPayloads(const PayloadSealer& sealer, TurnCommit& commit);
Status OpenPayloads(const PayloadSealer& sealer, RunSnapshot& snapshot);

template <class T>
Status PayloadSealer::CheckOpen(const T& value, std::string_view workflow_id) const {
  Status status;
  detail::ForEachPayload(value, [&](const Payload& payload) {
    if (!status.ok() || payload.encoding != Encoding::kSealed) return;
    Payload copy = payload;
    status = Open(copy, workflow_id);
    if (status.ok()) status = Unavailable("it could not be opened when it was read, and can by now");
  });
  return status;
}

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine/sealing_store-inl.h"
#endif
