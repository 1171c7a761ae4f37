// Client: the models of one provider, over HTTP. One thread carries all its calls, thousands at a time.
//
//   auto client = llm::Client::Open({.protocol = llm::Protocol::kAnthropic, .api_key = key});
//   (*client)->Chat(request, {}, [](const llm::Delta& delta) { … }, [](llm::ChatResult result) { … });
//
// Safe from any thread. Link marathon::llm.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/llm/embed.h"
#include "marathon/llm/model.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::llm {

enum class Protocol : uint8_t {
  kOpenAi,     // Chat Completions: OpenAI's, and that of the many servers that speak it
  kAnthropic,  // Messages
};

struct Endpoint {
  Protocol protocol = Protocol::kOpenAi;
  // Up to and with the version for kOpenAi ("http://localhost:8080/v1"), without it for kAnthropic. Empty:
  // the provider's own. http: only to this machine, unless there is no key or `insecure` says so.
  std::string base_url{};
  std::string api_key{};               // in no log, error or history
  std::vector<std::string> headers{};  // further ones, "Name: value"
  bool insecure = false;

  Duration connect_timeout{5'000};
  Duration idle_timeout{120'000};   // nothing came for so long, not even a sign of life; 0: none
  Duration total_timeout{600'000};  // 0: none

  bool stream = true;      // false: for servers that cannot; the idle timeout does not count then
  bool old_max_tokens = false;  // kOpenAi: for servers that know `max_tokens` only
  bool verify_tls = true;
  std::string ca_file{};        // PEM; empty: the machine's
  size_t response_max = 16u << 20;  // bytes, as they come

  // Of each model, for all workers of a store together that use the same host and key: activities and agents keep to
  // them, through the engine's Limiter. 0: as many as the provider's own words allow, which count in any case.
  int64_t requests_per_minute = 0;
  int64_t tokens_per_minute = 0;  // of questions and answers
};

// The endpoint that the environment names, as SDKs do: OPENAI_BASE_URL and OPENAI_API_KEY, or else ANTHROPIC_BASE_URL and
// ANTHROPIC_API_KEY; one of a pair will do. kNotFound: none is set.
MARATHON_EXPORT StatusOr<Endpoint> EndpointFromEnvironment();

// The key of the endpoint's limits in Engine::limiter(). Of the API key and the headers it has a digest only.
MARATHON_EXPORT std::string LimitKey(const Endpoint& endpoint, std::string_view model);

class MARATHON_EXPORT Client final : public Model, public Embedder {
 public:
  // kInvalidArgument: the endpoint cannot be meant so. Nothing is sent yet.
  static StatusOr<std::shared_ptr<Client>> Open(Endpoint endpoint);
  // Ends what is under way with kCanceled.
  ~Client() override;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override;
  void ChatWithin(Pace pace, ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override;
  // kOpenAi only; with kAnthropic, which has none, kBadRequest.
  void Embed(EmbedRequest request, std::stop_token stop, OnVectors done) override;
  void EmbedWithin(Pace pace, EmbedRequest request, std::stop_token stop, OnVectors done) override;

 private:
  class Calls;
  explicit Client(std::shared_ptr<Calls> calls);
  const std::shared_ptr<Calls> calls_;
};

}  // namespace marathon::inline MARATHON_ABI::llm
