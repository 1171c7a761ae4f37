#include "src/net/http_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

using Bytes16 = std::array<uint8_t, 16>;

struct Block4 {
  uint32_t network;
  int bits;
  std::string_view use;
};
constexpr uint32_t Quad(uint32_t a, uint32_t b, uint32_t c, uint32_t d) { return a << 24 | b << 16 | c << 8 | d; }

// IANA's registry of special IPv4 addresses, and those at which clouds tell machines about themselves. The first that
// fits counts.
constexpr std::array<Block4, 21> kBlocks4 = {{
    {Quad(169, 254, 169, 254), 32, "cloud metadata"},
    {Quad(169, 254, 170, 2), 32, "cloud metadata"},
    {Quad(100, 100, 100, 200), 32, "cloud metadata"},
    {Quad(168, 63, 129, 16), 32, "cloud metadata"},
    {Quad(192, 0, 0, 192), 32, "cloud metadata"},
    {Quad(0, 0, 0, 0), 8, "unspecified"},
    {Quad(10, 0, 0, 0), 8, "private"},
    {Quad(100, 64, 0, 0), 10, "a carrier's own"},
    {Quad(127, 0, 0, 0), 8, "loopback"},
    {Quad(169, 254, 0, 0), 16, "link-local"},
    {Quad(172, 16, 0, 0), 12, "private"},
    {Quad(192, 0, 0, 0), 24, "reserved"},
    {Quad(192, 0, 2, 0), 24, "reserved"},
    {Quad(192, 88, 99, 0), 24, "reserved"},
    {Quad(192, 168, 0, 0), 16, "private"},
    {Quad(198, 18, 0, 0), 15, "reserved"},
    {Quad(198, 51, 100, 0), 24, "reserved"},
    {Quad(203, 0, 113, 0), 24, "reserved"},
    {Quad(224, 0, 0, 0), 4, "multicast"},
    {Quad(255, 255, 255, 255), 32, "reserved"},
    {Quad(240, 0, 0, 0), 4, "reserved"},
}};

std::string_view UseOf4(uint32_t address) {
  for (const Block4& block : kBlocks4) {
    if ((address ^ block.network) >> (32 - block.bits) == 0) return block.use;
  }
  return {};
}

struct Block6 {
  std::string_view network;  // its first bytes
  int bits;
  std::string_view use;
};
using namespace std::string_view_literals;
constexpr std::array<Block6, 12> kBlocks6 = {{
    {"\xfd\x00\x0e\xc2\0\0\0\0\0\0\0\0\0\0\x02\x54"sv, 128, "cloud metadata"},
    {"\xfd\x20\x00\xce\0\0\0\0\0\0\0\0\0\0\x02\x54"sv, 128, "cloud metadata"},
    {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv, 128, "unspecified"},
    {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"sv, 128, "loopback"},
    {"\xfc"sv, 7, "private"},
    {"\xfe\x80"sv, 10, "link-local"},
    {"\xfe\xc0"sv, 10, "private"},
    {"\xff"sv, 8, "multicast"},
    {"\x00\x64\xff\x9b\x00\x01"sv, 48, "private"},     // NAT64 of a network's own
    {"\x20\x01\x00"sv, 23, "reserved"},                // protocols, Teredo among them
    {"\x20\x01\x0d\xb8"sv, 32, "reserved"},            // documents
    {"\x3f\xff\x00"sv, 20, "reserved"},                // documents
}};

bool IsIn(const Bytes16& address, const Block6& block) {
  for (int bit = 0; bit < block.bits; bit += 8) {
    const auto at = static_cast<size_t>(bit / 8);
    const int rest = std::min(8, block.bits - bit);
    const auto known = static_cast<uint8_t>(block.network[at]);
    if ((address[at] ^ known) >> (8 - rest) != 0) return false;
  }
  return true;
}

uint32_t QuadAt(const Bytes16& address, size_t at) {
  return Quad(address[at], address[at + 1], address[at + 2], address[at + 3]);
}

std::string_view UseOf6(const Bytes16& address) {
  constexpr Block6 kMapped{"\0\0\0\0\0\0\0\0\0\0\xff\xff"sv, 96, {}};
  constexpr Block6 kNat64{"\x00\x64\xff\x9b\0\0\0\0\0\0\0\0"sv, 96, {}};
  constexpr Block6 kSixToFour{"\x20\x02"sv, 16, {}};
  constexpr Block6 kGlobal{"\x20"sv, 3, {}};
  if (IsIn(address, kMapped) || IsIn(address, kNat64)) return UseOf4(QuadAt(address, 12));
  if (IsIn(address, kSixToFour)) return UseOf4(QuadAt(address, 2));
  for (const Block6& block : kBlocks6) {
    if (IsIn(address, block)) return block.use;
  }
  return IsIn(address, kGlobal) ? std::string_view() : "reserved";
}

}  // namespace

std::string_view SpecialUseOf(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address, sizeof in);
    return UseOf4(ntohl(in.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address, sizeof in);
    Bytes16 bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    return UseOf6(bytes);
  }
  return "not of the Internet";
}

}  // namespace marathon::inline MARATHON_ABI::detail
