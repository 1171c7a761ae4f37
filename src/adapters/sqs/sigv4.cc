#include "sigv4.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

#include <algorithm>
#include <cctype>

#include "marathon/detail/sha256.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  return text;
}

std::string Hmac(std::string_view key, std::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &size);
  return {reinterpret_cast<const char*>(out), size};
}

// In lower case; with single spaces and none at the ends.
std::pair<std::string, std::string> Canonical(const std::pair<std::string, std::string>& header) {
  std::pair<std::string, std::string> result;
  for (const char c : header.first) {
    result.first += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  for (const char c : header.second) {
    if (c == ' ' && (result.second.empty() || result.second.back() == ' ')) continue;
    result.second += c;
  }
  if (!result.second.empty() && result.second.back() == ' ') result.second.pop_back();
  return result;
}

}  // namespace

std::string AwsDate(Time time) {
  const time_t seconds = static_cast<time_t>(ToMicros(time) / 1'000'000);
  tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

HttpHeaders SignAwsRequest(const AwsRequest& request, const AwsKeys& keys, const AwsScope& scope,
                           Time now) {
  const std::string date = AwsDate(now);
  HttpHeaders added{{"x-amz-date", date}};
  if (!keys.token.empty()) added.emplace_back("x-amz-security-token", keys.token);
  HttpHeaders headers;
  for (const HttpHeaders* some : {&request.headers, static_cast<const HttpHeaders*>(&added)}) {
    for (const auto& header : *some) headers.push_back(Canonical(header));
  }
  std::sort(headers.begin(), headers.end());
  std::string lines, names;
  for (const auto& [name, value] : headers) {
    lines += fmt::format("{}:{}\n", name, value);
    names += fmt::format("{}{}", names.empty() ? "" : ";", name);
  }
  const std::string canonical =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, request.path, request.query, lines,
                  names, Sha256Hex(request.body));

  const std::string day = date.substr(0, 8);
  const std::string place =
      fmt::format("{}/{}/{}/aws4_request", day, scope.region, scope.service);
  std::string key = Hmac("AWS4" + keys.secret, day);
  for (const std::string_view part : {std::string_view(scope.region),
                                      std::string_view(scope.service),
                                      std::string_view("aws4_request")}) {
    key = Hmac(key, part);
  }
  const std::string signature = Hex(
      Hmac(key, fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", date, place, Sha256Hex(canonical))));
  added.emplace_back(
      "Authorization",
      fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}", keys.id,
                  place, names, signature));
  return added;
}

}  // namespace marathon::inline MARATHON_ABI::detail
