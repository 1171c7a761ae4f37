#include "marathon/agent/tools/http.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "marathon/codec.h"
#include "src/agent/tools/http_caller.h"
#include "src/agent/tools/tool_reply.h"
#include "src/net/http_address.h"
#include "src/net/http_text.h"
#include "src/net/http_url.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

using internal::HttpCaller;
using internal::HttpRules;
using marathon::detail::HttpReply;

// Asking for it changes nothing.
bool IsSafe(const std::string& method) { return method == "GET" || method == "HEAD"; }

bool IsMethod(const std::string& method) {
  const bool is_word = !method.empty() && std::ranges::all_of(method, [](char c) { return c >= 'A' && c <= 'Z'; });
  return is_word && method != "CONNECT" && method != "TRACE";
}

std::string SchemaOf(const std::vector<std::string>& methods) {
  nlohmann::ordered_json properties;
  properties["url"] = {{"type", "string"}, {"description", "an http or https URL"}};
  properties["method"] = {{"type", "string"}, {"enum", methods}, {"description", methods.front() + " if left out"}};
  if (!std::ranges::all_of(methods, IsSafe)) {
    properties["body"] = {{"type", "string"}, {"description", "what is sent"}};
    properties["content_type"] = {{"type", "string"}, {"description", "of the body; application/json if left out"}};
  }
  nlohmann::ordered_json schema = {{"type", "object"}};
  schema["properties"] = std::move(properties);
  schema["required"] = {"url"};
  schema["additionalProperties"] = false;
  return schema.dump();
}

// Fills `rules`, or says what is wrong with the options. No message has a header's value.
std::string ReadOptions(const HttpOptions& options, HttpRules* rules) {
  if (options.methods.empty() || !std::ranges::all_of(options.methods, IsMethod)) {
    return "its methods are none: they are such as GET or POST, and not CONNECT or TRACE";
  }
  if (options.timeout <= Duration(0) || options.redirects < 0) return "its timeout or its redirects are negative";
  for (std::string host : options.hosts) {
    host = marathon::detail::LowerCase(host);
    if (host.empty() || host.find_first_of("/:@") != host.npos) return "\"" + host + "\" is no host: write example.com";
    rules->hosts.push_back(std::move(host));
  }
  for (const auto& [origin, headers] : options.headers) {
    const auto url = marathon::detail::ParseHttpUrl(origin);
    if (!url.ok() || url->text != url->origin + "/") {
      return "\"" + origin + "\" is no origin: write https://example.com";
    }
    for (const std::string& header : headers) {
      if (!marathon::detail::IsHeader(header)) return "a header for " + origin + " is not of the form \"Name: value\"";
    }
    rules->headers[url->origin] = headers;
  }
  rules->body_max = options.body_max;
  rules->timeout = options.timeout;
  rules->redirects = options.redirects;
  if (!options.allow_private) rules->refuse = marathon::detail::SpecialUseOf;
  return {};
}

class HttpTask {
 public:
  HttpTask(const HttpRules& rules, const HttpOptions& options)
      : methods_(options.methods), shown_(options.shown_headers), caller_(std::make_shared<HttpCaller>(rules)) {
    for (const auto& [origin, headers] : rules.headers) {
      const auto more = marathon::detail::SecretsOf(headers);
      secrets_.insert(secrets_.end(), more.begin(), more.end());
    }
  }

  ToolReply operator()(ToolContext& ctx, const nlohmann::json& input) const {
    HttpCaller::Call call;
    if (Status status = Read(input, &call); !status.ok()) return internal::Refusal(status);
    const bool safe = IsSafe(call.method);
    const std::string asked = call.url.text;
    const auto reply = caller_->Make(&call, ctx.stop_token());
    if (!reply.ok()) return Failed(reply.status(), safe);
    ToolReply said{.text = TextOf(*reply, call, asked), .is_error = reply->status >= 400};
    marathon::detail::Redact(secrets_, &said.text);
    return said;
  }

 private:
  // Approvals may change arguments, and tests may call a tool without its schema: so all is looked at here.
  Status Read(const nlohmann::json& input, HttpCaller::Call* call) const {
    const auto text = [&](const char* name, std::string otherwise) {
      const auto found = input.find(name);
      return found != input.end() && found->is_string() ? found->get<std::string>() : std::move(otherwise);
    };
    auto url = marathon::detail::ParseHttpUrl(text("url", ""));
    if (!url.ok()) return url.status();
    call->url = *std::move(url);
    call->method = text("method", methods_.front());
    if (std::ranges::find(methods_, call->method) == methods_.end()) {
      return InvalidArgument("this tool does not call by " + call->method);
    }
    call->headers = {"User-Agent: marathon"};
    call->body = text("body", "");
    if (call->body.empty()) return {};
    if (IsSafe(call->method)) return InvalidArgument(call->method + " has no body");
    call->headers.push_back("Content-Type: " + text("content_type", "application/json"));
    return marathon::detail::IsHeader(call->headers.back()) ? Status() : InvalidArgument("content_type is none");
  }

  // What is thrown is tried again, or given to another worker, if this one is shut down.
  ToolReply Failed(const Status& status, bool safe) const {
    const bool unseen = status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kFailedPrecondition ||
                        status.code() == StatusCode::kInvalidArgument;
    ToolReply said = internal::Refusal(status);
    marathon::detail::Redact(secrets_, &said.text);
    if (safe && (IsTransient(status) || status.code() == StatusCode::kCancelled)) {
      internal::ThrowToolStatus(MakeStatus(status.code(), said.text));
    }
    if (safe || unseen) return said;
    said.text += ". It is not known whether the server has done it";
    said.unknown = true;
    return said;
  }

  std::string TextOf(const HttpReply& reply, const HttpCaller::Call& call, const std::string& asked) const {
    std::string text = fmt::format("HTTP {}\n", reply.status);
    if (call.url.text != asked) text += "url: " + call.url.text + "\n";
    for (const std::string& name : shown_) {
      if (const std::string value = reply.Header(name); !value.empty()) text += name + ": " + value + "\n";
    }
    if (!call.note.empty()) text += "[the redirect was not followed: " + call.note + "]\n";
    std::string body(reply.cut ? internal::WithoutBrokenEnd(reply.body) : std::string_view(reply.body));
    if (!internal::IsUtf8(body)) return text + "[a body that is not UTF-8 text, and is not shown]";
    if (reply.cut) marathon::detail::RedactEnd(secrets_, &body);
    if (!body.empty()) text += "\n" + body;
    if (reply.cut) text += fmt::format("\n[cut off here: the body has more than {} bytes]", reply.body.size());
    return text;
  }

  std::vector<std::string> methods_;
  std::vector<std::string> shown_;
  std::vector<std::string> secrets_;
  std::shared_ptr<HttpCaller> caller_;
};

}  // namespace

Tool HttpTool(HttpOptions options) {
  constexpr size_t kHeads = 8u << 10;
  HttpRules rules;
  const std::string mistake = ReadOptions(options, &rules);
  if (options.methods.empty()) options.methods = {"GET"};  // so that there is a tool that has the mistake
  const bool safe = std::ranges::all_of(options.methods, IsSafe);
  ToolOptions of_tool{.effect = safe ? Effect::kPure : Effect::kAtMostOnce,
                      .timeout = options.timeout + Duration(10'000),
                      .result_max = options.body_max + kHeads};
  Tool tool = MakeToolWithSchema("http_request", "Makes an HTTP request.", SchemaOf(options.methods),
                                 HttpTask(rules, options), std::move(of_tool));
  if (!mistake.empty()) tool.mistake = "the tool \"http_request\": " + mistake;
  return tool;
}

}  // namespace marathon::inline MARATHON_ABI::agent
