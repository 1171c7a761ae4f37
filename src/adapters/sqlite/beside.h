// SqliteBlobs, SqliteStreams, SqliteLimiter and SqliteTransactions: what stands beside the runs, in the store's file and by
// its group commit.
//
// Safe from any thread. Each keeps the store open.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/stream_log.h"
#include "marathon/transactions.h"
#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {

class SqliteBlobs final : public BlobStore {
 public:
  explicit SqliteBlobs(std::shared_ptr<SqliteStore> store) : store_(std::move(store)) {}

  void Put(std::vector<std::string> blobs, Done<std::vector<BlobRef>> done) override;
  void Get(std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override;
  void Sweep(int limit, Done<int64_t> done) override;

 private:
  const std::shared_ptr<SqliteStore> store_;
};

class SqliteStreams final : public StreamLog {
 public:
  explicit SqliteStreams(std::shared_ptr<SqliteStore> store) : store_(std::move(store)) {}

  void Append(AppendFrames request, Done<uint64_t> done) override;
  uint64_t Read(ReadFrames request, Done<FramePage> done) override;
  void CancelRead(uint64_t name) override;
  void Trim(std::string stream, uint64_t seq, DoneStatus done) override;
  void Sweep(int limit, Done<int64_t> done) override;

 private:
  const std::shared_ptr<SqliteStore> store_;
};

class SqliteLimiter final : public Limiter {
 public:
  explicit SqliteLimiter(std::shared_ptr<SqliteStore> store) : store_(std::move(store)) {}

  void Acquire(AcquireLimit request, Done<Permit> done) override;
  void Settle(SettleLimit request, DoneStatus done) override;
  void Clear(std::string key, DoneStatus done) override;
  void Enter(EnterPlace request, Done<EnterReply> done) override;
  void Leave(LeavePlace request, Done<LeaveReply> done) override;

 private:
  const std::shared_ptr<SqliteStore> store_;
};

class SqliteTransactions final : public Transactions {
 public:
  explicit SqliteTransactions(std::shared_ptr<SqliteStore> store) : store_(std::move(store)) {}

  std::string_view kind() const override { return sqlite::Transaction::kKind; }
  StatusOr<bool> End(const TransactionalEnd& end) override;

 private:
  const std::shared_ptr<SqliteStore> store_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
