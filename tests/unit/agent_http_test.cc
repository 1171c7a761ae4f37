// The tool that makes HTTP calls: what it gives, where it does not go, and what it keeps to itself.
// needs: agent testing
// program: agent
#include <gmock/gmock.h>
#include <netinet/in.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../http_double.h"
#include "../stream_server.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/tools/http.h"
#include "marathon/engine.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/testing/activity_tester.h"
#include "src/agent/tools/http_caller.h"

namespace marathon::agent::agent_http_test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using tests::DoubleReply;
using tests::DoubleRequest;
using tests::HttpDouble;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// A server that keeps what it was asked.
class Web {
 public:
  explicit Web(HttpDouble::Handler handler)
      : server_([this, handler = std::move(handler)](const DoubleRequest& request) {
          const std::lock_guard lock(mutex_);
          requests_.push_back(request);
          return handler(request);
        }) {}
  std::string url(const std::string& path = "") const { return server_.url() + path; }
  std::vector<DoubleRequest> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  std::mutex mutex_;  // guards:
  std::vector<DoubleRequest> requests_;
  HttpDouble server_;
};

StatusOr<ToolReply> Asked(testing::ActivityTester& tester, const Tool& tool, const json& arguments) {
  EXPECT_EQ(tool.mistake, "");
  const auto run = [&tool](ActivityContext& activity, const json& input) {
    ToolContext ctx(activity, {.step = 1, .call_id = "c"});
    return tool.run(ctx, input);
  };
  return tester.Run(run, arguments);
}
// "error: " in front of what is one, "failed: " of what is tried again.
std::string Call(const Tool& tool, const json& arguments) {
  testing::ActivityTester tester;
  const auto reply = Asked(tester, tool, arguments);
  if (!reply.ok()) return "failed: " + std::string(MessageOf(reply.status()));
  return (reply->is_error ? "error: " : "") + reply->text;
}
std::string Get(const Tool& tool, const std::string& url) { return Call(tool, {{"url", url}}); }

HttpOptions Private(HttpOptions options = {}) {
  options.allow_private = true;
  return options;
}

TEST(AgentHttpTest, StatusHeadersAndBody) {
  Web web([](const DoubleRequest& request) -> DoubleReply {
    if (request.path == "/none") return {.status = 404, .body = "no such page"};
    return {.body = request.method == "HEAD" ? "" : "Grüße",
            .headers = {{"Content-Type", "text/plain"}, {"ETag", "\"7\""}, {"Set-Cookie", "a=b"}}};
  });
  const Tool tool = HttpTool(Private());
  EXPECT_EQ(Get(tool, web.url("/a?b=c")), "HTTP 200\ncontent-type: text/plain\netag: \"7\"\n\nGrüße");
  EXPECT_EQ(Call(tool, {{"url", web.url()}, {"method", "HEAD"}}), "HTTP 200\ncontent-type: text/plain\netag: \"7\"\n");
  EXPECT_EQ(Get(tool, web.url("/none")), "error: HTTP 404\n\nno such page");
  EXPECT_EQ(web.requests()[0].path, "/a?b=c");
  EXPECT_EQ(web.requests()[0].headers["user-agent"], "marathon");
  EXPECT_EQ(web.requests()[1].method, "HEAD");
  EXPECT_EQ(tool.options.effect, Effect::kPure);
}

TEST(AgentHttpTest, ThisMachineAndItsNetworksAreNotCalled) {
  Web web([](const DoubleRequest&) -> DoubleReply { return {.body = "secret"}; });
  const std::string port = web.url().substr(web.url().rfind(':'));
  const Tool tool = HttpTool();
  for (const char* host : {"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "017700000001", "0.0.0.0",
                           "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "10.0.0.1", "169.254.169.254", "192.168.1.1",
                           "[fe80::1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "100.64.0.1"}) {
    const std::string said = Get(tool, "http://" + std::string(host) + port + "/");
    EXPECT_THAT(said, StartsWith("error: an address of the host must not be called: ")) << host;
  }
  EXPECT_THAT(web.requests(), IsEmpty());
}

TEST(AgentHttpTest, UrlsThatAreRefused) {
  const Tool tool = HttpTool(Private());
  EXPECT_EQ(Get(tool, "file:///etc/passwd"), "error: the URL is refused: only http and https are called");
  EXPECT_EQ(Get(tool, "http://user:pw@example.com/"), "error: the URL is refused: it has a user or a password");
  EXPECT_THAT(Get(tool, "http://example.com/\r\nX: y"), HasSubstr("a line end"));
  EXPECT_THAT(Get(tool, "example.com"), StartsWith("error: not a URL"));
  EXPECT_EQ(Call(tool, {{"url", "http://a/"}, {"method", "POST"}}), "error: this tool does not call by POST");
}

TEST(AgentHttpTest, OnlyHostsOfTheListAreCalled) {
  Web web([](const DoubleRequest&) -> DoubleReply {
    return {.status = 302, .headers = {{"Location", "http://other.test/"}}};
  });
  const Tool tool = HttpTool(Private({.hosts = {"*.Example.com", "127.0.0.1"}}));
  for (const char* url : {"http://example.com/", "http://example.com.evil.test/", "http://notexample.com/",
                          "http://127.0.0.2/"}) {
    EXPECT_THAT(Get(tool, url), HasSubstr("is none of those that this tool may call")) << url;
  }
  EXPECT_EQ(Get(tool, web.url()),
            "HTTP 302\nlocation: http://other.test/\n[the redirect was not followed: the host other.test is refused: it is "
            "none of those that this tool may call]\n");
}

// ---- Redirects

DoubleReply To(const std::string& where, int status = 302) {
  return {.status = status, .body = "moved", .headers = {{"Location", where}}};
}

TEST(AgentHttpTest, RedirectsAreFollowedAndCounted) {
  Web web([](const DoubleRequest& request) -> DoubleReply {
    const int hop = std::atoi(request.path.c_str() + 1);
    return hop == 0 ? DoubleReply{.body = "there"} : To("/" + std::to_string(hop - 1), hop % 2 == 0 ? 301 : 308);
  });
  const Tool tool = HttpTool(Private({.redirects = 3}));
  EXPECT_EQ(Get(tool, web.url("/3")), "HTTP 200\nurl: " + web.url("/0") + "\n\nthere");
  EXPECT_THAT(Get(tool, web.url("/4")), StartsWith("HTTP 308\nurl: " + web.url("/1") + "\nlocation: /0\n"
                                                   "[the redirect was not followed: there were 3 before it]\n"));
  EXPECT_EQ(web.requests().size(), 8u);
}

TEST(AgentHttpTest, RedirectsToWhatMayNotBeCalled) {
  std::string where;
  Web web([&](const DoubleRequest&) { return To(where); });
  const Tool tool = HttpTool(Private());
  where = "file:///etc/passwd";
  EXPECT_THAT(Get(tool, web.url()), HasSubstr("not followed: the URL is refused: only http and https"));
  where = "http://user:pw@127.0.0.1/";
  EXPECT_THAT(Get(tool, web.url()), HasSubstr("it has a user or a password"));
  EXPECT_EQ(web.requests().size(), 2u);
}

// The rule is asked at each hop, with the address itself. Here it calls one half of the loopback public.
std::string_view HalfOf(const sockaddr& address) {
  const auto& in = reinterpret_cast<const sockaddr_in&>(address);
  return address.sa_family == AF_INET && in.sin_addr.s_addr == htonl(INADDR_LOOPBACK) ? "" : "private";
}

TEST(AgentHttpTest, RedirectsIntoPrivateAddresses) {
  Web inside([](const DoubleRequest&) -> DoubleReply { return {.body = "secret"}; });
  const std::string port = inside.url().substr(inside.url().rfind(':'));
  std::string where;
  Web web([&](const DoubleRequest&) { return To(where); });
  internal::HttpCaller caller(
      {.hosts = {}, .headers = {}, .body_max = 1'000, .timeout = 20s, .redirects = 5, .refuse = HalfOf});
  const auto get = [&](const std::string& url) {
    internal::HttpCaller::Call call{.method = "GET", .url = *marathon::detail::ParseHttpUrl(url)};
    return caller.Make(&call, {}).status();
  };
  where = inside.url();
  EXPECT_TRUE(get(web.url()).ok());
  for (const char* host : {"127.0.0.2", "127.255.255.254", "[::1]", "169.254.169.254"}) {
    where = "http://" + std::string(host) + port;
    const Status status = get(web.url());
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << host << ": " << status;
    EXPECT_EQ(MessageOf(status), "an address of the host must not be called: private");
  }
  EXPECT_EQ(inside.requests().size(), 1u);
}

// ---- Secrets

TEST(AgentHttpTest, HeadersGoToTheirOriginAlone) {
  Web other([](const DoubleRequest& request) -> DoubleReply {
    DoubleRequest copy = request;
    return {.body = "other saw " + copy.headers["authorization"]};
  });
  Web web([&](const DoubleRequest& request) -> DoubleReply {
    DoubleRequest copy = request;
    if (request.path == "/away") return To(other.url());
    if (request.path == "/here") return To("/");
    return {.body = "saw " + copy.headers["authorization"], .headers = {{"ETag", copy.headers["authorization"]}}};
  });
  const Tool tool = HttpTool(Private({.headers = {{web.url(), {"Authorization: Bearer hunter2hunter2"}}}}));
  EXPECT_EQ(Get(tool, web.url()), "HTTP 200\netag: [secret]\n\nsaw [secret]");
  EXPECT_THAT(Get(tool, web.url("/here")), HasSubstr("saw [secret]"));
  EXPECT_THAT(Get(tool, web.url("/away")), ::testing::EndsWith("other saw "));
  EXPECT_EQ(web.requests()[0].headers["authorization"], "Bearer hunter2hunter2");
  EXPECT_EQ(other.requests()[0].headers.count("authorization"), 0u);
  // Another port and another name of the same machine are another origin.
  EXPECT_THAT(Get(tool, "http://localhost" + web.url().substr(web.url().rfind(':'))), ::testing::EndsWith("saw "));
  for (const std::string& said : {Get(tool, "http://127.0.0.1:1/"), Get(tool, "x://")}) {
    EXPECT_THAT(said, Not(HasSubstr("hunter2"))) << said;
  }
}

// ---- Limits

TEST(AgentHttpTest, BodiesAreCutOff) {
  tests::StreamServer server([](const DoubleRequest&) -> tests::StreamReply {
    return {.headers = {},
            .pieces = tests::Pieces(std::string(3'000, 'a'), 100),
            .end = tests::StreamEnd::kStall};
  });
  const std::string whole(1'000, 'a');
  EXPECT_EQ(Get(HttpTool(Private({.body_max = 1'000})), server.url()),
            "HTTP 200\n\n" + whole + "\n[cut off here: the body has more than 1000 bytes]");
  EXPECT_TRUE(server.WaitForClosed(1)) << "what nobody reads is not waited for";
  tests::StreamServer split([](const DoubleRequest&) -> tests::StreamReply { return {.pieces = {"aü", "bcd"}}; });
  EXPECT_THAT(Get(HttpTool(Private({.body_max = 2})), split.url()), HasSubstr("\n\na\n[cut off here"));
}

TEST(AgentHttpTest, HeadsHaveAnEnd) {
  Web web([](const DoubleRequest&) -> DoubleReply {
    DoubleReply reply;
    for (int i = 0; i < 40; ++i) reply.headers["x-" + std::to_string(i)] = std::string(10'000, 'x');
    return reply;
  });
  EXPECT_THAT(Get(HttpTool(Private()), web.url()), HasSubstr("the reply's headers are larger than 262144 bytes"));
}

TEST(AgentHttpTest, BytesThatAreNoTextAreNotShown) {
  Web web([](const DoubleRequest&) -> DoubleReply {
    return {.body = "\x89PNG", .headers = {{"Content-Type", "image/png"}}};
  });
  EXPECT_EQ(Get(HttpTool(Private()), web.url()),
            "HTTP 200\ncontent-type: image/png\n[a body that is not UTF-8 text, and is not shown]");
}

TEST(AgentHttpTest, ACallThatTakesTooLong) {
  Web web([](const DoubleRequest& request) { return request.path == "/" ? DoubleReply{.silent = true} : To("/"); });
  EXPECT_EQ(Get(HttpTool(Private({.timeout = 50ms})), web.url("/redirects")), "error: no whole reply within 50 ms");
}

TEST(AgentHttpTest, AStopEndsItAtOnce) {
  tests::StreamServer server([](const DoubleRequest&) -> tests::StreamReply {
    return {.end = tests::StreamEnd::kStall};
  });
  const Tool tool = HttpTool(Private({.timeout = 600s}));
  testing::ActivityTester tester;
  std::thread stopper([&] {
    EXPECT_TRUE(server.WaitForWaiting(1));
    tester.Cancel();
  });
  const auto reply = Asked(tester, tool, {{"url", server.url()}});
  stopper.join();
  EXPECT_THAT(std::string(MessageOf(reply.status())), HasSubstr("the call was stopped"));
  EXPECT_TRUE(server.WaitForClosed(1));
  const auto again = Asked(tester, tool, {{"url", server.url()}});
  EXPECT_THAT(std::string(MessageOf(again.status())), HasSubstr("the call was stopped")) << "from its start";
}

TEST(AgentHttpTest, ProxiesOfTheEnvironmentAreNotUsed) {
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) setenv(name, "http://127.0.0.1:1", 1);
  Web web([](const DoubleRequest&) -> DoubleReply { return {.body = "direct"}; });
  EXPECT_THAT(Get(HttpTool(Private()), web.url()), HasSubstr("direct"));
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) unsetenv(name);
}

// ---- Methods that change something

TEST(AgentHttpTest, BodiesAreSent) {
  Web web([](const DoubleRequest& request) -> DoubleReply {
    if (request.path == "/moved") return To("/", 307);
    return {.status = 201, .body = request.method + " " + request.body};
  });
  const Tool tool = HttpTool(Private({.methods = {"GET", "POST", "PUT", "DELETE"}}));
  EXPECT_EQ(tool.options.effect, Effect::kAtMostOnce);
  EXPECT_EQ(Call(tool, {{"url", web.url()}, {"method", "POST"}, {"body", R"({"a":1})"}}), "HTTP 201\n\nPOST {\"a\":1}");
  EXPECT_EQ(Call(tool, {{"url", web.url()}, {"method", "PUT"}, {"body", "x"}, {"content_type", "text/plain"}}),
            "HTTP 201\n\nPUT x");
  EXPECT_EQ(Call(tool, {{"url", web.url()}, {"method", "POST"}}), "HTTP 201\n\nPOST ");
  EXPECT_EQ(Call(tool, {{"url", web.url()}, {"method", "DELETE"}}), "HTTP 201\n\nDELETE ");
  const auto requests = web.requests();
  EXPECT_EQ(requests[0].headers.at("content-type"), "application/json");
  EXPECT_EQ(requests[1].headers.at("content-type"), "text/plain");
  EXPECT_THAT(Call(tool, {{"url", web.url("/moved")}, {"method", "POST"}, {"body", "x"}}),
              StartsWith("HTTP 307\nlocation: /\n"));
  EXPECT_EQ(Call(tool, {{"url", web.url()}, {"body", "x"}}), "error: GET has no body");
  EXPECT_EQ(Call(tool, {{"url", web.url()}, {"method", "POST"}, {"body", "x"}, {"content_type", "a\r\nHost: b"}}),
            "error: content_type is none");
}

TEST(AgentHttpTest, WhatMayHaveBeenDoneIsUnknown) {
  tests::StreamServer server([](const DoubleRequest&) -> tests::StreamReply {
    return {.pieces = {"a"}, .end = tests::StreamEnd::kReset};
  });
  const Tool tool = HttpTool(Private({.methods = {"POST", "GET"}}));
  testing::ActivityTester tester;
  const auto reply = Asked(tester, tool, {{"url", server.url()}});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->unknown);
  EXPECT_THAT(reply->text, HasSubstr("It is not known whether the server has done it"));
  EXPECT_FALSE(Asked(tester, tool, {{"url", server.url()}, {"method", "GET"}}).ok()) << "tried again, where that is harmless";
  const auto refused = Asked(tester, tool, {{"url", "http://127.0.0.1:1/"}});
  ASSERT_TRUE(refused.ok());
  EXPECT_TRUE(refused->is_error && !refused->unknown) << refused->text;
}

TEST(AgentHttpTest, OptionsThatAreNone) {
  const auto complaint = [](HttpOptions options) {
    Registry registry;
    Agent agent{.name = "A"};
    agent.tools = {HttpTool(std::move(options))};
    Bind(registry, agent, std::make_shared<llm::ScriptedModel>());
    return std::string(MessageOf(Engine::Open("memory:", registry).status()));
  };
  EXPECT_EQ(complaint({}), "");
  EXPECT_THAT(complaint({.methods = {}}), HasSubstr("its methods"));
  EXPECT_THAT(complaint({.methods = {"get"}}), HasSubstr("its methods"));
  EXPECT_THAT(complaint({.methods = {"CONNECT"}}), HasSubstr("its methods"));
  EXPECT_THAT(complaint({.hosts = {"https://a"}}), HasSubstr("is no host"));
  EXPECT_THAT(complaint({.headers = {{"example.com", {"A: b"}}}}), HasSubstr("is no origin"));
  EXPECT_THAT(complaint({.headers = {{"https://example.com/path", {"A: b"}}}}), HasSubstr("is no origin"));
  const std::string secret = complaint({.headers = {{"https://a.example", {"hunter2hunter2"}}}});
  EXPECT_THAT(secret, HasSubstr("not of the form"));
  EXPECT_THAT(secret, Not(HasSubstr("hunter2")));
  EXPECT_THAT(complaint({.timeout = 0ms}), HasSubstr("its timeout"));
}

}  // namespace
}  // namespace marathon::agent::agent_http_test
