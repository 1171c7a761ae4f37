// The primitives of Marathon's formats: bytes, varints, fixed integers, length-prefixed strings,
// all little-endian. A Sizer adds up what a Writer will write; a Reader takes it apart and trusts
// nothing.
//
// Not thread-safe: each is a cursor for one caller.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::detail {

// Small magnitudes, of either sign, become small numbers: 0, -1, 1, -2 … -> 0, 1, 2, 3 …
inline constexpr uint64_t ZigZag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}
inline constexpr int64_t UnZigZag(uint64_t v) {
  return static_cast<int64_t>((v >> 1) ^ (~(v & 1) + 1));
}

inline constexpr size_t VarintSize(uint64_t v) {
  return static_cast<size_t>((std::bit_width(v | 1) + 6) / 7);
}

class Sizer {
 public:
  void Byte(uint8_t) { ++size_; }
  void Varint(uint64_t v) { size_ += VarintSize(v); }
  void Fixed64(uint64_t) { size_ += 8; }
  void Bytes(std::string_view bytes) { size_ += bytes.size(); }
  void Skip(size_t size) { size_ += size; }  // of what has been measured already

  size_t size() const { return size_; }
  int depth = 0;  // nesting of sequences so far: see layout.h

 private:
  size_t size_ = 0;
};

// Writes to memory that is large enough: a Sizer has said so.
class Writer {
 public:
  explicit Writer(char* to) : to_(to) {}

  // Through a local cursor: a byte written may alias any member.
  void Byte(uint8_t b) { *to_++ = static_cast<char>(b); }
  void Varint(uint64_t v) {
    char* to = to_;
    for (; v >= 0x80; v >>= 7) *to++ = static_cast<char>(v | 0x80);
    *to++ = static_cast<char>(v);
    to_ = to;
  }
  void Fixed32(uint32_t v) { Fixed(v); }
  void Fixed64(uint64_t v) { Fixed(v); }
  void Bytes(std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(to_, bytes.data(), bytes.size());
    to_ += bytes.size();
  }

  char* position() const { return to_; }
  int depth = 0;

 private:
  template <class Int>
  void Fixed(Int v) {
    char bytes[sizeof(Int)];
    for (size_t i = 0; i < sizeof(Int); ++i) bytes[i] = static_cast<char>(v >> (8 * i));
    std::memcpy(to_, bytes, sizeof(Int));
    to_ += sizeof(Int);
  }

  char* to_;
};

// Reads `bytes` and never past their end. The first failure sticks: what follows reads as zero and
// empty, so that a caller checks once, after the last read.
class Reader {
 public:
  explicit Reader(std::string_view bytes)
      : begin_(bytes.data()), at_(begin_), end_(begin_ + bytes.size()) {}

  bool ok() const { return error_ == nullptr; }
  const char* error() const { return error_; }           // what is wrong; null: nothing
  size_t error_offset() const { return error_offset_; }  // and after how many bytes
  size_t remaining() const { return static_cast<size_t>(end_ - at_); }

  // The first failure wins. `error` must outlive the reader: a literal.
  void Fail(const char* error) {
    if (!ok()) return;
    error_ = error;
    error_offset_ = static_cast<size_t>(at_ - begin_);
    at_ = end_;
  }

  uint8_t Byte() {
    if (at_ == end_) return Fail("ends too early"), uint8_t{0};
    return static_cast<uint8_t>(*at_++);
  }

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) return Fail("ends too early"), 0;
      const auto byte = static_cast<uint8_t>(*at_++);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return Fail("holds a number of more than 64 bits"), 0;
  }

  uint32_t Fixed32() { return Fixed<uint32_t>(); }
  uint64_t Fixed64() { return Fixed<uint64_t>(); }

  std::string_view Bytes(uint64_t size) {
    if (size > remaining()) return Fail("ends too early"), std::string_view();
    const std::string_view bytes(at_, static_cast<size_t>(size));
    at_ += size;
    return bytes;
  }

  int depth = 0;

 private:
  template <class Int>
  Int Fixed() {
    if (remaining() < sizeof(Int)) return Fail("ends too early"), Int{0};
    Int value = 0;
    for (size_t i = 0; i < sizeof(Int); ++i) {
      value |= static_cast<Int>(static_cast<unsigned char>(at_[i])) << (8 * i);
    }
    at_ += sizeof(Int);
    return value;
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  const char* error_ = nullptr;
  size_t error_offset_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::detail
