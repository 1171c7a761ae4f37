// LogSink: where Marathon's own messages and workflow logs go. The default writes warnings and worse
// to stderr; adapters/spdlog.h writes to spdlog. Implementations must be safe from any thread and must
// not throw.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };

class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void Log(LogLevel level, std::string_view message) = 0;
};

// Writes `least` and above to stderr, one line a message.
std::shared_ptr<LogSink> NewStderrLogSink(LogLevel least = LogLevel::kWarning);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/log_sink-inl.h"
#endif
