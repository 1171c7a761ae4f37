// RedisStep: one call of scripts/step.lua in the making: checks, reads and writes over named keys.
//
// A value; no thread rule.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/time.h"
#include "wire.h"

namespace marathon::inline MARATHON_ABI::detail {

// Calls that take any number of members: those of one head, name and key, become one.
class RedisGroups {
 public:
  // Where the arguments of one member more go. `first`: those in front, which the members have in common.
  RedisCommand& Of(const RedisCommand& head, const RedisCommand& first);
  size_t size() const { return calls_.size(); }
  void AppendTo(RedisCommand& command) const;

 private:
  struct Call {
    RedisCommand head, first, members;
  };
  std::vector<Call> calls_;
};

class RedisStep {
 public:
  enum class Check : char { kEquals = '=', kPresent = '+', kAbsent = '-', kCount = 'n' };

  // The place of a key in KEYS, for commands that take further keys as arguments.
  int64_t Key(std::string_view key);
  // Each with its place.
  const std::map<std::string, int64_t, std::less<>>& keys() const { return keys_; }

  void Expect(Check check, std::string_view key, std::string_view field, std::string_view value = {});
  template <class... Args>
  void Read(std::string_view name, std::string_view key, const Args&... args) {
    ++reads_;
    AddCall(read_, name, key, args...);
  }
  template <class... Args>
  void Write(std::string_view name, std::string_view key, const Args&... args) {
    ++writes_;
    AddCall(write_, name, key, args...);
  }

  // A write of one member more, `first` as in RedisGroups. Behind all other writes, and in any order.
  template <class... Args>
  void Gather(std::string_view name, std::string_view key, const RedisCommand& first, const Args&... member) {
    ++writes_;
    RedisCommand& members = gathered_.Of(RedisCommand(name, Key(key)), first);
    (members.Add(member), ...);
  }

  // A write that is among the reads, for the sake of its reply. Its last arguments are `last`.
  template <class... Args>
  void Change(std::string_view name, std::string_view key, const std::vector<std::string>& last,
              const Args&... args) {
    changes_ = true;
    ++reads_;
    read_.Add(name).Add(Key(key)).Add(sizeof...(args) + last.size());
    (read_.Add(args), ...);
    for (const std::string& one : last) read_.Add(one);
  }

  int writes() const { return writes_; }
  bool changes() const { return changes_ || writes_ > 0; }

  // `how` is EVAL or EVALSHA, `script` the text or its digest. No `now`: the server's clock is not asked. `declared`: the only
  // key that Redis is told of as one; the names of the others are arguments.
  RedisCommand Command(std::string_view how, std::string_view script, std::optional<Time> now,
                       std::optional<std::string_view> declared = std::nullopt) const;

 private:
  template <class... Args>
  void AddCall(RedisCommand& to, std::string_view name, std::string_view key, const Args&... args) {
    to.Add(name).Add(Key(key)).Add(sizeof...(args));
    (to.Add(args), ...);
  }

  std::map<std::string, int64_t, std::less<>> keys_;
  RedisCommand key_names_, read_, write_;
  RedisGroups checks_, gathered_;
  int reads_ = 0, writes_ = 0;
  bool changes_ = false;
};

}  // namespace marathon::inline MARATHON_ABI::detail
