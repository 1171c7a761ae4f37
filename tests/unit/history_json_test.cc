// Histories as JSON: every field there and back, by hand, and what is wrong said with its place.
// needs: testing
// program: testing
#include "marathon/testing/history_json.h"

#include <gtest/gtest.h>

#include "samples.h"

namespace marathon::history_json_test {
namespace {

History Number(const std::vector<EventBody>& bodies) {
  History history;
  for (const EventBody& body : bodies)
    history.push_back({static_cast<EventId>(history.size() + 1), body});
  return history;
}

TEST(HistoryJsonTest, EveryFieldComesBack) {
  for (auto bodies : {samples::FullBodies(), samples::DefaultBodies()}) {
    bodies.push_back(WorkflowTerminated{"not UTF-8: \xff\xfe"});
    bodies.push_back(TurnStarted{kNever, "", 0});
    bodies.push_back(TurnStarted{FromMicros(-1), "", 0});
    const History history = Number(bodies);
    const auto back = testing::HistoryFromJson(testing::HistoryToJson(history));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, history);
  }
}

TEST(HistoryJsonTest, CanBeWrittenByHand) {
  const auto history = testing::HistoryFromJson(
      R"({"events": [{"type": "TurnStarted", "time": "2026-11-23T08:00:00.123456Z"},
                     {"type": "TimerFired", "timer": 3}]})");
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(*history, Number({TurnStarted{samples::kSampleTime, "", 0}, TimerFired{3}}));
}

TEST(HistoryJsonTest, SaysWhereItIsWrong) {
  const auto error = [](std::string_view events) {
    const auto history = testing::HistoryFromJson("{\"events\": [" + std::string(events) + "]}");
    EXPECT_EQ(history.status().code(), StatusCode::kInvalidArgument);
    return std::string(history.status().message());
  };
  EXPECT_EQ(error("{"), "history: this is not JSON");
  EXPECT_EQ(error("7"), "events[0]: should be an object");
  EXPECT_EQ(error(R"({"type": "TimerFried"})"), "events[0]: unknown event type \"TimerFried\"");
  EXPECT_EQ(error(R"({"type": "TimerFired", "timer": "x"})"),
            "events[0].timer: should be a whole number in range");
  EXPECT_EQ(error(R"({"type": "TimerFired"}, {"id": 4, "type": "TimerFired"})"),
            "events[1]: has id 4 where 2 should follow");
  EXPECT_EQ(error(R"({"type": "TimerFired", "tmier": 1})"), "events[0]: unknown field \"tmier\"");
  EXPECT_EQ(error(R"({"type": "TurnStarted", "time": "2026-02-30T08:00:00.000000Z"})"),
            "events[0].time: should be a time like 2026-11-23T08:00:00.000000Z");
  EXPECT_EQ(error(R"({"type": "WorkflowFailed", "failure": {"cause": [{"kind": "odd"}]}})"),
            "events[0].failure.cause[0].kind: should be one of: application, timeout, canceled, "
            "terminated, engine");
}

}  // namespace
}  // namespace marathon::history_json_test
