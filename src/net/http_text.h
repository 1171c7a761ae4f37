// Small parts of HTTP's text: hosts of URLs, headers and what is secret in them, and dates.
//
// Pure functions; safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// "Wed, 25 Nov 2026 04:00:00 GMT"; none: it is not one.
std::optional<Time> ParseHttpDate(const std::string& text);

// The host of a URL, without its port and brackets; and whether it is this machine.
std::string HostOfUrl(std::string_view url);
bool IsLoopback(std::string_view host);

std::string LowerCase(std::string_view text);  // ASCII's letters

// Whether all of it is visible ASCII; and whether it is a header that may be sent: "Name: value".
bool IsVisible(std::string_view text);
bool IsHeader(std::string_view line);

// What nobody must read of headers and a key; what is too short to be a secret, and may be part of any word, is none.
// And "[secret]" in place of it in a text: some servers repeat what they were sent.
std::vector<std::string> SecretsOf(const std::vector<std::string>& headers, std::string_view key = {});
void Redact(const std::vector<std::string>& secrets, std::string* text);
// The same for the beginning of one that a text ends with, where it was cut.
void RedactEnd(const std::vector<std::string>& secrets, std::string* text);

}  // namespace marathon::inline MARATHON_ABI::detail
