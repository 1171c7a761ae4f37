#include "beside.h"

#include <optional>
#include <utility>

#include "marathon/store/blob_rules.h"
#include "marathon/store/limit_rules.h"
#include "marathon/store/place_rules.h"
#include "marathon/store/stream_rules.h"
#include "operation.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

constexpr int kBlobsSweptByPut = 8;
constexpr int kStreamsSweptByAppend = 2;
constexpr int kLimitsSweptBySettle = 2;

}  // namespace

// ---- Blobs

void SqliteBlobs::Put(std::vector<std::string> blobs, Done<std::vector<BlobRef>> done) {
  using Refs = StatusOr<std::vector<BlobRef>>;
  Refs refs = NameBlobs(blobs);
  if (!refs.ok() || refs->empty()) return done(std::move(refs));
  store_->Enqueue<Refs>(
      SqliteStore::Access::kWrite,
      [refs = *std::move(refs), blobs = std::move(blobs)](SqliteStore::Transaction& tx) -> Refs {
        tx.blobs.Sweep(kBlobsSweptByPut, tx.now);
        tx.blobs.Put(refs, blobs, tx.now);
        return refs;
      },
      std::move(done));
}

// Bytes are compared with their names when the transaction is over: that takes a while.
void SqliteBlobs::Get(std::vector<BlobRef> refs, Done<std::vector<std::string>> done) {
  using Bytes = StatusOr<std::vector<std::string>>;
  if (Status status = CheckRefs(refs); !status.ok()) return done(std::move(status));
  if (refs.empty()) return done(std::vector<std::string>());
  store_->Enqueue<Bytes>(
      SqliteStore::Access::kWrite,
      [refs](SqliteStore::Transaction& tx) { return tx.blobs.Get(refs, tx.now); },
      [refs, done = std::move(done)](Bytes bytes) mutable {
        for (size_t i = 0; bytes.ok() && i < refs.size(); ++i) {
          if (Status status = CheckBlob(refs[i], (*bytes)[i]); !status.ok()) bytes = std::move(status);
        }
        done(std::move(bytes));
      });
}

void SqliteBlobs::Sweep(int limit, Done<int64_t> done) {
  store_->Enqueue<StatusOr<int64_t>>(
      SqliteStore::Access::kWrite,
      [limit](SqliteStore::Transaction& tx) { return tx.blobs.Sweep(limit, tx.now); }, std::move(done));
}

// ---- Streams

void SqliteStreams::Append(AppendFrames request, Done<uint64_t> done) {
  if (Status status = CheckAppend(request); !status.ok()) return done(std::move(status));
  std::string stream = request.stream;
  store_->Enqueue<StatusOr<uint64_t>>(
      SqliteStore::Access::kWrite,
      [request = std::move(request)](SqliteStore::Transaction& tx) {
        tx.streams.Sweep(kStreamsSweptByAppend, tx.now);
        return tx.streams.Append(request, tx.now);
      },
      [store = store_.get(), stream = std::move(stream), done = std::move(done)](StatusOr<uint64_t> last) mutable {
        // After an error, too: perhaps it was written.
        for (const auto& reader : store->readers_.Of(stream)) store->LookForFrames(reader);
        done(std::move(last));
      });
}

uint64_t SqliteStreams::Read(ReadFrames request, Done<FramePage> done) {
  Status status = CheckStream(request.stream);
  if (status.ok()) status = store_->CheckProcess();
  if (!status.ok()) {
    done(std::move(status));
    return 0;
  }
  const bool waits = request.wait;
  const uint64_t name = store_->readers_.Add(request, std::move(done));
  store_->LookForFrames({name, std::move(request)});
  if (waits) store_->KeepLooking();
  return name;
}

void SqliteStreams::CancelRead(uint64_t name) { store_->readers_.Take(name); }

void SqliteStreams::Trim(std::string stream, uint64_t seq, DoneStatus done) {
  if (Status status = CheckStream(stream); !status.ok()) return done(std::move(status));
  store_->Enqueue<Status>(
      SqliteStore::Access::kWrite,
      [stream = std::move(stream), seq](SqliteStore::Transaction& tx) {
        tx.streams.Trim(stream, seq);
        return Status();
      },
      std::move(done));
}

void SqliteStreams::Sweep(int limit, Done<int64_t> done) {
  store_->Enqueue<StatusOr<int64_t>>(
      SqliteStore::Access::kWrite,
      [limit](SqliteStore::Transaction& tx) { return tx.streams.Sweep(limit, tx.now); }, std::move(done));
}

// ---- Limits

// Most write nothing: where there are no rates and no reports, or for a permit that is shown.
void SqliteLimiter::Acquire(AcquireLimit request, Done<Permit> done) {
  if (Status status = CheckAcquire(request); !status.ok()) return done(std::move(status));
  store_->Enqueue<StatusOr<Permit>>(
      SqliteStore::Access::kWrite,
      [request = std::move(request)](SqliteStore::Transaction& tx) {
        return tx.limits.Acquire(request, tx.now);
      },
      std::move(done));
}

void SqliteLimiter::Settle(SettleLimit request, DoneStatus done) {
  if (Status status = CheckSettle(request); !status.ok()) return done(std::move(status));
  store_->Enqueue<Status>(
      SqliteStore::Access::kWrite,
      [request = std::move(request)](SqliteStore::Transaction& tx) {
        tx.limits.Sweep(kLimitsSweptBySettle, tx.now);
        tx.limits.Settle(request, tx.now);
        return Status();
      },
      std::move(done));
}

void SqliteLimiter::Clear(std::string key, DoneStatus done) {
  if (Status status = CheckLimitKey(key); !status.ok()) return done(std::move(status));
  store_->Enqueue<Status>(
      SqliteStore::Access::kWrite,
      [key = std::move(key)](SqliteStore::Transaction& tx) {
        tx.limits.Clear(key);
        return Status();
      },
      std::move(done));
}

void SqliteLimiter::Enter(EnterPlace request, Done<EnterReply> done) {
  using Reply = StatusOr<EnterReply>;
  if (Status status = CheckEnter(request); !status.ok()) return done(std::move(status));
  store_->Enqueue<Reply>(
      SqliteStore::Access::kWrite,
      [request = std::move(request)](SqliteStore::Transaction& tx) -> Reply { return tx.places.Enter(request, tx.now); },
      std::move(done));
}

void SqliteLimiter::Leave(LeavePlace request, Done<LeaveReply> done) {
  using Reply = StatusOr<LeaveReply>;
  if (Status status = CheckLeave(request); !status.ok()) return done(std::move(status));
  store_->Enqueue<Reply>(
      SqliteStore::Access::kWrite,
      [request = std::move(request)](SqliteStore::Transaction& tx) -> Reply { return tx.places.Leave(request, tx.now); },
      std::move(done));
}

// ---- Transactions

StatusOr<bool> SqliteTransactions::End(const TransactionalEnd& end) {
  using Reply = StatusOr<AttemptReply>;
  Reply reply;
  const auto body = [&](SqliteStore::Transaction& tx) -> Reply {
    if (Status held = tx.protocol().CheckHeld(end.key, end.epoch); !held.ok()) return held;
    AttemptEnd attempt;  // member by member: g++ 12 warns of designated initializers here
    attempt.key = end.key;
    attempt.epoch = end.epoch;
    attempt.session = end.session;
    bool gave = false;
    Status status = store_->guard_->Run(store_->options_.transaction_limit, [&](sqlite::Transaction& own) {
      std::optional<EventBody> outcome = end.body(own);
      gave = outcome.has_value();
      if (gave) attempt.outcome = *std::move(outcome);
    });
    if (status.ok() && !gave) status = Aborted("the activity gave no result: what it wrote is rolled back");
    if (status.ok()) return tx.protocol().EndAttempt(std::move(attempt));
    store_->connection_->Fail(status);
    return status;
  };
  store_->RunAlone<Reply>(body, [&](Reply ended) { reply = std::move(ended); });
  if (!reply.ok()) return reply.status();
  return reply->mine;
}

// ---- Readers of streams

// Answers a reader whose wait is over. It was added before, so no frame slips between.
void SqliteStore::LookForFrames(const StreamReaders::Reader& reader) {
  using Page = StatusOr<FramePage>;
  const auto& [name, request] = reader;
  Enqueue<Page>(
      Access::kRead, [request](Transaction& tx) -> Page { return tx.streams.Read(request); },
      [this, name, request](Page page) {
        if (page.ok() && !IsAnswered(request, *page)) return;
        if (Done<FramePage> done = readers_.Take(name)) done(std::move(page));
      });
}

}  // namespace marathon::inline MARATHON_ABI::detail
