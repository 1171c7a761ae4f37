// program: values
#ifdef MARATHON_COMPILED  // the sink comes with the compiled library
#include "marathon/adapters/spdlog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace marathon::spdlog_sink_test {
namespace {

TEST(SpdlogSinkTest, WritesToTheDefaultLoggerWhenThereIsNoneOfThatName) {
  ::testing::internal::CaptureStdout();
  const auto sink = NewSpdlogSink("nobody registered this");
  sink->Log(LogLevel::kDebug, "too small to see");
  sink->Log(LogLevel::kInfo, "began");
  sink->Log(LogLevel::kError, "braces {} are text");
  const std::string out = ::testing::internal::GetCapturedStdout();

  EXPECT_THAT(out, ::testing::HasSubstr("[info] began\n"));
  EXPECT_THAT(out, ::testing::HasSubstr("[error] braces {} are text\n"));
  EXPECT_THAT(out, ::testing::Not(::testing::HasSubstr("too small")));
}

}  // namespace
}  // namespace marathon::spdlog_sink_test
#endif
