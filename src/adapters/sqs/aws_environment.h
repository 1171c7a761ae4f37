// What a process finds around it about AWS: variables, and the files that the AWS tools share.
//
// Values and functions; safe from any thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// Tells a variable; none if it is not set, or empty. Tests bring their own.
using AwsVariables = std::function<std::optional<std::string>(const std::string& name)>;

AwsVariables ProcessVariables();

// Sections of a file like ~/.aws/config: names as they are written there ("default", "profile x").
using AwsSections = std::map<std::string, std::map<std::string, std::string>>;

AwsSections ParseAwsFile(std::string_view text);

// One profile, as config and credentials file have it together; the latter's values come first.
struct AwsProfile {
  std::string name;
  bool found = false;
  std::map<std::string, std::string> values;

  std::optional<std::string> Find(const std::string& key) const;
};

// `name`: empty for that of AWS_PROFILE, or else "default".
AwsProfile ReadAwsProfile(const AwsVariables& variables, std::string name);

// The region to use when the URL has none.
StatusOr<std::string> FindAwsRegion(const AwsVariables& variables, const AwsProfile& profile);

// Where SQS of `region` is: by AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL, the profile, or its own name.
std::string FindSqsEndpoint(const AwsVariables& variables, const AwsProfile& profile,
                            std::string_view region);

// "2026-11-25T04:00:00Z", also with fractions of a second; none: it is not one.
std::optional<Time> ParseAwsTime(const std::string& text);

}  // namespace marathon::inline MARATHON_ABI::detail
