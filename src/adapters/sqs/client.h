// SqsClient: calls of the SQS API, in AWS JSON 1.0, one try each.
//
// On the loop's thread only.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "credentials.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/status.h"
#include "marathon/time.h"
#include "src/net/http_loop.h"

namespace marathon::inline MARATHON_ABI::detail {

struct SqsAddress {
  std::string region;
  std::string endpoint;  // "https://sqs.eu-west-1.amazonaws.com"
};

// What an answer that is not 200 means. kUnavailable: away or throttled, again later. kNotFound: no such
// queue. kFailedPrecondition: only an administrator can help. kInvalidArgument: the request is wrong.
Status SqsError(std::string_view operation, int http_status, std::string_view body);

// The server's clock: ours, and how far it is ahead as far as it has told.
class ServerClock final : public Clock {
 public:
  explicit ServerClock(const Clock& ours) : ours_(ours) {}
  Time Now() const override { return ours_.Now() + ahead; }
  Time::duration ahead{0};

 private:
  const Clock& ours_;
};

class SqsClient {
 public:
  using Reply = StatusOr<nlohmann::json>;
  struct Call;
  using CallPtr = std::shared_ptr<Call>;

  SqsClient(HttpLoop& loop, SqsAddress address, std::unique_ptr<CredentialProvider> credentials,
            const Clock& clock);

  // `patience`: how long the server may take, apart from a little for the way.
  CallPtr Send(std::string operation, const nlohmann::json& input, Duration patience,
               Callback<void(Reply)> done);
  // Its callback is destroyed uncalled.
  void Cancel(const CallPtr& call);

 private:
  void Sign(const CallPtr& call);
  void OnReply(const CallPtr& call, StatusOr<HttpReply> reply);
  // True: the clocks differ, and are corrected now.
  bool CorrectClock(const HttpReply& reply);

  HttpLoop& loop_;
  const SqsAddress address_;
  const std::string host_;
  ServerClock clock_;
  CredentialCache credentials_;  // which expire by the server's clock
};

}  // namespace marathon::inline MARATHON_ABI::detail
