// A server of OpenAI's and Anthropic's protocols that we have not written: aimock, by tests/peer_server.sh. A test tells it
// what it answers, and sees what it has understood of what it was asked.
//
// One thread at a time. What does not go as it should is a std::runtime_error.
#pragma once

#include <exception>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../src/net/http_loop.h"
#include "script_server.h"

namespace marathon::tests {

class PeerServer {
 public:
  static constexpr const char* kKey = "sk-peer-key";

  // The one of the program. Does not try again what has failed: bringing it may take a minute.
  static PeerServer& Get() {
    static std::exception_ptr failed;
    if (failed) std::rethrow_exception(failed);
    try {
      static PeerServer server;
      return server;
    } catch (...) {
      failed = std::current_exception();
      throw;
    }
  }
  ~PeerServer() { loop_->Stop(); }
  PeerServer(const PeerServer&) = delete;
  PeerServer& operator=(const PeerServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + server_.port(); }

  // Forgets all that it was told and asked.
  void Reset() { Control("POST", "reset", "{}"); }
  // One of aimock's fixtures: `match` and `response`, and how it fails. The first that matches counts.
  void Answers(nlohmann::json fixture) {
    const nlohmann::json fixtures = {{"fixtures", nlohmann::json::array({std::move(fixture)})}};
    Control("POST", "fixtures", fixtures.dump());
  }
  // What it was asked, in order: entries of aimock's journal, with `headers`, `body` and `timestamp` (ms). Of a request for
  // Messages the body is what aimock takes it for in Chat Completions.
  std::vector<nlohmann::json> Asked() { return Control("GET", "journal"); }

 private:
  PeerServer() { loop_->Start(loop_); }

  nlohmann::json Control(std::string method, const std::string& what, std::string body = {}) {
    detail::HttpRequest request{.method = std::move(method), .url = url() + "/__aimock/" + what};
    request.headers = {"Content-Type: application/json", std::string("x-api-key: ") + kKey};
    request.body = std::move(body);
    request.direct = true;
    std::promise<StatusOr<detail::HttpReply>> promise;
    loop_->Post([&] {
      loop_->Send(std::move(request), [&](StatusOr<detail::HttpReply> reply) { promise.set_value(std::move(reply)); });
    });
    const auto reply = promise.get_future().get();
    if (!reply.ok()) throw std::runtime_error("aimock: " + reply.status().ToString());
    if (reply->status != 200) throw std::runtime_error("aimock: " + reply->body);
    return nlohmann::json::parse(reply->body);
  }

  ScriptServer server_{"tests/peer_server.sh"};
  const std::shared_ptr<detail::HttpLoop> loop_ = std::make_shared<detail::HttpLoop>();
};

}  // namespace marathon::tests
