// Redis's protocol: commands as bytes, replies as trees (parsed by hiredis's reader).
//
// Values; no thread rule.
#pragma once

#include <hiredis/hiredis.h>

#include <charconv>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// One command, argument by argument.
class RedisCommand {
 public:
  RedisCommand() = default;
  template <class... Args>
  explicit RedisCommand(std::string_view name, const Args&... args) {
    Add(name);
    (Add(args), ...);
  }

  RedisCommand& Add(std::string_view argument) {
    ++count_;
    AppendHead('$', argument.size(), body_);
    body_ += argument;
    body_ += "\r\n";
    return *this;
  }
  RedisCommand& Add(std::integral auto number) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    return Add(std::string_view(digits, static_cast<size_t>(end - digits)));
  }
  // The arguments of another one, behind these.
  RedisCommand& Add(const RedisCommand& more) { return AddBody(more.count_, more.body_); }
  RedisCommand& AddBody(int count, std::string_view body) {
    count_ += count;
    body_ += body;
    return *this;
  }
  void Reserve(size_t bytes) { body_.reserve(bytes); }

  int count() const { return count_; }
  // The arguments as they are sent.
  std::string_view body() const { return body_; }
  std::string Bytes() const;
  void AppendTo(std::string& out) const;
  friend bool operator==(const RedisCommand&, const RedisCommand&) = default;

 private:
  static void AppendHead(char kind, std::integral auto number, std::string& to) {
    char head[24] = {kind};
    char* end = std::to_chars(head + 1, head + sizeof head - 2, number).ptr;
    *end++ = '\r';
    *end++ = '\n';
    to.append(head, end);
  }

  int count_ = 0;
  std::string body_;
};

// A reply, or a part of one that its root keeps alive.
class RedisReply {
 public:
  RedisReply() = default;  // nil
  explicit RedisReply(redisReply* root)
      : root_(root, [](redisReply* r) { freeReplyObject(r); }), node_(root) {}

  bool is_nil() const { return node_ == nullptr || node_->type == REDIS_REPLY_NIL; }
  bool is_error() const { return node_ != nullptr && node_->type == REDIS_REPLY_ERROR; }
  bool is_array() const { return node_ != nullptr && node_->type == REDIS_REPLY_ARRAY; }
  // Of an array; 0 for anything else.
  size_t size() const { return is_array() ? node_->elements : 0; }
  // Nil if there is no such element.
  RedisReply operator[](size_t i) const;
  // Of a string, status or error; empty for anything else.
  std::string_view text() const;
  // Of an integer, or of a string that is one; 0 for anything else.
  int64_t number() const;
  uint64_t unsigned_number() const;
  // Of a score in microseconds, which is a floating-point number.
  Time time() const;
  // What the server sends a subscriber, in answer to no command.
  bool is_push() const;

 private:
  std::shared_ptr<redisReply> root_;
  const redisReply* node_ = nullptr;
};

// The number that `text` is; 0 if it is none.
uint64_t RedisNumber(std::string_view text);

// What an error reply means for the command that got it: kUnavailable where the server certainly did
// nothing and may do it later, kResourceExhausted for no memory or disk, kFailedPrecondition for what
// only an administrator can change, and kUnknown for all that is not known.
Status StatusOfError(std::string_view error);

// The server behind this connection is not, or no longer, one to talk to: look for it anew.
bool AsksToReconnect(std::string_view error);

}  // namespace marathon::inline MARATHON_ABI::detail
