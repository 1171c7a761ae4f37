// RedisStep: one call of scripts/step.lua in the making: checks, reads and writes over named keys.
//
// A value; no thread rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/time.h"
#include "wire.h"

namespace marathon::inline MARATHON_ABI::detail {

// Checks, reads or writes, one behind the other, as the script takes them. Their names are literals.
class RedisParts {
 public:
  // One of `count` arguments, which are to be added next.
  RedisCommand& Begin(std::string_view name, int64_t key, int count);
  // What is said of all, and their names and arguments.
  const std::string& plan() const { return plan_; }
  const RedisCommand& words() const { return words_; }
  int64_t size() const { return size_; }

 private:
  int64_t size_ = 0;
  std::string plan_;
  RedisCommand words_;
};

// Parts that take any number of members: those of one name, key and first arguments become one.
class RedisGroups {
 public:
  template <class... Args>
  void Add(std::string_view name, int64_t key, const RedisCommand& first, const Args&... member) {
    Group& group = Of(name, key, first);
    const size_t begin = members_.body().size();
    (members_.Add(member), ...);
    AddTo(group, {begin, members_.body().size(), sizeof...(member)});
  }
  // As RedisParts has them.
  int64_t size() const { return static_cast<int64_t>(groups_.size()); }
  size_t bytes() const;
  void AppendPlan(std::string& plan) const;
  void AppendWords(RedisCommand& command) const;

 private:
  // Of members_: what belongs to one group. Places are from 1 on, and 0 is none.
  struct Piece {
    size_t begin, end;  // bytes
    int count;          // of arguments
    size_t next = 0;
  };
  struct Group {
    std::string_view name;
    int64_t key;
    RedisCommand first;
    int count = 0;  // of arguments behind the first
    size_t first_piece = 0, last_piece = 0;
  };

  Group& Of(std::string_view name, int64_t key, const RedisCommand& first);
  void AddTo(Group& group, const Piece& piece);

  std::vector<Group> groups_;
  std::vector<Piece> pieces_;
  RedisCommand members_;
};

class RedisStep {
 public:
  enum class Check : char { kEquals = '=', kPresent = '+', kAbsent = '-', kCount = 'n' };

  // The place of a key in KEYS, for commands that take further keys as arguments.
  int64_t Key(std::string_view key);
  size_t keys() const { return keys_.size(); }
  // By its place.
  std::string_view KeyAt(size_t place) const;

  void Expect(Check check, std::string_view key, std::string_view field, std::string_view value = {});
  template <class... Args>
  void Read(std::string_view name, std::string_view key, const Args&... args) {
    AddPart(reads_, name, key, args...);
  }
  template <class... Args>
  void Write(std::string_view name, std::string_view key, const Args&... args) {
    AddPart(writes_, name, key, args...);
  }

  // A write of one member more, `first` being the arguments that members have in common. Behind all other writes, and in any
  // order.
  template <class... Args>
  void Gather(std::string_view name, std::string_view key, const RedisCommand& first, const Args&... member) {
    ++gathered_;
    members_.Add(name, Key(key), first, member...);
  }

  // A write that is among the reads, for the sake of its reply. Its last arguments are `last`.
  template <class... Args>
  void Change(std::string_view name, std::string_view key, const std::vector<std::string>& last,
              const Args&... args) {
    changes_ = true;
    RedisCommand& words = reads_.Begin(name, Key(key), static_cast<int>(sizeof...(args) + last.size()));
    (words.Add(args), ...);
    for (const std::string& one : last) words.Add(one);
  }

  int64_t reads() const { return reads_.size(); }
  // Of any kind, but for changes.
  int64_t writes() const { return writes_.size() + gathered_; }
  bool changes() const { return changes_ || writes() > 0; }

  // What scripts/step.lua is told of its parts, and their words.
  std::string Plan() const { return PlanWith(/*names=*/0); }
  RedisCommand Words() const;

  // A call of that script: `how` is EVAL or EVALSHA, `script` the text or its digest. No `now`: the server's clock is not asked.
  // `declared`: the only key that Redis is told of as one; the names of the others are arguments.
  RedisCommand Command(std::string_view how, std::string_view script, std::optional<Time> now,
                       std::optional<std::string_view> declared = std::nullopt) const;
  // A call of any script with the same keys, which takes `arguments` behind `now`.
  RedisCommand Command(std::string_view how, std::string_view script, std::optional<Time> now,
                       const RedisCommand& arguments) const;

 private:
  struct KeyName {
    size_t hash;
    size_t begin, size;  // in key_names_
  };

  template <class... Args>
  void AddPart(RedisParts& to, std::string_view name, std::string_view key, const Args&... args) {
    RedisCommand& words = to.Begin(name, Key(key), sizeof...(args));
    (words.Add(args), ...);
  }
  void GrowIndex();
  std::string PlanWith(int64_t names) const;

  RedisCommand key_names_;
  std::vector<KeyName> keys_;
  std::vector<uint32_t> index_;  // places of keys by their hash, with gaps that are 0
  RedisParts reads_, writes_;
  RedisGroups checks_, members_;
  int64_t gathered_ = 0;
  bool changes_ = false;
};

}  // namespace marathon::inline MARATHON_ABI::detail
