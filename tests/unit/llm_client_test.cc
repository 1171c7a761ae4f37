// The client over a server that misbehaves as the tests say: pieces that end anywhere, errors of every kind,
// silence, resets, and a thousand streams at a time.
// needs: llm
// program: llm
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../stream_server.h"
#include "marathon/llm/client.h"

namespace marathon::llm::llm_client_test {
namespace {

using namespace std::chrono_literals;
using tests::DoubleRequest;
using tests::Pieces;
using tests::StreamEnd;
using tests::StreamReply;
using tests::StreamServer;

// The events of an answer "Grüße 😀".
std::string OpenAiEvents() {
  std::string events = ": hello\r\n\r\n";
  for (const char* piece : {"Gr", "üße ", "😀"}) {
    events += R"(data: {"id":"r1","model":"m","choices":[{"index":0,"delta":{"content":")" +
              std::string(piece) + "\"}}]}\r\n\r\n";
  }
  return events + R"(data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})" "\n\n"
                  R"(data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}})" "\n\n"
                  "data: [DONE]\n\n";
}

// One call, and what came of it.
class Caller {
 public:
  void Start(Model& model, std::stop_token stop = {}, std::string text = "u") {
    ChatRequest request{.model = "m"};
    request.messages = {UserMessage(std::move(text))};
    model.Chat(
        std::move(request), std::move(stop),
        [this](const Delta& delta) {
          const std::lock_guard lock(mutex_);
          text_ += delta.text;
          changed_.notify_all();
        },
        [this](ChatResult result) {
          const std::lock_guard lock(mutex_);
          EXPECT_FALSE(result_.has_value()) << "two results";
          result_ = std::move(result);
          changed_.notify_all();
        });
  }
  ChatResult Result() {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, 120s, [&] { return result_.has_value(); });
    EXPECT_TRUE(came) << "no result";
    return came ? *result_ : Error();
  }
  Error ErrorOf() {
    const ChatResult result = Result();
    const auto* error = std::get_if<Error>(&result);
    EXPECT_NE(error, nullptr) << "it is a response";
    return error != nullptr ? *error : Error();
  }
  bool WaitForText(const std::string& text) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 120s, [&] { return text_ == text; });
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::optional<ChatResult> result_;
};

std::shared_ptr<Client> Open(Endpoint endpoint) {
  auto client = Client::Open(std::move(endpoint));
  EXPECT_TRUE(client.ok()) << client.status();
  return client.ok() ? *client : nullptr;
}
std::shared_ptr<Client> Open(const StreamServer& server, Endpoint endpoint = {}) {
  endpoint.base_url = server.url() + "/v1/";
  return Open(std::move(endpoint));
}

// The error that one call to a server which answers so comes to.
Error ErrorOfReply(StreamReply reply, Endpoint endpoint = {}) {
  StreamServer server([&](const DoubleRequest&) { return reply; });
  const auto client = Open(server, std::move(endpoint));
  Caller caller;
  caller.Start(*client);
  return caller.ErrorOf();
}

TEST(LlmClientTest, StreamsInPiecesOfAnySize) {
  for (const size_t size : {1, 2, 3, 7, 100'000}) {
    StreamServer server([&](const DoubleRequest&) {
      return StreamReply{.pieces = Pieces(OpenAiEvents(), size)};
    });
    const auto client = Open(server, {.api_key = "sk-secret-key"});
    Caller caller;
    caller.Start(*client);
    const ChatResult result = caller.Result();
    const auto* response = std::get_if<ChatResponse>(&result);
    ASSERT_NE(response, nullptr) << std::get<Error>(result).message;
    EXPECT_EQ(TextOf(response->blocks), "Grüße 😀");
    EXPECT_EQ(caller.text(), "Grüße 😀");
    EXPECT_EQ(response->usage, (Usage{.input = 3, .output = 4}));
    ASSERT_EQ(server.requests().size(), 1u);
    const DoubleRequest request = server.requests()[0];
    EXPECT_EQ(request.method + " " + request.path, "POST /v1/chat/completions");
    EXPECT_EQ(request.headers.at("authorization"), "Bearer sk-secret-key");
    EXPECT_EQ(request.headers.at("accept"), "text/event-stream");
    EXPECT_NE(request.body.find(R"("content":"u")"), std::string::npos);
  }
}

TEST(LlmClientTest, SpeaksAnthropicToo) {
  StreamServer server([](const DoubleRequest&) {
    return StreamReply{.pieces = {
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"r\"}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
        "\"content_block\":{\"type\":\"text\",\"text\":\"Hi\"}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"}};
  });
  const auto client = Open({.protocol = Protocol::kAnthropic, .base_url = server.url(),
                            .api_key = "sk-secret-key", .headers = {"anthropic-beta: x"}});
  Caller caller;
  caller.Start(*client);
  EXPECT_TRUE(std::holds_alternative<ChatResponse>(caller.Result()));
  EXPECT_EQ(caller.text(), "Hi");
  const DoubleRequest request = server.requests().at(0);
  EXPECT_EQ(request.path, "/v1/messages");
  EXPECT_EQ(request.headers.at("x-api-key"), "sk-secret-key");
  EXPECT_EQ(request.headers.at("anthropic-version"), "2023-06-01");
  EXPECT_EQ(request.headers.at("anthropic-beta"), "x");
}

TEST(LlmClientTest, TakesAWholeAnswer) {
  const std::string body =
      R"({"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]})";
  for (const bool stream : {false, true}) {  // a server may answer so although it is asked to stream
    StreamServer server([&](const DoubleRequest&) {
      return StreamReply{.headers = {{"Content-Type", "application/json; charset=utf-8"}},
                         .pieces = Pieces(body, 5)};
    });
    const auto client = Open(server, {.stream = stream});
    Caller caller;
    caller.Start(*client);
    const ChatResult result = caller.Result();
    ASSERT_TRUE(std::holds_alternative<ChatResponse>(result)) << std::get<Error>(result).message;
    EXPECT_EQ(caller.text(), "Hi");
  }
}

TEST(LlmClientTest, ErrorsByStatusWithTheirWait) {
  StreamReply reply{.status = 429, .pieces = {R"({"error":{"message":"slow","code":"slow_down"}})"}};
  reply.headers = {{"Retry-After", "7"}, {"x-request-id", "q1"}};
  Error error = ErrorOfReply(reply);
  EXPECT_EQ(error.error_class, ErrorClass::kRateLimit);
  EXPECT_EQ(error.retry_after, Duration(7'000));
  EXPECT_EQ(error.request_id, "q1");
  EXPECT_EQ(error.message, "slow");
  EXPECT_EQ(ErrorOfReply({.status = 529}).error_class, ErrorClass::kOverloaded);
  error = ErrorOfReply({.status = 302, .headers = {{"Location", "http://127.0.0.1:1/"}}});
  EXPECT_EQ(error.error_class, ErrorClass::kBadRequest);
  EXPECT_NE(error.message.find("base_url"), std::string::npos);
}

TEST(LlmClientTest, AnErrorInA200Stream) {
  const std::string events = OpenAiEvents();
  StreamReply reply;
  reply.pieces = {events.substr(0, events.find("\xC3")) + "\n\n",
                  "data: {\"error\":{\"message\":\"busy\",\"code\":\"server_is_overloaded\"}}\n\n"};
  const Error error = ErrorOfReply(reply);
  EXPECT_EQ(error.error_class, ErrorClass::kTransient) << "a chunk that is cut is nonsense";
  reply.pieces[0] = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
  const Error overloaded = ErrorOfReply(reply);
  EXPECT_EQ(overloaded.error_class, ErrorClass::kOverloaded);
  EXPECT_EQ(overloaded.http_status, 200);
  EXPECT_TRUE(overloaded.partial);
}

TEST(LlmClientTest, ATruncatedStreamIsNoSuccess) {
  const std::string all = OpenAiEvents();
  const std::string half = all.substr(0, all.find("\xF0"));
  for (const StreamEnd end : {StreamEnd::kWhole, StreamEnd::kCut, StreamEnd::kReset}) {
    const Error error = ErrorOfReply({.pieces = Pieces(half, 50), .end = end});
    EXPECT_EQ(error.error_class, ErrorClass::kTruncated) << error.message;
    EXPECT_TRUE(error.retryable);
    EXPECT_TRUE(error.partial);
  }
  EXPECT_EQ(ErrorOfReply({}).error_class, ErrorClass::kTruncated) << "an empty stream";
  EXPECT_FALSE(ErrorOfReply({}).partial);
}

TEST(LlmClientTest, AnAnswerThatHasItsEndMayLoseItsConnection) {
  for (const StreamEnd end : {StreamEnd::kCut, StreamEnd::kReset, StreamEnd::kStall}) {
    StreamServer server([&](const DoubleRequest&) {
      return StreamReply{.pieces = Pieces(OpenAiEvents(), 50), .end = end};
    });
    const auto client = Open(server, {.idle_timeout = end == StreamEnd::kStall ? 3s : 120s});
    Caller caller;
    caller.Start(*client);
    EXPECT_TRUE(std::holds_alternative<ChatResponse>(caller.Result())) << static_cast<int>(end);
  }
}

TEST(LlmClientTest, TimesOut) {
  const StreamReply silent{.end = StreamEnd::kStall};
  EXPECT_EQ(ErrorOfReply(silent, {.idle_timeout = 50ms}).error_class, ErrorClass::kTimeout);
  EXPECT_TRUE(ErrorOfReply(silent, {.idle_timeout = 50ms}).sent);
  EXPECT_EQ(ErrorOfReply(silent, {.idle_timeout = 0ms, .total_timeout = 50ms}).error_class,
            ErrorClass::kTimeout);
  const Error error = ErrorOfReply({.pieces = {"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"},
                                    .end = StreamEnd::kStall}, {.idle_timeout = 3s});
  EXPECT_EQ(error.error_class, ErrorClass::kTimeout);
  EXPECT_TRUE(error.partial);
}

// An answer costs money, and perhaps it was being made: only the retry policy asks again.
TEST(LlmClientTest, WhatAKeptConnectionLosesIsNotSentAgain) {
  for (const StreamEnd end : {StreamEnd::kCut, StreamEnd::kReset}) {
    std::atomic<int> asked = 0;
    StreamServer server([&](const DoubleRequest&) {
      if (++asked == 1) return StreamReply{.pieces = {OpenAiEvents()}};
      return StreamReply{.status = 0, .end = end};
    });
    const auto client = Open(server);
    Caller first, second;
    first.Start(*client);
    EXPECT_TRUE(std::holds_alternative<ChatResponse>(first.Result()));
    second.Start(*client, {}, std::string(300'000, 'x'));
    const Error error = second.ErrorOf();
    EXPECT_EQ(error.error_class, ErrorClass::kTransient) << error.message;
    EXPECT_FALSE(error.partial);
    EXPECT_TRUE(error.sent);
    EXPECT_EQ(asked, 2) << error.message;
    EXPECT_NE(error.message.find("rewind"), error.message.npos)
        << "the library did not want to send it again, perhaps because it kept no connection: " << error.message;
    EXPECT_GE(server.requests()[1].body.size(), 300'000u);
  }
}

TEST(LlmClientTest, NobodyThereIsTransient) {
  std::string url;
  {
    const StreamServer gone([](const DoubleRequest&) { return StreamReply(); });
    url = gone.url();
  }
  const auto client = Open({.base_url = url});
  Caller caller;
  caller.Start(*client);
  const Error error = caller.ErrorOf();
  EXPECT_EQ(error.error_class, ErrorClass::kTransient);
  EXPECT_FALSE(error.sent);
}

TEST(LlmClientTest, BoundsTheAnswer) {
  StreamReply endless{.pieces = Pieces("data: " + std::string(2'000, 'x'), 100)};
  EXPECT_EQ(ErrorOfReply(endless, {.response_max = 1'000}).error_class, ErrorClass::kTooLarge);
  endless.status = 500;
  endless.pieces = std::vector<std::string>(100, std::string(64 << 10, 'x'));
  EXPECT_EQ(ErrorOfReply(endless).error_class, ErrorClass::kTransient);
}

// A server with TLS and a certificate that nobody has signed.
class TlsServer {
 public:
  TlsServer() {
    const std::string make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
                             " -addext subjectAltName=IP:127.0.0.1 -keyout " + file("key") + " -out " +
                             file("cert") + " 2>/dev/null";
    EXPECT_EQ(std::system(make.c_str()), 0);
    const std::string serve = "exec python3 -c '" + std::string(kServer) + "' " + file("cert") + " " +
                              file("key");
    pipe_ = popen(serve.c_str(), "r");
    EXPECT_EQ(fscanf(pipe_, "%d", &port_), 1);
  }
  ~TlsServer() {
    pclose(pipe_);  // it ends after three calls
    for (const char* name : {"key", "cert"}) std::remove(file(name).c_str());
  }
  std::string url() const { return "https://127.0.0.1:" + std::to_string(port_); }
  static std::string file(const std::string& name) {
    return ::testing::TempDir() + "marathon_tls_" + std::to_string(getpid()) + "." + name;
  }

 private:
  static constexpr const char* kServer = R"(
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = b"{\"choices\":[{\"message\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Server(http.server.HTTPServer):
    def handle_error(self, *args):
        pass
server = Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
for _ in range(3):
    server.handle_request()
)";
  FILE* pipe_ = nullptr;
  int port_ = 0;
};

TEST(LlmClientTest, ChecksCertificates) {
  TlsServer server;
  const auto result = [&](Endpoint endpoint) {
    endpoint.base_url = server.url();
    const auto client = Open(std::move(endpoint));
    Caller caller;
    caller.Start(*client);
    return caller.Result();
  };
  const ChatResult untrusted = result({});
  ASSERT_TRUE(std::holds_alternative<Error>(untrusted));
  EXPECT_EQ(std::get<Error>(untrusted).error_class, ErrorClass::kAuth);
  EXPECT_TRUE(std::holds_alternative<ChatResponse>(result({.ca_file = TlsServer::file("cert")})));
  EXPECT_TRUE(std::holds_alternative<ChatResponse>(result({.verify_tls = false})));
}

TEST(LlmClientTest, CancelClosesTheConnection) {
  StreamServer server([](const DoubleRequest&) {
    return StreamReply{.pieces = {"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"},
                       .end = StreamEnd::kStall};
  });
  const auto client = Open(server);
  std::stop_source stop;
  Caller caller;
  caller.Start(*client, stop.get_token());
  EXPECT_TRUE(caller.WaitForText("a"));
  stop.request_stop();
  const Error error = caller.ErrorOf();
  EXPECT_EQ(error.error_class, ErrorClass::kCanceled);
  EXPECT_TRUE(error.partial);
  EXPECT_TRUE(error.sent);
  EXPECT_TRUE(server.WaitForClosed(1));

  Caller never;
  never.Start(*client, stop.get_token());
  const Error unsent = never.ErrorOf();
  EXPECT_EQ(unsent.error_class, ErrorClass::kCanceled);
  EXPECT_FALSE(unsent.sent);
  EXPECT_EQ(server.requests().size(), 1u) << "it was not even sent";
}

TEST(LlmClientTest, ClosingEndsWhatIsUnderWay) {
  StreamServer server([](const DoubleRequest&) { return StreamReply{.end = StreamEnd::kStall}; });
  auto client = Open(server);
  std::vector<Caller> callers(10);
  for (Caller& caller : callers) caller.Start(*client);
  EXPECT_TRUE(server.WaitForWaiting(10));
  client.reset();
  for (Caller& caller : callers) EXPECT_EQ(caller.ErrorOf().error_class, ErrorClass::kCanceled);
}

// The last reference to a client may go on its own thread.
TEST(LlmClientTest, MayBeClosedByItsOwnCallback) {
  StreamServer server([](const DoubleRequest&) { return StreamReply{.status = 500}; });
  auto client = Open(server);
  Caller after;
  std::mutex mutex;
  std::condition_variable changed;
  bool closed = false;
  ChatRequest request{.model = "m"};
  request.messages = {UserMessage("u")};
  Client& open = *client;
  std::unique_lock lock(mutex);
  open.Chat(request, {}, {}, [&](ChatResult) {
    const std::lock_guard inner(mutex);
    client.reset();
    closed = true;
    changed.notify_all();
  });
  EXPECT_TRUE(changed.wait_for(lock, 120s, [&] { return closed; }));
}

TEST(LlmClientTest, KeepsConnections) {
  StreamServer server([](const DoubleRequest&) {
    return StreamReply{.pieces = Pieces(OpenAiEvents(), 1'000)};
  });
  const auto client = Open(server);
  for (int i = 0; i < 3; ++i) {
    Caller caller;
    caller.Start(*client);
    EXPECT_TRUE(std::holds_alternative<ChatResponse>(caller.Result()));
  }
  EXPECT_EQ(server.connections(), 1u);
}

TEST(LlmClientTest, AThousandStreamsAtATime) {
  constexpr size_t kCalls = 1'000;
  StreamServer server([](const DoubleRequest&) {
    return StreamReply{.pieces = Pieces(OpenAiEvents(), 60), .gate = 2};
  });
  const auto client = Open(server, {.connect_timeout = 60s});
  std::vector<Caller> callers(kCalls);
  for (size_t i = 0; i < kCalls; ++i) callers[i].Start(*client, {}, std::to_string(i));
  ASSERT_TRUE(server.WaitForWaiting(kCalls)) << "not all are under way at once";
  server.OpenGate();
  for (Caller& caller : callers) {
    const ChatResult result = caller.Result();
    ASSERT_TRUE(std::holds_alternative<ChatResponse>(result)) << std::get<Error>(result).message;
    EXPECT_EQ(caller.text(), "Grüße 😀");
  }
}

TEST(LlmClientTest, SaysWhatIsWrongWithAnEndpoint) {
  const auto expect = [](Endpoint endpoint, std::string_view words) {
    const auto client = Client::Open(std::move(endpoint));
    EXPECT_EQ(client.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(marathon::MessageOf(client.status()).find(words), std::string::npos) << client.status();
    EXPECT_EQ(marathon::MessageOf(client.status()).find("sk-"), std::string::npos);
  };
  expect({.base_url = "localhost:80"}, "not an http or https URL");
  expect({.base_url = "http://"}, "not an http or https URL");
  expect({.base_url = "http://x/\r\ny"}, "not an http or https URL");
  expect({.base_url = "https://u:p@x"}, "api_key");
  expect({.base_url = "http://example.com", .api_key = "sk-1"}, "by http");
  expect({.api_key = "sk-1\r\nX: y"}, "api_key");
  expect({.headers = {"sk-1"}}, "Name: value");
  expect({.headers = {"a: b\r\nc: d"}}, "Name: value");
  expect({.idle_timeout = -1ms}, "negative");
  EXPECT_TRUE(Client::Open({.base_url = "http://example.com", .api_key = "k", .insecure = true}).ok());
  EXPECT_TRUE(Client::Open({.base_url = "http://example.com"}).ok());
  EXPECT_TRUE(Client::Open({}).ok());
}

TEST(LlmClientTest, AnEndpointFromTheEnvironment) {
  const std::vector<std::string> names = {"OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"};
  std::map<std::string, std::string> before;
  for (const std::string& name : names) {
    if (const char* value = std::getenv(name.c_str())) before[name] = value;
  }
  const auto endpoint_of = [&](const std::map<std::string, std::string>& environment) {
    for (const std::string& name : names) unsetenv(name.c_str());
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    return EndpointFromEnvironment();
  };
  EXPECT_EQ(endpoint_of({}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(endpoint_of({{"OPENAI_API_KEY", ""}}).status().code(), StatusCode::kNotFound);
  const auto local = endpoint_of({{"OPENAI_BASE_URL", "http://localhost:1/v1"}, {"ANTHROPIC_API_KEY", "k"}});
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_EQ(local->protocol, Protocol::kOpenAi);
  EXPECT_EQ(local->base_url, "http://localhost:1/v1");
  EXPECT_EQ(local->api_key, "");
  const auto openai = endpoint_of({{"OPENAI_API_KEY", "sk-1"}});
  ASSERT_TRUE(openai.ok()) << openai.status();
  EXPECT_EQ(openai->base_url + openai->api_key, "sk-1");
  const auto anthropic = endpoint_of({{"ANTHROPIC_BASE_URL", "https://x"}, {"ANTHROPIC_API_KEY", "sk-2"}});
  ASSERT_TRUE(anthropic.ok()) << anthropic.status();
  EXPECT_EQ(anthropic->protocol, Protocol::kAnthropic);
  EXPECT_EQ(anthropic->base_url + anthropic->api_key, "https://xsk-2");
  static_cast<void>(endpoint_of(before));
}

// Some providers repeat the key that they refuse.
TEST(LlmClientTest, NoErrorHasTheKey) {
  const Error error = ErrorOfReply(
      {.status = 401, .pieces = {R"({"error":{"message":"bad key sk-12345678, other-secret, sk-12345678"}})"}},
      {.api_key = "sk-12345678", .headers = {"api-key:  other-secret"}});
  EXPECT_EQ(error.error_class, ErrorClass::kAuth);
  EXPECT_EQ(error.message, "bad key [secret], [secret], [secret]");
  // Nor a part of it, where the message is cut off.
  const std::string longer = std::string(494, '.') + "sk-12345678, and more";
  EXPECT_EQ(ErrorOfReply({.status = 401, .pieces = {R"({"error":{"message":")" + longer + "\"}}"}},
                         {.api_key = "sk-12345678"}).message,
            std::string(494, '.') + "[secret]");
}

TEST(LlmClientTest, ABadRequestIsNotSent) {
  const auto client = Open({.base_url = "http://localhost:1"});
  ChatRequest request;
  std::optional<ChatResult> result;
  client->Chat(request, {}, {}, [&](ChatResult said) { result = std::move(said); });
  ASSERT_TRUE(result.has_value()) << "it needs no thread";
  EXPECT_EQ(std::get<Error>(*result).error_class, ErrorClass::kBadRequest);
}

}  // namespace
}  // namespace marathon::llm::llm_client_test
