// What is refused of that which users give: names, values, options.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/text.h"
#include "marathon/limits.h"
#include "marathon/options.h"
#include "marathon/payload.h"
#include "marathon/payload_codec.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

inline Status CheckText(std::string_view what, std::string_view text, size_t max) {
  if (text.empty() || text.size() > max) {
    return InvalidArgument(
        fmt::format("the {} must have 1 to {} bytes, not {}", what, max, text.size()));
  }
  if (detail::IsCleanText(text)) return {};
  return InvalidArgument(fmt::format("the {} must be UTF-8 without control characters", what));
}

inline Status CheckTaskQueue(std::string_view name) {
  Status status = CheckText("task queue", name, limits::kMaxNameBytes);
  if (!status.ok() || name.find(kPinMark) == name.npos) return status;
  return InvalidArgument(fmt::format(
      "the task queue \"{}\" needs a name without {}, which stands before the build in those of pinned runs", name,
      kPinMark));
}

inline Status CheckPayload(std::string_view what, const Payload& payload) {
  if (payload.encoding == Encoding::kBlob) {
    return InvalidArgument(fmt::format("the {} is the name of a blob in some store, and no value", what));
  }
  if (payload.encoding == Encoding::kSealed) {
    return InvalidArgument(fmt::format("the {} is sealed by payload codec \"{}\": it is to be opened first", what,
                                       SealedBy(payload)));
  }
  if (payload.data.size() <= limits::kPayloadMaxBytes) return {};
  return ResourceExhausted(fmt::format("the {} has {} bytes, over the limit of {}", what,
                                       payload.data.size(), limits::kPayloadMaxBytes));
}

inline Status FirstError(std::initializer_list<Status> statuses) {
  for (const Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return {};
}

inline Status CheckSignal(std::string_view name, const Payload& input, std::string_view request_id) {
  return FirstError({CheckText("signal name", name, limits::kMaxNameBytes),
                     CheckText("request id", request_id, limits::kMaxIdBytes), CheckPayload("signal's value", input)});
}

// ---- EngineOptions

inline Status CheckAtLeast(std::string_view name, int64_t value, int64_t least) {
  if (value >= least) return {};
  return InvalidArgument(fmt::format("EngineOptions::{} is {}, and must be at least {}", name, value, least));
}

inline Status CheckBetween(std::string_view name, Duration value, Duration least, Duration most) {
  if (value >= least && value <= most) return {};
  return InvalidArgument(fmt::format("EngineOptions::{} is {} ms, and must be from {} to {} ms", name, value.count(),
                                     least.count(), most.count()));
}

inline Status CheckCodecs(const std::vector<std::shared_ptr<PayloadCodec>>& codecs) {
  const auto has_other = [](std::string_view id) {
    return std::ranges::any_of(id, [](unsigned char c) {
      return !std::isalnum(c) && std::string_view("-_.:/").find(static_cast<char>(c)) == std::string_view::npos;
    });
  };
  for (size_t i = 0; i < codecs.size(); ++i) {
    if (codecs[i] == nullptr) return InvalidArgument(fmt::format("EngineOptions::payload_codecs[{}] is null", i));
    const std::string_view id = codecs[i]->id();
    if (id.empty() || id.size() > limits::kMaxCodecIdBytes || has_other(id)) {
      return InvalidArgument(fmt::format(
          "the id \"{}\" of EngineOptions::payload_codecs[{}] must have 1 to {} letters, digits, '-', '_', '.', ':' or "
          "'/'",
          detail::ReadableText(std::string(id), limits::kMaxCodecIdBytes), i, limits::kMaxCodecIdBytes));
    }
    const auto same = [id](const auto& other) { return other->id() == id; };
    if (std::any_of(codecs.begin(), codecs.begin() + static_cast<ptrdiff_t>(i), same)) {
      return InvalidArgument(fmt::format("EngineOptions::payload_codecs has the id \"{}\" twice", id));
    }
  }
  return {};
}

inline Status CheckOptions(const EngineOptions& options) {
  Status status = CheckAtLeast("turn_threads", options.turn_threads, 0);
  if (status.ok()) status = CheckAtLeast("activity_threads", options.activity_threads, 1);
  if (status.ok()) status = CheckAtLeast("max_async_activities", options.max_async_activities, 1);
  if (status.ok() && !(options.max_activities_per_second >= 0)) {
    status = InvalidArgument("EngineOptions::max_activities_per_second must not be negative; 0 is no limit");
  }
  if (status.ok()) status = CheckBetween("lease", options.lease, limits::kMinLease, limits::kRestingLease);
  if (status.ok()) status = CheckBetween("watchdog", options.watchdog, Duration(0), std::chrono::hours(24));
  if (status.ok()) status = CheckText("EngineOptions::build_id", options.build_id, limits::kMaxNameBytes);
  if (status.ok()) status = CheckCodecs(options.payload_codecs);
  for (const std::string& queue : options.task_queues) {
    if (status.ok()) status = CheckTaskQueue(queue);
  }
  return status;
}

}  // namespace marathon::inline MARATHON_ABI
