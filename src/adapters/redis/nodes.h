// RedisNodes: which server of a cluster has which slot. A single server has them all.
//
// On the loop's thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

struct RedisPlace {
  std::string host, port;
  friend bool operator==(const RedisPlace&, const RedisPlace&) = default;
};

class RedisNodes {
 public:
  explicit RedisNodes(std::vector<RedisPlace> seeds) : all_(std::move(seeds)) {}

  // Of a key: of its hash tag, as the cluster's specification has it.
  static uint16_t SlotOf(std::string_view key);

  bool is_cluster() const { return is_cluster_; }
  // A server has said that it is in one: it need not tell the rest.
  void LearnCluster() { is_cluster_ = true; }
  // How many there are to try.
  int count() const { return static_cast<int>(all_.size()); }
  // Who has a slot; null: that is not known. Until something is learnt.
  const RedisPlace* OwnerOf(uint16_t slot) const;
  // All in turn: any of them may know better.
  const RedisPlace& Any(int number) const {
    return all_[static_cast<size_t>(number) % all_.size()];
  }

  // The answer to CLUSTER SLOTS of the server at `from`; an error tells nothing.
  void LearnSlots(const RedisReply& reply, const RedisPlace& from);
  // "MOVED 3999 127.0.0.1:6381": the newer word on one slot.
  void LearnMove(std::string_view error, const RedisPlace& from);

  // "ASK 3999 127.0.0.1:6381", or as above: where to go; none: it does not say.
  static std::optional<RedisPlace> RedirectOf(std::string_view error, const RedisPlace& from);

 private:
  struct Range {
    uint16_t last = 0;
    RedisPlace owner;
  };

  void Add(const RedisPlace& place);

  bool is_cluster_ = false;
  std::vector<RedisPlace> all_;           // at least one
  std::map<uint16_t, Range> ranges_;      // by first slot
  std::map<uint16_t, RedisPlace> moved_;  // since
};

}  // namespace marathon::inline MARATHON_ABI::detail
