#include "src/net/http_text.h"

#include <time.h>

#include <algorithm>

namespace marathon::inline MARATHON_ABI::detail {

std::optional<Time> ParseHttpDate(const std::string& text) {
  tm utc{};
  if (strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &utc) == nullptr) return std::nullopt;
  return FromMicros(static_cast<int64_t>(timegm(&utc)) * 1'000'000);
}

std::string HostOfUrl(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme != url.npos) url.remove_prefix(scheme + 3);
  url = url.substr(0, url.find_first_of("/?#"));
  if (const size_t at = url.rfind('@'); at != url.npos) url.remove_prefix(at + 1);
  if (!url.empty() && url[0] == '[') return std::string(url.substr(1, url.find(']') - 1));
  return std::string(url.substr(0, url.find(':')));
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  constexpr std::string_view kDigits = "0123456789.";
  return host.substr(0, 4) == "127." && host.find_first_not_of(kDigits) == host.npos;
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool IsHeader(std::string_view line) {
  const size_t colon = line.find(':');
  return colon != 0 && colon != line.npos && IsVisible(line.substr(0, colon)) &&
         line.find_first_of(std::string_view("\r\n\0", 3)) == line.npos;
}

std::vector<std::string> SecretsOf(const std::vector<std::string>& headers, std::string_view key) {
  constexpr size_t kSecretMin = 8;
  std::vector<std::string> secrets = {std::string(key)};
  for (const std::string& header : headers) {
    const size_t value = header.find_first_not_of(' ', header.find(':') + 1);
    if (value == header.npos) continue;
    secrets.push_back(header.substr(value));
    secrets.push_back(header.substr(header.rfind(' ') + 1));  // without "Bearer "
  }
  std::erase_if(secrets, [](const std::string& text) { return text.size() < kSecretMin; });
  return secrets;
}

namespace {
constexpr std::string_view kInstead = "[secret]";
}  // namespace

void Redact(const std::vector<std::string>& secrets, std::string* text) {
  for (const std::string& secret : secrets) {
    for (size_t at = 0; (at = text->find(secret, at)) != text->npos; at += kInstead.size()) {
      text->replace(at, secret.size(), kInstead);
    }
  }
}

void RedactEnd(const std::vector<std::string>& secrets, std::string* text) {
  constexpr size_t kBeginningMin = 4;  // less may be anything
  size_t longest = 0;
  for (const std::string& secret : secrets) {
    for (size_t size = std::min(secret.size() - 1, text->size()); size >= kBeginningMin; --size) {
      if (!text->ends_with(std::string_view(secret).substr(0, size))) continue;
      longest = std::max(longest, size);
      break;
    }
  }
  if (longest > 0) text->replace(text->size() - longest, longest, kInstead);
}

}  // namespace marathon::inline MARATHON_ABI::detail
