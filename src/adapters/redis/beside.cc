#include "beside.h"

#include "gather.h"
#include "marathon/store/blob_rules.h"
#include "marathon/store/limit_rules.h"
#include "marathon/store/place_rules.h"
#include "marathon/store/stream_rules.h"

namespace marathon::inline MARATHON_ABI::detail {

void RedisBlobs::Put(std::vector<std::string> blobs, Done<std::vector<BlobRef>> done) {
  StatusOr<std::vector<BlobRef>> refs = NameBlobs(blobs);
  if (!refs.ok() || refs->empty()) return done(std::move(refs));
  auto all = [runtime = &store_->shared_.runtime, refs = *refs,
              done = std::move(done)](std::vector<Status> replies) mutable {
    runtime->Post(Lane::kTurn, [replies = std::move(replies), refs = std::move(refs), done = std::move(done)]() mutable {
      for (Status& reply : replies) {
        if (!reply.ok()) return done(std::move(reply));
      }
      done(std::move(refs));
    });
  };
  const Gather<Status> gather(blobs.size(), std::move(all));
  for (size_t i = 0; i < blobs.size(); ++i) {
    store_->Of((*refs)[i].sha256).PutBlob((*refs)[i], std::move(blobs[i]), gather.Place(i));
  }
}

// Bytes are compared with their names on the turn lane: that takes a while.
void RedisBlobs::Get(std::vector<BlobRef> refs, Done<std::vector<std::string>> done) {
  using Bytes = StatusOr<std::string>;
  if (Status status = CheckRefs(refs); !status.ok()) return done(std::move(status));
  if (refs.empty()) return done(std::vector<std::string>());
  auto all = [runtime = &store_->shared_.runtime, refs, done = std::move(done)](std::vector<Bytes> replies) mutable {
    runtime->Post(Lane::kTurn, [replies = std::move(replies), refs = std::move(refs), done = std::move(done)]() mutable {
      std::vector<std::string> blobs;
      for (size_t i = 0; i < refs.size(); ++i) {
        if (!replies[i].ok()) return done(replies[i].status());
        if (Status status = CheckBlob(refs[i], *replies[i]); !status.ok()) return done(std::move(status));
        blobs.push_back(*std::move(replies[i]));
      }
      done(std::move(blobs));
    });
  };
  const Gather<Bytes> gather(refs.size(), std::move(all));
  for (size_t i = 0; i < refs.size(); ++i) store_->Of(refs[i].sha256).GetBlob(refs[i], gather.Place(i));
}

void RedisStreams::Append(AppendFrames request, Done<uint64_t> done) {
  if (Status status = CheckAppend(request); !status.ok()) return done(std::move(status));
  RedisStore& store = store_->Of(request.stream);
  store.Append(std::move(request), std::move(done));
}

uint64_t RedisStreams::Read(ReadFrames request, Done<FramePage> done) {
  if (Status status = CheckStream(request.stream); !status.ok()) {
    done(std::move(status));
    return 0;
  }
  RedisStore& store = store_->Of(request.stream);
  const uint64_t name = store_->shared_.readers.Add(request, std::move(done));
  store.AnswerReader({name, std::move(request)});
  return name;
}

void RedisStreams::CancelRead(uint64_t name) { store_->shared_.readers.Take(name); }

void RedisStreams::Trim(std::string stream, uint64_t seq, DoneStatus done) {
  if (Status status = CheckStream(stream); !status.ok()) return done(std::move(status));
  RedisStore& store = store_->Of(stream);
  store.Trim(stream, seq, std::move(done));
}

void RedisLimiter::Acquire(AcquireLimit request, Done<Permit> done) {
  if (Status status = CheckAcquire(request); !status.ok()) return done(std::move(status));
  RedisStore& store = store_->Of(request.key);
  store.Acquire(std::move(request), std::move(done));
}

void RedisLimiter::Settle(SettleLimit request, DoneStatus done) {
  if (Status status = CheckSettle(request); !status.ok()) return done(std::move(status));
  RedisStore& store = store_->Of(request.key);
  store.Settle(std::move(request), std::move(done));
}

void RedisLimiter::Clear(std::string key, DoneStatus done) {
  if (Status status = CheckLimitKey(key); !status.ok()) return done(std::move(status));
  RedisStore& store = store_->Of(key);
  store.ClearLimit(key, std::move(done));
}

void RedisLimiter::Enter(EnterPlace request, Done<EnterReply> done) {
  if (Status status = CheckEnter(request); !status.ok()) return done(std::move(status));
  RedisStore& store = store_->Of(request.key);
  store.EnterAPlace(std::move(request), std::move(done));
}

void RedisLimiter::Leave(LeavePlace request, Done<LeaveReply> done) {
  if (Status status = CheckLeave(request); !status.ok()) return done(std::move(status));
  RedisStore& store = store_->Of(request.key);
  store.LeaveAPlace(std::move(request), std::move(done));
}

}  // namespace marathon::inline MARATHON_ABI::detail
