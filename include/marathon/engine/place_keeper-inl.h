#pragma once

#include "marathon/engine/place_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "marathon/engine/attempt-inl.h"
#include "marathon/engine/host.h"

namespace marathon::inline MARATHON_ABI::detail {

// An activity as the holder of a place: event/run id/workflow id.
inline std::string HolderName(const ActivityKey& key) {
  return fmt::format("{}/{}/{}", key.id, key.run.run_id, key.run.workflow_id);
}

inline std::optional<ActivityKey> ParseHolderName(std::string_view name) {
  ActivityKey key;
  const char* const last = name.data() + name.size();
  const auto [end, error] = std::from_chars(name.data(), last, key.id);
  if (error != std::errc() || end == last) return std::nullopt;
  const std::string_view rest(end + 1, static_cast<size_t>(last - end - 1));
  const size_t slash = rest.find('/');
  if (slash == rest.npos) return std::nullopt;
  key.run.run_id = rest.substr(0, slash);
  key.run.workflow_id = rest.substr(slash + 1);
  return key;
}

class PlaceKeeper::Busy {
 public:
  explicit Busy(std::shared_ptr<Host> host) : host_(std::move(host)) { host_->turns().Enter(); }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() { host_->turns().Exit(); }

 private:
  const std::shared_ptr<Host> host_;
};

MARATHON_INLINE void PlaceKeeper::Enter(const Attempt& attempt, Done<bool> granted) {
  EnterPlace request{.key = attempt.place(), .holder = HolderName(attempt.key()), .epoch = attempt.epoch()};
  request.max = attempt.policy().max_per_key;
  request.priority = attempt.policy().priority;
  const std::string place = request.key;
  host_.limiter().Enter(std::move(request), [self = host_.Self(), place,
                                             granted = std::move(granted)](StatusOr<EnterReply> reply) mutable {
    if (!reply.ok()) return granted(reply.status());
    self->places().TellAll(place, reply->passed);
    if (reply->suspect) self->places().LookAfter(place, *reply->suspect);
    granted(reply->granted);
  });
}

MARATHON_INLINE void PlaceKeeper::Leave(std::string place, ActivityKey key, Epoch epoch) {
  if (place.empty()) return;
  Send({std::move(place), HolderName(key), epoch}, 0, std::make_shared<Busy>(host_.Self()));
}

MARATHON_INLINE void PlaceKeeper::Send(LeavePlace request, int failures, std::shared_ptr<Busy> busy) {
  LeavePlace copy = request;
  host_.limiter().Leave(std::move(copy), [self = host_.Self(), request = std::move(request), failures,
                                          busy = std::move(busy)](StatusOr<LeaveReply> reply) mutable {
    constexpr int kPatience = 8;
    if (reply.ok() && reply->passed.empty()) return;
    if (reply.ok()) {  // posted: of thousands that no longer wait, each passes its place on
      return self->runtime().Post(Lane::kTurn, [self, place = std::move(request.key), passed = std::move(reply->passed),
                                                busy = std::move(busy)] { self->places().TellAll(place, passed); });
    }
    const bool again = IsTransient(reply.status()) && (failures < kPatience || !self->stopping());
    if (!again) return;  // whoever waits finds out
    self->AfterBackoff(failures + 1, [self, request = std::move(request), failures, busy = std::move(busy)]() mutable {
      self->places().Send(std::move(request), failures + 1, std::move(busy));
    });
  });
}

MARATHON_INLINE void PlaceKeeper::TellAll(const std::string& place, const std::vector<std::string>& holders) {
  for (const std::string& holder : holders) {
    if (auto key = ParseHolderName(holder)) {
      Tell(place, *std::move(key), 0, std::make_shared<Busy>(host_.Self()));
    }
  }
}

// What is perhaps done is not done again: it might cut short another wait by then.
MARATHON_INLINE void PlaceKeeper::Tell(std::string place, ActivityKey key, int failures, std::shared_ptr<Busy> busy) {
  ActivityKey copy = key;
  host_.store().RetryActivity(std::move(copy), [self = host_.Self(), place = std::move(place), key = std::move(key),
                                                failures, busy = std::move(busy)](const Status& status) mutable {
    constexpr int kPatience = 8;
    if (status.code() == StatusCode::kNotFound) return self->places().Leave(std::move(place), std::move(key), 0);
    if (status.code() != StatusCode::kUnavailable || failures == kPatience) return;
    self->AfterBackoff(failures + 1, [self, place = std::move(place), key = std::move(key), failures,
                                      busy = std::move(busy)]() mutable {
      self->places().Tell(std::move(place), std::move(key), failures + 1, std::move(busy));
    });
  });
}

// Whose row is not in anybody's hands at this epoch, has ended without a word.
MARATHON_INLINE void PlaceKeeper::LookAfter(std::string place, const PlaceHolder& suspect) {
  const auto key = ParseHolderName(suspect.holder);
  if (!key) return;
  ReadRequest request;
  request.run = key->run;
  request.activities = true;
  host_.store().Read(std::move(request), [self = host_.Self(), place = std::move(place), key = *key,
                                          epoch = suspect.epoch,
                                          busy = std::make_shared<Busy>(host_.Self())](
                                             const StatusOr<RunSnapshot>& found) mutable {
    if (!found.ok() && found.status().code() != StatusCode::kNotFound) return;  // it is suspected again
    const auto works = [&](const ActivityRow& row) {
      const bool held = row.state == ActivityState::kClaimed || row.state == ActivityState::kDetached;
      return held && row.key == key && row.epoch == epoch;
    };
    if (found.ok() && std::ranges::any_of(found->activities, works)) return;
    self->places().Leave(std::move(place), std::move(key), epoch);
  });
}

}  // namespace marathon::inline MARATHON_ABI::detail
