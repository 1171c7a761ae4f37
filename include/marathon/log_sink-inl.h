#pragma once

#include "marathon/log_sink.h"

#include <algorithm>
#include <cstdio>

namespace marathon::inline MARATHON_ABI {
namespace detail {

class StderrLogSink final : public LogSink {
 public:
  explicit StderrLogSink(LogLevel least) : least_(least) {}

  void Log(LogLevel level, std::string_view message) override {
    if (level < least_) return;
    static constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
    // One call: stdio locks the stream, allocates nothing and cannot throw.
    const auto size = static_cast<int>(std::min<size_t>(message.size(), 1u << 20));
    std::fprintf(stderr, "marathon: %s: %.*s\n", kNames[static_cast<int>(level)], size,
                 message.data());
  }

 private:
  const LogLevel least_;
};

}  // namespace detail

MARATHON_INLINE std::shared_ptr<LogSink> NewStderrLogSink(LogLevel least) {
  return std::make_shared<detail::StderrLogSink>(least);
}

}  // namespace marathon::inline MARATHON_ABI
