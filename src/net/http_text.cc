#include "src/net/http_text.h"

#include <time.h>

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

}  // namespace marathon::inline MARATHON_ABI::detail
