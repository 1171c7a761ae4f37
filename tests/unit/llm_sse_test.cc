// Server-sent events, split at every place where bytes can be split.
// needs: llm
// program: llm
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/llm/sse_parser.h"

namespace marathon::llm::internal::llm_sse_test {
namespace {

using Events = std::vector<std::pair<std::string, std::string>>;  // type, data

void Take(SseParser& parser, Events* events) {
  for (SseEvent event; parser.Next(&event);) events->emplace_back(event.type, event.data);
}

Events ParseIn(const std::vector<std::string_view>& pieces) {
  SseParser parser(1000);
  Events events;
  for (const std::string_view piece : pieces) {
    parser.Feed(piece);
    Take(parser, &events);
  }
  return events;
}

// Whole, in two pieces split everywhere, in three, and byte by byte.
void ExpectEvents(std::string_view text, const Events& expected) {
  EXPECT_EQ(ParseIn({text}), expected);
  for (size_t i = 0; i <= text.size(); ++i) {
    ASSERT_EQ(ParseIn({text.substr(0, i), text.substr(i)}), expected) << "split at " << i;
    for (size_t k = i; k <= text.size(); ++k) {
      ASSERT_EQ(ParseIn({text.substr(0, i), text.substr(i, k - i), text.substr(k)}), expected)
          << "split at " << i << " and " << k;
    }
  }
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
  EXPECT_EQ(ParseIn(bytes), expected);
}

TEST(SseParserTest, TakesEachLineEnding) {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    const std::string text = "event: a" + end + "data: 1" + end + end + "data: 2" + end + end;
    ExpectEvents(text, {{"a", "1"}, {"", "2"}});
  }
  ExpectEvents("data: 1\r\n\ndata: 2\n\r", {{"", "1"}, {"", "2"}});
}

TEST(SseParserTest, JoinsLinesOfDataAndStripsOneSpace) {
  ExpectEvents("data:a\ndata: b\ndata:  c\ndata\ndata: d\n\n", {{"", "a\nb\n c\n\nd"}});
}

TEST(SseParserTest, IgnoresCommentsIdsAndWhatItDoesNotKnow) {
  ExpectEvents(": ping\n\nid: 7\nretry: 10\nfoo: x\nbar\ndata: 1\n: more\n\n", {{"", "1"}});
}

TEST(SseParserTest, AnEventWithoutDataIsNoneAndItsTypeIsForgotten) {
  ExpectEvents("event: a\n\ndata: 1\n\n", {{"", "1"}});
  ExpectEvents("event: a\ndata\n\n", {{"a", ""}});
}

TEST(SseParserTest, KeepsUtf8ThatIsSplit) {
  ExpectEvents("data: h\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80!\n\n",
               {{"", "h\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80!"}});
}

TEST(SseParserTest, SkipsAByteOrderMarkInTheBeginningOnly) {
  ExpectEvents("\xEF\xBB\xBF" "data: 1\n\n", {{"", "1"}});
  ExpectEvents("\xEF\xBBx: 1\ndata: 2\n\n", {{"", "2"}});
  ExpectEvents("data: 1\n\n\xEF\xBB\xBF" "data: 2\n\n", {{"", "1"}});
}

TEST(SseParserTest, WhatIsUnfinishedIsNoEvent) {
  ExpectEvents("data: 1\n\ndata: 2\n", {{"", "1"}});
  ExpectEvents("data: 1\n\ndata: 2", {{"", "1"}});
}

TEST(SseParserTest, BoundsLinesAndEvents) {
  SseParser line(10);
  SseEvent event;
  line.Feed("data: 12");
  EXPECT_FALSE(line.Next(&event));
  EXPECT_FALSE(line.overflow());
  line.Feed("345");
  EXPECT_FALSE(line.Next(&event));
  EXPECT_TRUE(line.overflow());

  SseParser lines(10);
  lines.Feed("data: 1234\ndata: 5678\ndata: 9\n\n");
  EXPECT_FALSE(lines.Next(&event));
  EXPECT_TRUE(lines.overflow());
}

}  // namespace
}  // namespace marathon::llm::internal::llm_sse_test
