// What stands in for blobs, streams and limits where a backend has none: it refuses, and says so.
//
// Safe to call from any thread.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/limiter.h"
#include "marathon/status.h"
#include "marathon/stream_log.h"

namespace marathon::inline MARATHON_ABI::detail {

// `domain`: the store's, for people.
inline std::shared_ptr<BlobStore> NoBlobs(std::string_view domain) {
  class Refuses final : public BlobStore {
   public:
    explicit Refuses(std::string_view domain) : domain_(domain) {}
    void Put(std::vector<std::string>, Done<std::vector<BlobRef>> done) override { done(Refusal()); }
    void Get(std::vector<BlobRef>, Done<std::vector<std::string>> done) override { done(Refusal()); }
    void Sweep(int, Done<int64_t> done) override { done(Refusal()); }

   private:
    Status Refusal() const { return Unimplemented(fmt::format("{} has no blob store", domain_)); }
    const std::string domain_;
  };
  return std::make_shared<Refuses>(domain);
}

inline std::shared_ptr<StreamLog> NoStreams(std::string_view domain) {
  class Refuses final : public StreamLog {
   public:
    explicit Refuses(std::string_view domain) : domain_(domain) {}
    void Append(AppendFrames, Done<uint64_t> done) override { done(Refusal()); }
    uint64_t Read(ReadFrames, Done<FramePage> done) override {
      done(Refusal());
      return 0;
    }
    void CancelRead(uint64_t) override {}
    void Trim(std::string, uint64_t, DoneStatus done) override { done(Refusal()); }
    void Sweep(int, Done<int64_t> done) override { done(Refusal()); }

   private:
    Status Refusal() const { return Unimplemented(fmt::format("{} has no stream log", domain_)); }
    const std::string domain_;
  };
  return std::make_shared<Refuses>(domain);
}

inline std::shared_ptr<Limiter> NoLimiter(std::string_view domain) {
  class Refuses final : public Limiter {
   public:
    explicit Refuses(std::string_view domain) : domain_(domain) {}
    void Acquire(AcquireLimit, Done<Permit> done) override { done(Refusal()); }
    void Settle(SettleLimit, DoneStatus done) override { done(Refusal()); }
    void Clear(std::string, DoneStatus done) override { done(Refusal()); }
    void Enter(EnterPlace, Done<EnterReply> done) override { done(Refusal()); }
    void Leave(LeavePlace, Done<LeaveReply> done) override { done(Refusal()); }

   private:
    Status Refusal() const { return Unimplemented(fmt::format("{} has no limiter", domain_)); }
    const std::string domain_;
  };
  return std::make_shared<Refuses>(domain);
}

}  // namespace marathon::inline MARATHON_ABI::detail
