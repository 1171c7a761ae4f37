// What the tests over an independent peer share: a client of it in one protocol, whole or streamed, and what it hears.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include "../peer_server.h"
#include "marathon/llm/client.h"

namespace marathon::llm::llm_peer {

using tests::PeerServer;

inline constexpr const char* kWeatherSchema = R"({"type":"object","properties":{"town":{"type":"string"}},"required":["town"]})";

// A call under way, and what comes of it.
struct Heard {
  std::promise<ChatResult> result;
  std::map<size_t, std::string> pieces;  // of texts, reasoning and arguments, put together, by block
  int count = 0;

  void Ask(Model& model, ChatRequest request) {
    model.Chat(
        std::move(request), {},
        [this](const Delta& delta) {
          ++count;
          if (delta.kind != Delta::Kind::kToolCall) pieces[delta.block] += delta.text;
        },
        [this](ChatResult said) { result.set_value(std::move(said)); });
  }
};

inline const std::string& WordsOf(const Block& block) {
  static const std::string kNone;
  if (const auto* text = std::get_if<Text>(&block)) return text->text;
  if (const auto* call = std::get_if<ToolCall>(&block)) return call->arguments;
  if (const auto* reasoning = std::get_if<Reasoning>(&block)) return reasoning->text;
  return kNone;
}

inline ChatRequest Asking(std::string words) {
  ChatRequest request{.model = "claude-sonnet-4-5"};  // one that the peer lets think, in either protocol
  request.messages = {SystemMessage("Be brief."), UserMessage(std::move(words))};
  return request;
}

class PeerTest : public ::testing::Test {
 protected:
  PeerTest() { peer_.Reset(); }

  std::shared_ptr<Client> Open(Protocol protocol, Endpoint endpoint = {}) {
    endpoint.protocol = protocol;
    endpoint.base_url = peer_.url() + (protocol == Protocol::kOpenAi ? "/v1" : "");
    if (endpoint.api_key.empty()) endpoint.api_key = PeerServer::kKey;
    auto client = Client::Open(std::move(endpoint));
    EXPECT_TRUE(client.ok()) << client.status();
    return *client;
  }

  PeerServer& peer_ = PeerServer::Get();
};

// Of a protocol, streamed or not.
class PeerChat : public PeerTest, public ::testing::WithParamInterface<std::tuple<Protocol, bool>> {
 protected:
  Protocol protocol() const { return std::get<0>(GetParam()); }
  bool is_anthropic() const { return protocol() == Protocol::kAnthropic; }
  bool streams() const { return std::get<1>(GetParam()); }

  std::shared_ptr<Client> Open(Endpoint endpoint = {}) {
    endpoint.stream = streams();
    endpoint.headers = {"X-AIMock-Strict: true"};  // it says so where a request is not as the provider wants it
    return PeerTest::Open(protocol(), std::move(endpoint));
  }

  ChatResult Ask(Model& model, ChatRequest request) {
    Heard heard;
    heard.Ask(model, std::move(request));
    ChatResult result = heard.result.get_future().get();
    if (const auto* response = std::get_if<ChatResponse>(&result)) {
      for (size_t i = 0; i < response->blocks.size(); ++i) {
        EXPECT_EQ(heard.pieces[i], WordsOf(response->blocks[i])) << "the pieces are not the whole, block " << i;
      }
    }
    pieces_ = heard.count;
    return result;
  }
  ChatResponse ResponseTo(ChatRequest request) {
    const auto client = Open();
    const ChatResult result = Ask(*client, std::move(request));
    const auto* response = std::get_if<ChatResponse>(&result);
    if (response != nullptr) return *response;
    ADD_FAILURE() << std::get<Error>(result).message;
    return {};
  }
  Error ErrorTo(ChatRequest request, Endpoint endpoint = {}) {
    const auto client = Open(std::move(endpoint));
    const ChatResult result = Ask(*client, std::move(request));
    const auto* error = std::get_if<Error>(&result);
    if (error != nullptr) return *error;
    ADD_FAILURE() << "it is a response: " << TextOf(std::get<ChatResponse>(result).blocks);
    return {};
  }

  int pieces_ = 0;  // of the last call
};

inline std::string NameOfTest(const ::testing::TestParamInfo<std::tuple<Protocol, bool>>& each) {
  const auto [protocol, streams] = each.param;
  return std::string(protocol == Protocol::kAnthropic ? "Anthropic" : "OpenAi") + (streams ? "Streamed" : "Whole");
}
inline auto EachProtocol() { return ::testing::Values(Protocol::kOpenAi, Protocol::kAnthropic); }

}  // namespace marathon::llm::llm_peer
