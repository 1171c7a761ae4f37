// Characters that a server has cut in two, and what only looks like it.
// needs: llm
// program: llm
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "llm_wire.h"
#include "src/llm/half_characters.h"

namespace marathon::llm::internal::llm_half_characters_test {
namespace {

std::vector<std::string> Joined(const std::vector<std::string>& events) {
  HalfCharacters halves;
  std::vector<std::string> joined;
  for (const std::string& event : events) joined.push_back(halves.Join(event));
  return joined;
}
using Events = std::vector<std::string>;

TEST(HalfCharactersTest, LeavesWhatIsWhole) {
  for (const char* event : {"", "\\", R"({"t":"\ud83d\ude00\uD83D\uDE00 \u00e9 \n \" \\"})", R"({"t":"C:\\ud83d\\ude00"})",
                            R"({"t":"\\\\\ud83d\ude00"})", R"("\u+d83")", R"("\ud83)", "\"😀\""}) {
    EXPECT_EQ(HalfCharacters().Join(event), event);
  }
}

TEST(HalfCharactersTest, TheFirstHalfWaitsForTheSecond) {
  EXPECT_EQ(Joined({R"({"t":"a\ud83d"})", R"({"u":"","t":"\ude00b\uD83D"})", R"({"t":"\uDE01"})"}),
            (Events{R"({"t":"a"})", R"({"u":"","t":"\ud83d\ude00b"})", R"({"t":"\uD83D\uDE01"})"}));
  EXPECT_EQ(Joined({R"("\\\ud83d")", "1", R"("\ude00")"}), (Events{R"("\\")", "1", R"("\ud83d\ude00")"}));
}

TEST(HalfCharactersTest, AHalfOfNothing) {
  EXPECT_EQ(Joined({R"("\ud83d!")", R"("\ude00\ude00")"}), (Events{R"("\ufffd!")", R"("\ufffd\ufffd")"}));
  EXPECT_EQ(Joined({R"("\ud83d\ud83d")", R"("!\ude00")", R"("\ude00")"}),
            (Events{R"("\ufffd")", R"("!\ufffd")", R"("\ud83d\ude00")"}));
  EXPECT_EQ(Joined({R"("\ud83d")"}), (Events{R"("")"}));
  // Behind an escaped quote no text begins.
  EXPECT_EQ(Joined({R"("x\ud83d")", R"("y\"\ude00")", R"("\ude00z")"}),
            (Events{R"("x")", R"("y\"\ufffd")", R"("\ud83d\ude00z")"}));
}

// The second text is over before the character is.
TEST(HalfCharactersTest, InStreamsAndWholeAnswers) {
  const auto chunk = [](const std::string& text) { return R"({"choices":[{"delta":{"content":")" + text + R"("}}]})"; };
  const Answer open_ai = ReadEvents(NewOpenAiReader, {chunk(R"(a\ud83d)"), chunk(R"(\ude00b\ud83d)"), "[DONE]"});
  EXPECT_FALSE(open_ai.error.has_value());
  EXPECT_EQ(TextOf(open_ai.response.blocks), "a😀b");
  EXPECT_EQ(TextOf(ReadBody(NewOpenAiReader, R"({"choices":[{"message":{"content":"a\ud83d"}}]})").response.blocks), "a");

  const auto delta = [](const std::string& text) {
    return R"({"type":"content_block_delta","delta":{"type":"text_delta","text":")" + text + R"("}})";
  };
  const Answer anthropic =
      ReadEvents(NewAnthropicReader, {R"({"type":"content_block_start","content_block":{"type":"text","text":""}})",
                                      delta(R"(a\ud83d)"), delta(R"(\ude00b\ud83d)")});
  EXPECT_FALSE(anthropic.error.has_value());
  EXPECT_EQ(TextOf(anthropic.response.blocks), "a😀b");
  EXPECT_EQ(TextOf(ReadBody(NewAnthropicReader, R"({"content":[{"type":"text","text":"a\ud83d"}]})").response.blocks), "a");
}

}  // namespace
}  // namespace marathon::llm::internal::llm_half_characters_test
