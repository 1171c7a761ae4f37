// What an agent leaves in histories and stores: the kept forms of steps, inputs, results and signals, and the chain
// of digests that names a conversation.
// needs: agent
// program: agent
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/agent/control.h"
#include "marathon/agent/conversation.h"
#include "marathon/agent/result.h"
#include "marathon/agent/session.h"
#include "marathon/agent/steps.h"
#include "marathon/codec.h"
#include "marathon/llm/chat.h"
#include "src/agent/compaction.h"
#include "src/agent/head_cache.h"

namespace marathon::agent::agent_values_test {
namespace {

using nlohmann::json;

// Histories hold this: a change of it must still read the old form.
template <class T>
T ExpectStored(const T& value, std::string_view stored) {
  const auto payload = Encode(value);
  EXPECT_TRUE(payload.ok()) << payload.status();
  EXPECT_EQ(json::parse(payload.ok() ? payload->data : "null"), json::parse(stored));
  const auto read = Decode<T>({std::string(stored), Encoding::kJson});
  EXPECT_TRUE(read.ok()) << read.status();
  return read.value_or(T());
}
template <class T>
void ExpectStoredAlike(const T& value, std::string_view stored) {
  EXPECT_EQ(ExpectStored(value, stored), value);
}

llm::ChatResponse Says(std::string text) {
  llm::ChatResponse response;
  response.blocks.emplace_back(llm::Text{std::move(text)});
  return response;
}

TEST(AgentValuesTest, StepsAreStoredAsTheyAlwaysWere) {
  ModelTask task{.step = 2, .head = BlobRef{"ab", 12}, .messages = {llm::UserMessage("hi")}, .model = "m"};
  task.tools = {"search"};
  ExpectStoredAlike(task, R"({"step": 2, "head": {"sha256": "ab", "size": 12}, "model": "m", "tools": ["search"],
    "messages": [{"role": "user", "blocks": [{"type": "text", "text": "hi"}]}]})");
  ExpectStoredAlike(ModelTask{.step = 1}, R"({"step": 1, "messages": [], "model": ""})");
  ExpectStoredAlike(ModelTask{.step = 1, .summarize = MessageSpan{1, 4}},
                    R"({"step": 1, "messages": [], "model": "", "summarize": {"first": 1, "last": 4}})");
  ModelReply reply{.response = Says("ho"), .head = {"cd", 34}};
  ExpectStoredAlike(reply, R"({"head": {"sha256": "cd", "size": 34},
    "response": {"blocks": [{"type": "text", "text": "ho"}], "stop_reason": "end"}})");
  ExpectStoredAlike(ModelReply{.lost = true}, R"({"lost": true})");
  ExpectStoredAlike(ToolTask{2, "call_1", "{}"}, R"({"step": 2, "call_id": "call_1", "arguments": "{}"})");
  ExpectStoredAlike(ToolReply{.text = "4"}, R"({"text": "4"})");
  ExpectStoredAlike(ToolReply{.text = "?", .is_error = true, .unknown = true},
                    R"({"text": "?", "is_error": true, "unknown": true})");
  ExpectStoredAlike(PublishTask{.writer = "w", .frames = {"f"}}, R"({"writer": "w", "frames": ["f"]})");
  ExpectStoredAlike(PublishTask{.writer = "w", .silences = {"model/1"}},
                    R"({"writer": "w", "frames": [], "silences": ["model/1"]})");
}

TEST(AgentValuesTest, InputsAndResultsAreStoredAsTheyAlwaysWere) {
  Input input = Ask("hi");
  ExpectStoredAlike(input, R"({"messages": [{"role": "user", "blocks": [{"type": "text", "text": "hi"}]}]})");
  input.keep_messages = true;
  ExpectStoredAlike(input, R"({"keep_messages": true,
    "messages": [{"role": "user", "blocks": [{"type": "text", "text": "hi"}]}]})");
  input = Input();
  input.budget = Budget{.steps = 3, .tool_calls = -1, .tokens = 100, .micro_usd = 7, .wall = Duration(60'000)};
  ExpectStoredAlike(input, R"({"messages": [],
    "budget": {"steps": 3, "tool_calls": -1, "tokens": 100, "micro_usd": 7, "wall_ms": 60000}})");
  ExpectStoredAlike(Budget{.steps = 0, .tool_calls = 0}, "{}");
  Result result{.stop = StopReason::kBudget, .text = "so far", .output = "{}", .why = "usd", .message = "m"};
  result.spent = {.steps = 3, .tool_calls = 2, .usage = {.input = 10, .output = 5}, .micro_usd = 7, .estimated = true};
  result.messages = {llm::UserMessage("hi")};
  ExpectStoredAlike(result, R"({"stop": "budget", "text": "so far", "output": "{}", "why": "usd", "message": "m",
    "spent": {"steps": 3, "tool_calls": 2, "usage": {"input": 10, "output": 5}, "micro_usd": 7, "estimated": true},
    "messages": [{"role": "user", "blocks": [{"type": "text", "text": "hi"}]}]})");
  ExpectStoredAlike(Result{}, R"({"stop": "done", "text": "",
    "spent": {"steps": 0, "tool_calls": 0, "usage": {}, "micro_usd": 0}})");
  for (const auto& [stop, word] : std::vector<std::pair<StopReason, std::string>>{
           {StopReason::kDone, "done"}, {StopReason::kBudget, "budget"}, {StopReason::kStopped, "stopped"},
           {StopReason::kRefused, "refused"}, {StopReason::kFailed, "failed"}}) {
    EXPECT_EQ(NameOf(stop), word);
  }
}

TEST(AgentValuesTest, SessionsAreStoredAsTheyAlwaysWere) {
  ExpectStoredAlike(SessionInput(), R"({"messages": []})");
  EXPECT_TRUE(Decode<SessionInput>({"{}", Encoding::kJson}).ok());
  SessionInput input{.messages = {llm::UserMessage("hi")}, .head = BlobRef{"ab", 12}, .kept = 1, .turns = 2};
  input.spent = {.steps = 3, .tool_calls = 0, .usage = {.input = 10}, .micro_usd = 7};
  input.began = FromMicros(5);
  ExpectStoredAlike(input, R"({"messages": [{"role": "user", "blocks": [{"type": "text", "text": "hi"}]}],
    "head": {"sha256": "ab", "size": 12}, "kept": 1, "turns": 2, "began": 5,
    "spent": {"steps": 3, "tool_calls": 0, "usage": {"input": 10}, "micro_usd": 7}})");
  EXPECT_FALSE(Decode<SessionInput>({R"({"messages": [], "kept": 1})", Encoding::kJson}).ok());
  ExpectStoredAlike(SessionResult{.why = "closed", .reason = "late", .turns = 2},
                    R"({"why": "closed", "reason": "late", "turns": 2,
    "spent": {"steps": 0, "tool_calls": 0, "usage": {}, "micro_usd": 0}})");
  const SessionStatus status = ExpectStored(SessionStatus{.turns = 2, .busy = true, .waiting = 1},
                                            R"({"turns": 2, "busy": true, "waiting": 1,
    "spent": {"steps": 0, "tool_calls": 0, "usage": {}, "micro_usd": 0}})");
  EXPECT_TRUE(status.busy);
  EXPECT_EQ(kSay.name, "agent.say");
  EXPECT_EQ(kClose.name, "agent.close");
  EXPECT_EQ(kSession.name, "agent.session");
}

TEST(AgentValuesTest, SignalsAreStoredAsTheyAlwaysWere) {
  ExpectStoredAlike(Decision{"1/c", "d"}, R"({"key": "1/c", "digest": "d", "verdict": "approve"})");
  ExpectStoredAlike(Decision{"1/c", "d", Verdict::kDeny, "no"},
                    R"({"key": "1/c", "digest": "d", "verdict": "deny", "text": "no"})");
  ExpectStoredAlike(Decision{"1/c", "d", Verdict::kEdit, "", "{}"},
                    R"({"key": "1/c", "digest": "d", "verdict": "edit", "arguments": "{}"})");
  EXPECT_FALSE(Decode<Decision>({R"({"key": "1/c", "digest": "d", "verdict": "maybe"})", Encoding::kJson}).ok());
  EXPECT_EQ(ExpectStored(Steering{"left"}, R"({"text": "left"})").text, "left");
  EXPECT_EQ(ExpectStored(StopOrder{"late"}, R"({"reason": "late"})").reason, "late");
  PendingApproval pending{"1/c", "pay", "{}", "d", FromMicros(5), FromMicros(9)};
  ExpectStoredAlike(pending, R"({"key": "1/c", "tool": "pay", "arguments": "{}", "digest": "d", "asked": 5,
    "expires": 9})");
  EXPECT_EQ(kDecide.name, "agent.decide");
  EXPECT_EQ(kSteer.name, "agent.steer");
  EXPECT_EQ(kStop.name, "agent.stop");
  EXPECT_EQ(kPending.name, "agent.pending");
  EXPECT_EQ(kStatus.name, "agent.status");
}

// Digests are in histories, too: they are compared with what newer code makes.
TEST(AgentValuesTest, TheChainIsWhatItAlwaysWas) {
  Conversation conversation;
  conversation.Add(llm::UserMessage("hi"));
  const BlobRef first = conversation.Answer(Says("ho"));
  const std::string bytes =
      R"({"messages":[{"blocks":[{"text":"hi","type":"text"}],"role":"user"},)"
      R"({"blocks":[{"text":"ho","type":"text"}],"role":"assistant"}]})";
  EXPECT_EQ(first, RefOf(bytes));
  EXPECT_EQ(first.size, bytes.size());
  EXPECT_EQ(first.sha256, "c2ca6379cae32508c951eff9ae3b26ff4db24e9c7f545eb17b5f1879e4fb67c0");
  conversation.Add(llm::UserMessage("and?"));
  EXPECT_EQ(conversation.fresh().size(), 1u);
  const BlobRef second = conversation.Answer(Says("no"));
  const ConversationNode node{first, {llm::UserMessage("and?"), llm::AssistantMessage("no")}};
  EXPECT_EQ(second, RefOf(node.ToBytes()));
  const auto read = ConversationNode::FromBytes(node.ToBytes());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, node);
  EXPECT_FALSE(ConversationNode::FromBytes("{}").ok());
  EXPECT_TRUE(conversation.fresh().empty());
}

TEST(AgentValuesTest, AForgottenConversationIsAllFresh) {
  Conversation conversation;
  conversation.Add(llm::UserMessage("hi"));
  const BlobRef first = conversation.Answer(Says("ho"));
  conversation.Add(llm::UserMessage("and?"));
  conversation.Forget();
  EXPECT_FALSE(conversation.head().has_value());
  EXPECT_EQ(conversation.fresh().size(), 3u);
  const BlobRef second = conversation.Answer(Says("no"));
  EXPECT_EQ(second, RefOf(ConversationNode{std::nullopt, conversation.messages()}.ToBytes()));
  EXPECT_NE(second, first);
}

llm::Message Calling(const std::vector<std::string>& ids) {
  llm::Message message{.role = llm::Role::kAssistant, .blocks = {}};
  for (const std::string& id : ids) message.blocks.emplace_back(llm::ToolCall{id, "t", "{}"});
  return message;
}
llm::Message Giving(const std::vector<std::string>& ids) {
  llm::Message message;
  for (const std::string& id : ids) message.blocks.emplace_back(llm::ToolResult{.call_id = id});
  return message;
}

TEST(AgentValuesTest, NoCallIsPartedFromItsResult) {
  Conversation conversation;
  EXPECT_TRUE(conversation.Older(0).empty());
  conversation.Add(llm::SystemMessage("rules"));
  EXPECT_TRUE(conversation.Older(0).empty());
  conversation.Add(llm::UserMessage("go"));         // 1
  conversation.Add(Calling({"a", "b", "a"}));       // 2
  conversation.Add(Giving({"a", "b"}));             // 3
  conversation.Add(llm::UserMessage("be quick"));   // 4
  conversation.Add(Giving({"a"}));                  // 5
  conversation.Add(llm::AssistantMessage("so"));    // 6
  conversation.Add(Calling({"c"}));                 // 7, which waits
  EXPECT_EQ(conversation.Older(0), (MessageSpan{1, 7}));
  EXPECT_EQ(conversation.Older(1), (MessageSpan{1, 7}));
  EXPECT_EQ(conversation.Older(2), (MessageSpan{1, 6}));
  for (const int keep : {3, 4, 5, 6}) EXPECT_EQ(conversation.Older(keep), (MessageSpan{1, 2})) << keep;
  EXPECT_TRUE(conversation.Older(7).empty());
  EXPECT_TRUE(conversation.Older(100).empty());
}

TEST(AgentValuesTest, ASummaryBeginsANewChain) {
  Conversation conversation;
  conversation.Add(llm::SystemMessage("rules"));
  conversation.Add(llm::UserMessage("hi"));
  conversation.Answer(Says("ho"));
  conversation.Add(llm::UserMessage("and?"));
  const MessageSpan span{1, 3};
  EXPECT_EQ(conversation.HeadOf(span, Says("they met")),
            RefOf(ConversationNode{std::nullopt, {llm::UserMessage("hi"), llm::AssistantMessage("ho"),
                                                  llm::AssistantMessage("they met")}}.ToBytes()));
  conversation.Replace(span, internal::SummaryMessage("they met"));
  const std::vector<llm::Message> all = {llm::SystemMessage("rules"),
                                         llm::UserMessage("[What was said before, in short]\nthey met"),
                                         llm::UserMessage("and?")};
  EXPECT_EQ(conversation.messages(), all);
  EXPECT_EQ(conversation.fresh(), all);
  EXPECT_FALSE(conversation.head().has_value());
}

// By the bytes of whole conversations; the last one stays however long it is.
TEST(AgentValuesTest, TheCacheForgetsWhatWasUsedLongestAgo) {
  internal::HeadCache cache(100);
  const auto chunks = [](size_t bytes) {
    internal::Chunks made;
    made.Add({llm::UserMessage("hi")}, bytes);
    return made;
  };
  cache.Put("a", chunks(40), "");
  cache.Put("b", chunks(40), "");
  EXPECT_TRUE(cache.Find("a").has_value());
  cache.Put("c", chunks(40), "");
  EXPECT_FALSE(cache.Find("b").has_value());
  EXPECT_EQ(cache.Find("a")->bytes, 40u);
  cache.Put("d", chunks(60), "a");  // goes on from a: a is it no more
  EXPECT_FALSE(cache.Find("a").has_value());
  EXPECT_TRUE(cache.Find("c").has_value());
  cache.Put("e", chunks(1'000), "d");
  EXPECT_TRUE(cache.Find("e").has_value());
  EXPECT_FALSE(cache.Find("c").has_value());
}

TEST(AgentValuesTest, ADigestIsOfTheValueAndNotOfItsText) {
  EXPECT_EQ(DigestOf(json::parse(R"({"a": 1, "b": 2})")), DigestOf(json::parse(R"({"b":2,"a":1})")));
  EXPECT_NE(DigestOf(json::parse(R"({"a": 1})")), DigestOf(json::parse(R"({"a": 2})")));
  EXPECT_EQ(DigestOf(json::object()), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

}  // namespace
}  // namespace marathon::agent::agent_values_test
