#include "src/llm/paced_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "marathon/detail/sha256.h"
#include "marathon/limits.h"
#include "marathon/status.h"
#include "src/llm/limit_headers.h"
#include "src/llm/wire.h"

namespace marathon::inline MARATHON_ABI::llm {
namespace internal {
namespace {

// Longer waits are the store's.
constexpr Duration kShortWait{1'000};
// For a provider that says "too many" and not for how long.
constexpr Duration kPauseUnsaid{1'000};

constexpr size_t kTextPerToken = 4;
constexpr size_t kTextPerMedia = 1'500 * kTextPerToken;

size_t TextIn(const Block& block) {
  struct Size {
    size_t operator()(const Text& one) const { return one.text.size(); }
    size_t operator()(const Media&) const { return kTextPerMedia; }
    size_t operator()(const ToolCall& one) const { return one.name.size() + one.arguments.size(); }
    size_t operator()(const ToolResult& one) const { return one.text.size() + one.media.size() * kTextPerMedia; }
    size_t operator()(const Reasoning& one) const { return one.text.size(); }
    size_t operator()(const Opaque& one) const { return one.json.size(); }
  };
  return std::visit(Size(), block);
}

int64_t TokensIn(size_t text) {
  return std::min(static_cast<int64_t>(text / kTextPerToken + 1), limits::kLimitMaxAmount);
}

// "MICROS KEY": of a router's routes, each knows its own.
std::string PermitText(Time at, std::string_view key) { return fmt::format("{} {}", ToMicros(at), key); }

Time ParsePermit(std::string_view text, std::string_view key) {
  int64_t micros = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, micros);
  const bool ours = error == std::errc() && end != last && std::string_view(end + 1, last) == key;
  return ours ? FromMicros(micros) : Time();
}

// How long others are to leave this endpoint alone.
Duration PauseFor(const Error& error) {
  return error.error_class == ErrorClass::kRateLimit ? error.retry_after.value_or(kPauseUnsaid) : Duration(0);
}

}  // namespace

int64_t EstimateTokens(const ChatRequest& request) {
  size_t text = 0;
  for (const Message& message : request.messages) {
    for (const Block& block : message.blocks) text += TextIn(block);
  }
  for (const Tool& tool : request.tools) text += tool.name.size() + tool.description.size() + tool.schema.size();
  if (request.output) text += request.output->schema.size();
  const int64_t answer = std::clamp<int64_t>(request.max_tokens.value_or(0), 0, limits::kLimitMaxAmount);
  return std::min(TokensIn(text) + answer, limits::kLimitMaxAmount);
}

int64_t EstimateTokens(const EmbedRequest& request) {
  size_t text = 0;
  for (const std::string& one : request.texts) text += one.size();
  return TokensIn(text);
}

PacedCall::PacedCall(const Pace& pace, const Endpoint& endpoint, std::string_view model, int64_t tokens)
    : limiter_(pace.limiter),
      key_(LimitKey(endpoint, model)),
      counts_cached_(endpoint.protocol != Protocol::kAnthropic),
      requests_per_minute_(endpoint.requests_per_minute),
      tokens_per_minute_(endpoint.tokens_per_minute),
      tokens_(tokens),
      permit_(ParsePermit(pace.permit, key_)) {}

void PacedCall::Ask(Done<Permit> done) {
  AcquireLimit acquire{.key = key_, .permit = permit_};
  acquire.units = {{std::string(kRequests), 1, requests_per_minute_},
                   {std::string(kTokens), tokens_, tokens_per_minute_}};
  limiter_->Acquire(std::move(acquire), std::move(done));
}

std::variant<Duration, Error> PacedCall::Take(const StatusOr<Permit>& permit) {
  if (permit.ok()) {
    permit_ = permit->at;
    taken_ = permit->wait <= kShortWait;
    if (taken_) return permit->wait;
    Error error = MakeError(ErrorClass::kRateLimit, "the limit that all workers share has to be waited for");
    error.retry_after = permit->wait;
    error.permit = PermitText(permit->at, key_);
    return error;
  }
  const bool is_full = permit.status().code() == StatusCode::kResourceExhausted;
  if (permit.status().code() != StatusCode::kUnimplemented) {
    return MakeError(is_full ? ErrorClass::kRateLimit : ErrorClass::kTransient,
                     fmt::format("limits: {}", MessageOf(permit.status())));
  }
  limiter_ = nullptr;
  return Duration(0);
}

void PacedCall::Heard(const marathon::detail::HttpReply& head, Time now) {
  auto reports = LimitReportsOf(head, now);
  if (reports.empty()) return;
  told_ = true;
  Settle({.key = key_, .reports = std::move(reports)}, [](const Status&) {});
}

// What Anthropic has read from its cache does not count.
void PacedCall::Answered(const Usage& usage) {
  const int64_t input = counts_cached_ ? usage.input : usage.input - usage.cached_input;
  const int64_t used = std::clamp<int64_t>(input + usage.output, 0, limits::kLimitMaxAmount);
  if (usage == Usage() || used == tokens_ || (tokens_per_minute_ == 0 && !told_)) return;
  Settle({.key = key_, .unused = {{std::string(kTokens), tokens_ - used}}}, [](const Status&) {});
}

void PacedCall::Failed(const Error& error, Callback<void()> done) {
  SettleLimit settle{.key = key_};
  if (sent_) {
    settle.pause = PauseFor(error);
  } else if (taken_ && error.permit.empty()) {  // stopped while it waited
    settle.unused = {{std::string(kRequests), 1}, {std::string(kTokens), tokens_}};
  }
  if (settle.pause == Duration(0) && settle.unused.empty()) return done();
  Settle(std::move(settle), [done = std::move(done)](const Status&) mutable { done(); });
}

void PacedCall::Settle(SettleLimit settle, DoneStatus done) {
  if (limiter_ == nullptr) return done(Status());
  limiter_->Settle(std::move(settle), std::move(done));
}

}  // namespace internal

std::string LimitKey(const Endpoint& endpoint, std::string_view model) {
  std::string_view host = endpoint.base_url;
  if (host.empty()) host = internal::WireOf(endpoint.protocol).default_base;
  if (const size_t scheme = host.find("://"); scheme != host.npos) host.remove_prefix(scheme + 3);
  host = host.substr(0, host.find('/'));
  std::string secrets = endpoint.api_key;
  for (const std::string& header : endpoint.headers) secrets += "\n" + header;
  constexpr size_t kDigits = 16;
  std::string key = fmt::format("llm:{}:{}:{}", host, marathon::detail::Sha256Hex(secrets).substr(0, kDigits), model);
  return key.size() <= limits::kMaxIdBytes ? key : "llm:" + marathon::detail::Sha256Hex(key);
}

}  // namespace marathon::inline MARATHON_ABI::llm
