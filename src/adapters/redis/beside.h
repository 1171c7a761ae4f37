// RedisBlobs, RedisStreams and RedisLimiter: what stands beside the runs. Each blob, stream and limit belongs to a
// partition, as a workflow id does; the server forgets it by itself.
//
// Safe from any thread. Each keeps the store open.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/stream_log.h"
#include "partitions.h"

namespace marathon::inline MARATHON_ABI::detail {

class RedisBlobs final : public BlobStore {
 public:
  explicit RedisBlobs(std::shared_ptr<RedisPartitions> store) : store_(std::move(store)) {}

  void Put(std::vector<std::string> blobs, Done<std::vector<BlobRef>> done) override;
  void Get(std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override;
  void Sweep(int, Done<int64_t> done) override { done(0); }

 private:
  const std::shared_ptr<RedisPartitions> store_;
};

class RedisStreams final : public StreamLog {
 public:
  explicit RedisStreams(std::shared_ptr<RedisPartitions> store) : store_(std::move(store)) {}

  void Append(AppendFrames request, Done<uint64_t> done) override;
  uint64_t Read(ReadFrames request, Done<FramePage> done) override;
  void CancelRead(uint64_t name) override;
  void Trim(std::string stream, uint64_t seq, DoneStatus done) override;
  void Sweep(int, Done<int64_t> done) override { done(0); }

 private:
  const std::shared_ptr<RedisPartitions> store_;
};

class RedisLimiter final : public Limiter {
 public:
  explicit RedisLimiter(std::shared_ptr<RedisPartitions> store) : store_(std::move(store)) {}

  void Acquire(AcquireLimit request, Done<Permit> done) override;
  void Settle(SettleLimit request, DoneStatus done) override;
  void Clear(std::string key, DoneStatus done) override;
  void Enter(EnterPlace request, Done<EnterReply> done) override;
  void Leave(LeavePlace request, Done<LeaveReply> done) override;

 private:
  const std::shared_ptr<RedisPartitions> store_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
