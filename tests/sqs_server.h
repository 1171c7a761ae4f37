// An SQS of a test's own: tests/sqs_server.py, in a Python environment of the build's, which checks the
// signature of every call; or, as a second judge, tests/fauxqs_server.mjs, which does not.
//
// One thread at a time. A server that does not come up is a std::runtime_error.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "script_server.h"

namespace marathon::tests {

class SqsServer {
 public:
  // The keys and the place that it knows.
  static constexpr const char* kKeyId = "AKIDMARATHON";
  static constexpr const char* kSecret = "marathon/secret+for=tests";
  static constexpr const char* kRegion = "eu-west-1";
  static constexpr const char* kAccount = "123456789012";

  SqsServer() : SqsServer("tests/sqs_server.sh") {}

  std::string endpoint() const { return "http://127.0.0.1:" + server_.port(); }

  // The URL of a queue, as the value of a store's `queue` parameter.
  std::string Parameter(std::string_view prefix) const { return ParameterAt(server_.port(), prefix); }
  static std::string ParameterAt(std::string_view port, std::string_view prefix) {
    std::string value = std::string("sqs%3A%2F%2F") + kRegion + "%2F" + kAccount + "%2F";
    value += prefix;
    value += "%3Fcreate%3Dtrue%26endpoint%3Dhttp%253A%252F%252F127.0.0.1%253A";
    value += port;
    return value;
  }

 protected:
  explicit SqsServer(std::string script) : server_(std::move(script)) {}

 private:
  ScriptServer server_;
};

class FauxqsServer : public SqsServer {
 public:
  FauxqsServer() : SqsServer("tests/fauxqs_server.sh") {}
};

}  // namespace marathon::tests
