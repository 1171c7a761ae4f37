// SeededRandom: the dice of simulations (xoshiro256**, seeded through splitmix64). The same seed gives
// the same numbers on every machine.
//
// Fork one stream a purpose ("workload", "schedule", "faults"): a fork depends on the seed and its label
// alone, not on what was drawn before, so a draw added in one stream leaves the others as they were.
//
// A value; not safe from several threads.
#pragma once

#include <cstdint>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::testing {

class SeededRandom {
 public:
  explicit SeededRandom(uint64_t seed) : seed_(seed) {
    for (uint64_t& word : state_) word = Mix(seed += kGolden);
  }

  SeededRandom Fork(std::string_view label) const {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char c : label) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return SeededRandom(Mix(seed_ ^ Mix(hash)));
  }

  uint64_t Next() {
    const uint64_t result = Rotate(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = Rotate(state_[3], 45);
    return result;
  }

  // 0 … n-1; 0 if n is 0.
  uint64_t Below(uint64_t n) { return n == 0 ? 0 : Next() % n; }
  // low … high, both included.
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low) + 1));
  }
  // 0 <= x < 1.
  double Real() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  double Real(double low, double high) { return low + Real() * (high - low); }
  // Draws nothing when there is nothing to decide.
  bool Chance(double p) { return p > 0 && Real() < p; }

  static constexpr uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

 private:
  static constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;
  static constexpr uint64_t Rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

  uint64_t seed_;
  uint64_t state_[4];
};

}  // namespace marathon::inline MARATHON_ABI::testing
