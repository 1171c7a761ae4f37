// AWS's Signature Version 4 of a request: what makes it ours, for a quarter of an hour.
//
// Pure functions; safe from any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

struct AwsKeys {
  std::string id, secret;
  std::string token;  // of temporary keys; else empty
};

struct AwsScope {
  std::string region, service;
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct AwsRequest {
  std::string_view method = "POST";
  std::string_view path = "/";   // percent-encoded
  std::string_view query;        // percent-encoded, its parameters in order
  HttpHeaders headers;           // all to be signed, `host` among them
  std::string_view body;
};

// The headers to send besides those of `request`: its date, the token and the signature.
HttpHeaders SignAwsRequest(const AwsRequest& request, const AwsKeys& keys, const AwsScope& scope,
                           Time now);

// "20150830T123600Z"
std::string AwsDate(Time time);

}  // namespace marathon::inline MARATHON_ABI::detail
