#include "nodes.h"

#include <algorithm>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// CRC-16/XMODEM, bit by bit: it is asked once for each partition.
uint16_t Crc16(std::string_view bytes) {
  uint16_t crc = 0;
  for (const char byte : bytes) {
    crc = static_cast<uint16_t>(crc ^ (static_cast<unsigned char>(byte) << 8));
    for (int bit = 0; bit < 8; ++bit) {
      crc = static_cast<uint16_t>((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
  }
  return crc;
}

}  // namespace

uint16_t RedisNodes::SlotOf(std::string_view key) {
  const size_t open = key.find('{');
  const size_t close = open == key.npos ? key.npos : key.find('}', open);
  if (close != key.npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
  return Crc16(key) % 16384;
}

const RedisPlace* RedisNodes::OwnerOf(uint16_t slot) const {
  if (const auto moved = moved_.find(slot); moved != moved_.end()) return &moved->second;
  auto range = ranges_.upper_bound(slot);
  if (range != ranges_.begin() && (--range)->second.last >= slot) return &range->second.owner;
  return nullptr;
}

void RedisNodes::Add(const RedisPlace& place) {
  if (std::find(all_.begin(), all_.end(), place) == all_.end()) all_.push_back(place);
}

// [[first, last, [host, port, id…], replica…]…]; a server that does not know its own host says
// nothing.
void RedisNodes::LearnSlots(const RedisReply& reply, const RedisPlace& from) {
  if (!reply.is_array() || reply.size() == 0) return;
  is_cluster_ = true;
  ranges_.clear();
  moved_.clear();
  for (size_t i = 0; i < reply.size(); ++i) {
    const RedisReply range = reply[i];
    for (size_t server = 2; server < range.size(); ++server) {
      const std::string_view host = range[server][0].text();
      const RedisPlace place{host.empty() ? from.host : std::string(host),
                             std::to_string(range[server][1].number())};
      Add(place);
      if (server > 2) continue;  // a replica
      ranges_[static_cast<uint16_t>(range[0].number())] = {static_cast<uint16_t>(range[1].number()),
                                                           place};
    }
  }
}

std::optional<RedisPlace> RedisNodes::RedirectOf(std::string_view error, const RedisPlace& from) {
  const size_t slot = error.find(' ');
  const size_t place = error.rfind(' ');
  const size_t colon = error.rfind(':');
  if (slot == error.npos || place <= slot || colon == error.npos || colon < place) return std::nullopt;
  const std::string_view host = error.substr(place + 1, colon - place - 1);
  return RedisPlace{host.empty() ? from.host : std::string(host), std::string(error.substr(colon + 1))};
}

void RedisNodes::LearnMove(std::string_view error, const RedisPlace& from) {
  std::optional<RedisPlace> owner = RedirectOf(error, from);
  if (!owner) return;
  is_cluster_ = true;
  Add(*owner);
  moved_[static_cast<uint16_t>(RedisNumber(error.substr(error.find(' ') + 1)))] = *std::move(owner);
}

}  // namespace marathon::inline MARATHON_ABI::detail
