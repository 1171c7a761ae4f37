// Marathon's messages through spdlog.
//
//   options.log = marathon::NewSpdlogSink("marathon");
//
// Compiled mode only (the header-only library brings no logging library along).
#pragma once

#include <memory>
#include <string_view>

#include "marathon/config.h"
#include "marathon/log_sink.h"

namespace marathon::inline MARATHON_ABI {

// Writes to the spdlog logger of this name; to spdlog's default logger if there is none. The logger's own
// level decides what is seen. Safe from any thread, as far as the logger is (use an _mt one).
std::shared_ptr<LogSink> NewSpdlogSink(std::string_view logger_name);

}  // namespace marathon::inline MARATHON_ABI
