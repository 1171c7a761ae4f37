#include "aws_environment.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <time.h>

#include <fstream>
#include <sstream>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

AwsSections ReadFile(const std::string& path) {
  const std::ifstream file(path);
  if (!file) return {};
  std::ostringstream text;
  text << file.rdbuf();
  return ParseAwsFile(text.str());
}

// The file that `variable` names, or that one of the user's home.
AwsSections ReadShared(const AwsVariables& variables, const std::string& variable,
                       const std::string& name) {
  if (const auto path = variables(variable)) return ReadFile(*path);
  const auto home = variables("HOME");
  return home ? ReadFile(*home + "/.aws/" + name) : AwsSections();
}

std::optional<Time> FromUtc(const char* rest, tm* utc) {
  if (rest == nullptr) return std::nullopt;
  return FromMicros(static_cast<int64_t>(timegm(utc)) * 1'000'000);
}

}  // namespace

AwsVariables ProcessVariables() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

AwsSections ParseAwsFile(std::string_view text) {
  AwsSections sections;
  std::map<std::string, std::string>* section = nullptr;
  while (!text.empty()) {
    const std::string_view raw = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(raw.size() + 1, text.size()));
    const std::string_view line = Trim(raw);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line.front() == '[') {
      const std::string_view name = Trim(line.substr(1, line.find(']') - 1));
      section = &sections[std::string(name)];
      continue;
    }
    const size_t equals = line.find('=');
    const bool nested = raw[0] == ' ' || raw[0] == '\t';  // of a service's own settings
    if (section == nullptr || equals == line.npos || nested) continue;
    std::string_view value = Trim(line.substr(equals + 1));
    for (const std::string_view comment : {" #", " ;"}) {
      value = Trim(value.substr(0, value.find(comment)));
    }
    (*section)[std::string(Trim(line.substr(0, equals)))] = value;
  }
  return sections;
}

std::optional<std::string> AwsProfile::Find(const std::string& key) const {
  const auto value = values.find(key);
  if (value == values.end() || value->second.empty()) return std::nullopt;
  return value->second;
}

AwsProfile ReadAwsProfile(const AwsVariables& variables, std::string name) {
  AwsProfile profile;
  profile.name = name.empty() ? variables("AWS_PROFILE").value_or("default") : std::move(name);
  AwsSections config = ReadShared(variables, "AWS_CONFIG_FILE", "config");
  AwsSections keys = ReadShared(variables, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
  for (AwsSections* sections : {&keys, &config}) {
    for (const std::string& section : {profile.name, "profile " + profile.name}) {
      const auto found = sections->find(section);
      if (found == sections->end()) continue;
      profile.found = true;
      profile.values.merge(found->second);
    }
  }
  return profile;
}

StatusOr<std::string> FindAwsRegion(const AwsVariables& variables, const AwsProfile& profile) {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (auto region = variables(name)) return *std::move(region);
  }
  if (auto region = profile.Find("region")) return *std::move(region);
  return InvalidArgument(
      "no AWS region: write it into the URL, as in sqs://eu-west-1/ACCOUNT/PREFIX, or set AWS_REGION");
}

std::string FindSqsEndpoint(const AwsVariables& variables, const AwsProfile& profile,
                            std::string_view region) {
  if (variables("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").value_or("") != "true") {
    for (const char* name : {"AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"}) {
      if (auto url = variables(name)) return *std::move(url);
    }
    if (auto url = profile.Find("endpoint_url")) return *std::move(url);
  }
  const bool china = region.substr(0, 3) == "cn-";
  return fmt::format("https://sqs.{}.amazonaws.com{}", region, china ? ".cn" : "");
}

std::optional<Time> ParseAwsTime(const std::string& text) {
  tm utc{};
  return FromUtc(strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &utc), &utc);
}

}  // namespace marathon::inline MARATHON_ABI::detail
