#pragma once

#include "marathon/engine/payload_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "marathon/detail/block_pool.h"
#include "marathon/event_codec.h"
#include "marathon/store/payload_refs.h"
#include "marathon/store/protocol_rules.h"

namespace marathon::inline MARATHON_ABI {
namespace detail {

// Puts bytes where their names stand, in whatever has payloads.
using BytesByDigest = std::unordered_map<std::string_view, const std::string*>;

inline void Fill(Payload& payload, const BytesByDigest& bytes) {
  if (payload.encoding != Encoding::kBlob) return;
  const StatusOr<PayloadRef> ref = RefOf(payload);
  if (!ref.ok()) return;
  if (const auto found = bytes.find(ref->blob.sha256); found != bytes.end()) {
    payload = {*found->second, ref->encoding};
  }
}

inline void FillRecord(std::string& bytes, Record&& record, const BytesByDigest& blobs) {
  for (Event& event : record.events) {
    ForEachPayload(event.body, [&](Payload& payload) { Fill(payload, blobs); });
  }
  bytes = EncodeRecord(record.commit_id, record.events);
}

// One snapshot whose payloads are read.
class SnapshotFill : public std::enable_shared_from_this<SnapshotFill> {
 public:
  SnapshotFill(std::shared_ptr<StateStore> store, RunSnapshot snapshot, Done<RunSnapshot> done)
      : store_(std::move(store)), snapshot_(std::move(snapshot)), done_(std::move(done)) {}

  void Run() {
    if (Status status = FindRefs(); !status.ok()) return done_(std::move(status));
    if (refs_.empty()) return FillInputs();
    store_->ReadBlobs(snapshot_.row.key.workflow_id, refs_,
                      [self = shared_from_this()](StatusOr<std::vector<std::string>> bytes) {
                        self->OnRead(std::move(bytes));
                      });
  }

 private:
  // A record that cannot be read is left to the engine, which says so. So is one that names nothing.
  Status FindRefs() {
    for (size_t i = 0; i < snapshot_.records.size(); ++i) {
      StatusOr<Record> record = DecodeRecord(snapshot_.records[i]);
      if (!record.ok()) continue;
      bool names = false;
      Status status;
      for (const Event& event : record->events) {
        ForEachPayload(event.body, [&](const Payload& payload) {
          if (payload.encoding != Encoding::kBlob) return;
          names = true;
          StatusOr<PayloadRef> ref = RefOf(payload);
          if (!ref.ok()) {
            status = DataLoss(fmt::format("event {} of {}: {}", event.id, Name(snapshot_.row.key), MessageOf(ref.status())));
          } else if (seen_.insert(ref->blob.sha256).second) {
            refs_.push_back(std::move(ref->blob));
          }
        });
      }
      if (!status.ok()) return status;
      if (names) records_.emplace_back(i, *std::move(record));
    }
    return {};
  }

  void OnRead(StatusOr<std::vector<std::string>> bytes) {
    if (!bytes.ok()) return OnMissing(bytes.status());
    BytesByDigest blobs;
    for (size_t i = 0; i < refs_.size(); ++i) blobs[refs_[i].sha256] = &(*bytes)[i];
    for (auto& [place, record] : records_) FillRecord(snapshot_.records[place], std::move(record), blobs);
    FillInputs();
  }

  // A run that has been forgotten meanwhile took its blobs along, and so did one whose store has lost its last writes.
  void OnMissing(Status status) {
    if (IsTransient(status)) return done_(std::move(status));
    store_->Read({.run = snapshot_.row.key}, [self = shared_from_this(), status = std::move(status)](
                                                 const StatusOr<RunSnapshot>& now) {
      if (!now.ok()) return self->done_(now.status());
      const RunRow& row = self->snapshot_.row;
      if (now->row.version != row.version || now->row.commit_id != row.commit_id) {
        return self->done_(Unavailable(fmt::format("{} has changed while it was read", Name(row.key))));
      }
      self->done_(DataLoss(fmt::format("a payload of {} is not to be had: {}", Name(row.key), MessageOf(status))));
    });
  }

  // Where one is not to be had, all stay names: whoever needs one of them reads it by itself.
  void FillInputs() {
    refs_.clear();
    for (const ActivityRow& row : snapshot_.activities) {
      const bool names = row.input.encoding == Encoding::kBlob;
      const StatusOr<PayloadRef> ref = names ? RefOf(row.input) : PayloadRef();
      if (names && ref.ok() && std::ranges::find(refs_, ref->blob) == refs_.end()) refs_.push_back(ref->blob);
    }
    if (refs_.empty()) return done_(std::move(snapshot_));
    store_->ReadBlobs(snapshot_.row.key.workflow_id, refs_,
                      [self = shared_from_this()](const StatusOr<std::vector<std::string>>& bytes) {
                        if (!bytes.ok() && IsTransient(bytes.status())) return self->done_(bytes.status());
                        BytesByDigest blobs;
                        for (size_t i = 0; bytes.ok() && i < self->refs_.size(); ++i) {
                          blobs[self->refs_[i].sha256] = &(*bytes)[i];
                        }
                        for (ActivityRow& row : self->snapshot_.activities) Fill(row.input, blobs);
                        self->done_(std::move(self->snapshot_));
                      });
  }

  const std::shared_ptr<StateStore> store_;
  RunSnapshot snapshot_;
  Done<RunSnapshot> done_;
  std::unordered_set<std::string> seen_;  // digests
  std::vector<BlobRef> refs_;
  std::vector<std::pair<size_t, Record>> records_;  // those that name blobs, with their places
};

// `done`, with payloads in their places. Weak: the store itself keeps what waits for the end of a run, perhaps for ever.
inline Done<RunSnapshot> Filled(std::weak_ptr<StateStore> weak, Done<RunSnapshot> done) {
  return [weak = std::move(weak), done = std::move(done)](StatusOr<RunSnapshot>&& read) mutable {
    const bool empty = !read.ok() || (read->records.empty() && read->activities.empty());
    if (empty || !read->row.has_blobs) return done(std::move(read));
    auto store = weak.lock();
    if (store == nullptr) return done(Unavailable("the store has been closed"));
    std::allocate_shared<SnapshotFill>(PoolAllocator<SnapshotFill>(), std::move(store), *std::move(read), std::move(done))
        ->Run();
  };
}

}  // namespace detail

// ---- Writing ---------------------------------------------------------------------------------------

MARATHON_INLINE void MovePayloadsOut(TurnCommit& commit, size_t inline_bytes) {
  const auto move_out = [&](Payload& payload) {
    if (payload.data.size() <= inline_bytes || payload.encoding == Encoding::kBlob) return;
    // What is there already needs no digest: an activity's input is in the record, too.
    auto blob = std::ranges::find(commit.blobs, payload.data, &NamedBlob::bytes);
    const Encoding encoding = payload.encoding;
    if (blob == commit.blobs.end()) {
      const BlobRef ref{detail::Sha256Hex(payload.data), payload.data.size()};
      blob = commit.blobs.insert(commit.blobs.end(), {ref, std::move(payload.data)});
    }
    payload = detail::ToPayload({blob->ref, encoding});
  };
  if (commit.record.size() > inline_bytes) {
    StatusOr<Record> record = DecodeRecord(commit.record);
    if (!record.ok()) return;
    for (Event& event : record->events) detail::ForEachPayload(event.body, move_out);
    if (!commit.blobs.empty()) {
      if (commit.history_bytes == 0) commit.history_bytes = static_cast<int64_t>(commit.record.size());
      commit.record = EncodeRecord(record->commit_id, record->events);
    }
  }
  for (NewActivity& activity : commit.activities) move_out(activity.input);
}

MARATHON_INLINE void MovePayloadsBack(TurnCommit& commit) {
  detail::BytesByDigest blobs;
  for (const NamedBlob& blob : commit.blobs) blobs[blob.ref.sha256] = &blob.bytes;
  if (StatusOr<Record> record = DecodeRecord(commit.record); record.ok()) {
    detail::FillRecord(commit.record, *std::move(record), blobs);
  }
  for (NewActivity& activity : commit.activities) detail::Fill(activity.input, blobs);
  commit.blobs.clear();
  commit.history_bytes = 0;
}

MARATHON_INLINE void PayloadStore::Start(StartRequest request, Done<StartReply> done) {
  if (request.first_turn) MovePayloadsOut(*request.first_turn, inline_bytes_);
  base()->Start(std::move(request), std::move(done));
}

MARATHON_INLINE void PayloadStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  MovePayloadsOut(commit, inline_bytes_);
  base()->Commit(std::move(commit), std::move(done));
}

// ---- Reading ---------------------------------------------------------------------------------------

MARATHON_INLINE void PayloadStore::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  base()->TakeTurn(std::move(request), detail::Filled(base(), std::move(done)));
}

MARATHON_INLINE void PayloadStore::Read(ReadRequest request, Done<RunSnapshot> done) {
  const bool whole = !request.records && !request.activities;
  base()->Read(std::move(request), whole ? std::move(done) : detail::Filled(base(), std::move(done)));
}

MARATHON_INLINE uint64_t PayloadStore::Await(AwaitRequest request, Done<RunSnapshot> done) {
  return base()->Await(std::move(request), detail::Filled(base(), std::move(done)));
}

MARATHON_INLINE void ReadPayload(StateStore& store, const RunKey& run, Payload payload, Done<Payload> done) {
  if (payload.encoding != Encoding::kBlob) return done(std::move(payload));
  StatusOr<detail::PayloadRef> ref = detail::RefOf(payload);
  if (!ref.ok()) return done(ref.status());
  store.ReadBlobs(run.workflow_id, {ref->blob},
                  [encoding = ref->encoding, done = std::move(done)](StatusOr<std::vector<std::string>> bytes) mutable {
                    if (!bytes.ok() && IsTransient(bytes.status())) return done(bytes.status());
                    if (!bytes.ok()) return done(DataLoss(MessageOf(bytes.status())));
                    done(Payload{std::move(bytes->front()), encoding});
                  });
}

}  // namespace marathon::inline MARATHON_ABI
