// RedisShapes: scripts of their own for the steps that come again and again, and read nothing. Steps have one shape if they
// differ only in what their keys and most of their arguments are. A script for one shape needs no plan, and names of commands
// and fields are part of its text: it takes the server two thirds of what scripts/step.lua needs for the same, in which
// arguments and Lua cost most.
//
// A shape gets its script when it has come some times, and only so many do, since Redis keeps every script. Processes that do
// the same work make the same scripts.
//
// On one thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

#include "marathon/config.h"
#include "step.h"
#include "wire.h"

namespace marathon::inline MARATHON_ABI::detail {

extern const std::string_view kRedisCommonScript;  // parts of step.lua
extern const std::string_view kRedisClockScript;

// As Redis names a script.
std::string RedisScriptDigest(std::string_view text);

class RedisShapes {
 public:
  static constexpr int kTimes = 8;
  static constexpr size_t kMostScripts = 64;

  struct Script {
    std::string text;
    std::string digest;
  };

  // A script for `step`, and what it takes behind `now`. Null: there is none, or not yet.
  const Script* For(const RedisStep& step, RedisCommand& arguments);

 private:
  struct Shape {
    int times = 0;
    Script script;  // empty: none
  };
  std::unordered_map<std::string, Shape> shapes_;
  size_t scripts_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::detail
