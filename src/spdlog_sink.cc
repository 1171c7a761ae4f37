#include "marathon/adapters/spdlog.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

namespace marathon::inline MARATHON_ABI {

namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

class SpdlogSink final : public LogSink {
 public:
  explicit SpdlogSink(std::shared_ptr<spdlog::logger> logger) : logger_(std::move(logger)) {}

  // spdlog reports its own errors through its error handler and does not throw.
  void Log(LogLevel level, std::string_view message) override {
    logger_->log(ToSpdlog(level), spdlog::string_view_t(message.data(), message.size()));
  }

 private:
  const std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace

std::shared_ptr<LogSink> NewSpdlogSink(std::string_view logger_name) {
  std::shared_ptr<spdlog::logger> logger = spdlog::get(std::string(logger_name));
  return std::make_shared<SpdlogSink>(logger ? std::move(logger) : spdlog::default_logger());
}

}  // namespace marathon::inline MARATHON_ABI
