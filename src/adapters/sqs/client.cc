#include "client.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "src/net/http_text.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

using nlohmann::json;

constexpr Duration kOnTheWay = std::chrono::seconds(10);
// A signature is good for 15 minutes. A clock that is further off than an hour is not corrected but
// reported: something else is wrong.
constexpr Duration kSkewNoticed = std::chrono::minutes(1);
constexpr Duration kSkewMax = std::chrono::hours(1);
constexpr size_t kMessageMax = 300;

std::string Authority(std::string_view url) {
  if (const size_t scheme = url.find("://"); scheme != url.npos) url.remove_prefix(scheme + 3);
  return std::string(url.substr(0, url.find('/')));
}

std::string TextOf(const json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool Contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// Of a call without an answer: kUnavailable if it has certainly not arrived, kFailedPrecondition if nor will the next
// one, else kUnknown.
StatusCode CodeOf(const Status& status) {
  const bool lost = status.code() == StatusCode::kUnavailable ||
                    status.code() == StatusCode::kFailedPrecondition;
  return lost ? status.code() : StatusCode::kUnknown;
}

// "com.amazonaws.sqs#QueueDoesNotExist", or "AWS.SimpleQueueService.NonExistentQueue" of old.
std::string CodeOf(const json& body) {
  std::string code = TextOf(body, "__type");
  return code.substr(code.rfind('#') + 1);
}

bool IsThrottling(std::string_view code) {
  return Contains(code, "Throttl") || code == "TooManyRequestsException" || code == "OverLimit" ||
         code == "SlowDown" || code == "RequestLimitExceeded";
}

bool IsOfKeys(std::string_view code) {
  return code == "ExpiredToken" || code == "ExpiredTokenException" ||
         code == "InvalidClientTokenId" || code == "UnrecognizedClientException" ||
         code == "InvalidAccessKeyId";
}

}  // namespace

Status SqsError(std::string_view operation, int http_status, std::string_view body) {
  const json answer = json::parse(body, nullptr, /*allow_exceptions=*/false);
  const std::string code = CodeOf(answer);
  std::string message = TextOf(answer, "message");
  if (message.empty()) message = TextOf(answer, "Message");
  // These repeat the request, security token and all.
  if (Contains(code, "Signature")) message = "the signature is refused: are the keys and the clock right?";
  const std::string text =
      fmt::format("SQS {}: {} {}{}{}", operation, http_status, code, message.empty() ? "" : ": ",
                  message.substr(0, kMessageMax));
  if (http_status >= 500 || http_status == 429 || http_status == 408 || IsThrottling(code)) {
    return Unavailable(text);
  }
  if (Contains(code, "QueueDoesNotExist") || Contains(code, "NonExistentQueue")) {
    return NotFound(text);
  }
  if (http_status == 401 || http_status == 403 || IsOfKeys(code) || Contains(code, "AccessDenied") ||
      Contains(code, "Signature")) {
    return FailedPrecondition(text);
  }
  if (http_status >= 400) return InvalidArgument(text);
  return Unknown(text);
}

struct SqsClient::Call {
  std::string operation;
  std::string body;
  Duration patience{0};
  Callback<void(Reply)> done;  // empty: answered, or given up
  HttpLoop::Id http = 0;
  int tries = 0;
};

SqsClient::SqsClient(HttpLoop& loop, SqsAddress address,
                     std::unique_ptr<CredentialProvider> credentials, const Clock& clock)
    : loop_(loop),
      address_(std::move(address)),
      host_(Authority(address_.endpoint)),
      clock_(clock),
      credentials_(std::move(credentials), clock_) {}

SqsClient::CallPtr SqsClient::Send(std::string operation, const json& input, Duration patience,
                                   Callback<void(Reply)> done) {
  auto call = std::make_shared<Call>();
  call->operation = std::move(operation);
  call->body = input.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  call->patience = patience;
  call->done = std::move(done);
  Sign(call);
  return call;
}

void SqsClient::Cancel(const CallPtr& call) {
  call->done = nullptr;
  loop_.Cancel(call->http);
}

void SqsClient::Sign(const CallPtr& call) {
  credentials_.Get([this, call](StatusOr<AwsKeys> keys) {
    if (!call->done) return;
    if (!keys.ok()) return std::exchange(call->done, nullptr)(keys.status());
    AwsRequest request;
    request.headers = {{"host", host_},
                       {"content-type", "application/x-amz-json-1.0"},
                       {"x-amz-target", "AmazonSQS." + call->operation}};
    request.body = call->body;
    HttpHeaders headers = SignAwsRequest(request, *keys, {address_.region, "sqs"},
                                         clock_.Now());
    HttpRequest http{.method = "POST", .url = address_.endpoint + "/", .body = call->body,
                     .timeout = call->patience + kOnTheWay};
    for (const auto* some : {&request.headers, &headers}) {
      for (const auto& [name, value] : *some) http.headers.push_back(name + ": " + value);
    }
    http.headers.push_back("Accept:");
    ++call->tries;
    call->http = loop_.Send(std::move(http), [this, call](StatusOr<HttpReply> reply) {
      OnReply(call, std::move(reply));
    });
  });
}

void SqsClient::OnReply(const CallPtr& call, StatusOr<HttpReply> reply) {
  if (!call->done) return;
  const auto answer = [&](Reply value) { std::exchange(call->done, nullptr)(std::move(value)); };
  if (!reply.ok()) {
    return answer(MakeStatus(CodeOf(reply.status()),
                             fmt::format("SQS {} at {}: {}", call->operation, host_,
                                         MessageOf(reply.status()))));
  }
  if (reply->status == 200) {
    json value = json::parse(reply->body.empty() ? "{}" : reply->body, nullptr, false);
    if (value.is_object()) return answer(std::move(value));
    return answer(Unknown(fmt::format("SQS {}: the answer is not JSON", call->operation)));
  }
  // Once more, at once: with the right time, or with keys that are still good.
  if (call->tries == 1 && (reply->status == 400 || reply->status == 403)) {
    if (CorrectClock(*reply)) return Sign(call);
    const json body = json::parse(reply->body, nullptr, false);
    if (IsOfKeys(CodeOf(body)) && credentials_.Expire()) return Sign(call);
  }
  answer(SqsError(call->operation, reply->status, reply->body));
}

bool SqsClient::CorrectClock(const HttpReply& reply) {
  const auto date = ParseHttpDate(reply.Header("date"));
  if (!date) return false;
  const auto off = *date - clock_.Now();
  const auto ahead = clock_.ahead + off;
  if (off < kSkewNoticed && off > -kSkewNoticed) return false;
  if (ahead > kSkewMax || ahead < -kSkewMax) return false;
  clock_.ahead = ahead;
  return true;
}

}  // namespace marathon::inline MARATHON_ABI::detail
