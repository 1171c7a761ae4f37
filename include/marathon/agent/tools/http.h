// A tool that makes HTTP calls for a model, which may have its URLs from anywhere: from a page that it has just read.
//
//   agent.tools = {agent::HttpTool({.hosts = {"api.example.com", "*.wikipedia.org"},
//                                   .headers = {{"https://api.example.com", {"Authorization: Bearer " + key}}}})};
//
// It calls public addresses only: the one that it is about to connect to is looked at, so no name and no redirect
// leads to this machine, its networks or a cloud's metadata. Proxies of the environment are not used. What goes wrong
// is a result that the model reads; no error and no result has what `headers` say.
//
// What the function returns may be changed before it is bound, its `options.approve` say. Values; the tool is safe from
// any thread, and has one of its own from its first call on.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "marathon/agent/tool.h"
#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::agent {

struct HttpOptions {
  // The first is that of a call that does not say. With any but GET and HEAD the model may send a body, and the tool is
  // kAtMostOnce.
  std::vector<std::string> methods = {"GET", "HEAD"};
  // Whom it may call: "example.com", or "*.example.com" for all below it. Empty: anybody.
  std::vector<std::string> hosts{};
  // What is sent to one origin, wherever a call began: {"https://api.example.com", {"Name: value"}}.
  std::map<std::string, std::vector<std::string>> headers{};
  // Those of a reply that the model reads.
  std::vector<std::string> shown_headers = {"content-type", "last-modified", "etag", "retry-after", "location"};
  size_t body_max = 64u << 10;  // bytes; the rest is cut off, and the model is told
  Duration timeout{20'000};     // of a call with all its redirects
  int redirects = 5;            // that are followed, of GET and HEAD, and never from https to http
  bool allow_private = false;   // any address is called: for tests
};

// "http_request", kPure or kAtMostOnce: it takes `url`, and `method`, `body` and `content_type` where it may. It gives
// the status, some headers, and the body if it is UTF-8. A status from 400 on counts as an error.
MARATHON_EXPORT Tool HttpTool(HttpOptions options = {});

}  // namespace marathon::inline MARATHON_ABI::agent
