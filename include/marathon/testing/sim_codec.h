// SimCodec: a payload codec of the simulator's. It hides nothing from anybody, but does all that a real one may: the same
// bytes are others each time, they are bound to their workflow, damage is found, and now and then it cannot.
//
// Not safe from several threads.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "marathon/config.h"
#include "marathon/payload_codec.h"
#include "marathon/testing/seeded_random.h"

namespace marathon::inline MARATHON_ABI::testing {

class SimCodec final : public PayloadCodec {
 public:
  // One call of `one_in` fails for the moment; 0: none does.
  SimCodec(SeededRandom random, uint64_t one_in) : random_(random), one_in_(one_in) {}
  void Heal() { one_in_ = 0; }

  std::string_view id() const override { return "simulated"; }

  StatusOr<std::string> Seal(std::string_view bytes, std::string_view workflow_id) override {
    if (Fails()) return Unavailable("no key at the moment");
    const uint64_t nonce = random_.Next();
    return Text(nonce) + Text(Tag(nonce, bytes, workflow_id)) + Mixed(nonce, bytes);
  }
  StatusOr<std::string> Open(std::string_view sealed, std::string_view workflow_id) override {
    if (Fails()) return Unavailable("no key at the moment");
    if (sealed.size() < 2 * sizeof(uint64_t)) return DataLoss("too short");
    const uint64_t nonce = Number(sealed);
    std::string bytes = Mixed(nonce, sealed.substr(2 * sizeof(uint64_t)));
    if (Number(sealed.substr(sizeof(uint64_t))) != Tag(nonce, bytes, workflow_id)) return DataLoss("not what was sealed");
    return bytes;
  }

 private:
  bool Fails() { return one_in_ > 0 && random_.Below(one_in_) == 0; }
  static std::string Text(uint64_t number) {
    std::string text(sizeof(number), '\0');
    std::memcpy(text.data(), &number, sizeof(number));
    return text;
  }
  static uint64_t Number(std::string_view text) {
    uint64_t number;
    std::memcpy(&number, text.data(), sizeof(number));
    return number;
  }
  static uint64_t Tag(uint64_t nonce, std::string_view bytes, std::string_view workflow_id) {
    uint64_t tag = nonce;
    for (const std::string_view part : {bytes, workflow_id}) {
      for (const char c : part) tag = SeededRandom::Mix(tag * 31 + static_cast<unsigned char>(c) + 1);
      tag = SeededRandom::Mix(tag + part.size());
    }
    return tag;
  }
  static std::string Mixed(uint64_t nonce, std::string_view bytes) {
    std::string mixed(bytes);
    for (size_t i = 0; i < mixed.size(); ++i) {
      mixed[i] = static_cast<char>(mixed[i] ^ static_cast<char>(SeededRandom::Mix(nonce + i) & 0xff));
    }
    return mixed;
  }

  SeededRandom random_;
  uint64_t one_in_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
