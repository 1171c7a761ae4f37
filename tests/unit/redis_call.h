// One command to a real Redis, through the commands and replies of the adapter's wire.h.
#pragma once

#include <gtest/gtest.h>
#include <hiredis/hiredis.h>

#include <string>

#include "../../src/adapters/redis/wire.h"

namespace marathon::detail {

inline RedisReply CallRedis(redisContext* context, const RedisCommand& command) {
  const std::string bytes = command.Bytes();
  void* reply = nullptr;
  redisAppendFormattedCommand(context, bytes.data(), bytes.size());
  EXPECT_EQ(redisGetReply(context, &reply), REDIS_OK) << context->errstr;
  return RedisReply(static_cast<redisReply*>(reply));
}

}  // namespace marathon::detail
