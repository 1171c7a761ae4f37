// The layouts of a store's rows: see layout.h. A row that stands alone also has a persisted number
// and a name. Persisted: the order of the members is the order of their bytes; a new member goes
// last.
#pragma once

#include <cstdint>
#include <string_view>
#include <tuple>

#include "marathon/config.h"
#include "marathon/detail/event_fields.h"
#include "marathon/detail/layout.h"
#include "marathon/store_rows.h"

namespace marathon::inline MARATHON_ABI::detail {

template <>
struct EnumRange<RunStatus> {
  static constexpr RunStatus first = RunStatus::kRunning, last = RunStatus::kContinuedAsNew;
};
template <>
struct EnumRange<ActivityState> {
  static constexpr ActivityState first = ActivityState::kClaimable, last = ActivityState::kDead;
};

template <>
struct EnumRange<Owed> {
  static constexpr Owed first = Owed::kNo, last = Owed::kNow;
};

template <>
struct Layout<BlockInfo> {
  static constexpr auto fields = std::tuple{
      Field{"build_id", &BlockInfo::build_id},
      Field{"reason", &BlockInfo::reason},
      Field{"event_id", &BlockInfo::event_id},
      Field{"since", &BlockInfo::since},
      Field{"retry_at", &BlockInfo::retry_at},
  };
};

template <>
struct Layout<PauseInfo> {
  static constexpr auto fields = std::tuple{
      Field{"reason", &PauseInfo::reason},
      Field{"since", &PauseInfo::since},
  };
};

template <>
struct Layout<RunLinks> {
  static constexpr bool sparse = true;
  static constexpr auto fields = std::tuple{
      Field{"first_run_id", &RunLinks::first_run_id},
      Field{"next_run_id", &RunLinks::next_run_id},
      Field{"not_before", &RunLinks::not_before},
      Field{"children", &RunLinks::children},
      Field{"parent", &RunLinks::parent},
  };
};

template <>
struct Layout<RunLabels> {
  static constexpr auto fields = std::tuple{
      Field{"memo", &RunLabels::memo},
      Field{"attributes", &RunLabels::attributes},
  };
};

template <>
struct Layout<RunRow> {
  static constexpr uint8_t number = 1;
  static constexpr std::string_view name = "run row";
  static constexpr auto fields = std::tuple{
      Field{"key", &RunRow::key},
      Field{"workflow_type", &RunRow::workflow_type},
      Field{"task_queue", &RunRow::task_queue},
      Field{"request_id", &RunRow::request_id},
      Field{"status", &RunRow::status},
      Field{"version", &RunRow::version},
      Field{"commit_id", &RunRow::commit_id},
      Field{"history_bytes", &RunRow::history_bytes},
      Field{"pending_activities", &RunRow::pending_activities},
      Field{"start_time", &RunRow::start_time},
      Field{"close_time", &RunRow::close_time},
      Field{"run_deadline", &RunRow::run_deadline},
      Field{"inbox_last", &RunRow::inbox_last},
      Field{"inbox_last_signal", &RunRow::inbox_last_signal},
      Field{"inbox_size", &RunRow::inbox_size},
      Field{"ready_since", &RunRow::ready_since},
      Field{"owner", &RunRow::owner},
      Field{"owner_until", &RunRow::owner_until},
      Field{"deliveries", &RunRow::deliveries},
      Field{"resends", &RunRow::resends},
      Field{"blocked", &RunRow::blocked},
      Field{"give_backs", &RunRow::give_backs},
      Field{"links", &RunRow::links},
      Field{"paused", &RunRow::paused},
      Field{"dead_letters", &RunRow::dead_letters},
      Field{"deleted", &RunRow::deleted},
      AddedField{"labels", &RunRow::labels},
      AddedField{"pinned", &RunRow::pinned},
      AddedField{"has_blobs", &RunRow::has_blobs},
  };
};

template <>
struct Layout<ActivityRow> {
  static constexpr uint8_t number = 2;
  static constexpr std::string_view name = "activity row";
  static constexpr auto fields = std::tuple{
      Field{"key", &ActivityRow::key},
      Field{"activity_type", &ActivityRow::activity_type},
      Field{"task_queue", &ActivityRow::task_queue},
      Field{"workflow_type", &ActivityRow::workflow_type},
      Field{"input", &ActivityRow::input},
      Field{"headers", &ActivityRow::headers},
      Field{"policy", &ActivityRow::policy},
      Field{"state", &ActivityRow::state},
      Field{"attempt", &ActivityRow::attempt},
      Field{"deliveries", &ActivityRow::deliveries},
      Field{"epoch", &ActivityRow::epoch},
      Field{"session", &ActivityRow::session},
      Field{"scheduled_at", &ActivityRow::scheduled_at},
      Field{"available_at", &ActivityRow::available_at},
      Field{"started_at", &ActivityRow::started_at},
      Field{"heartbeat_at", &ActivityRow::heartbeat_at},
      Field{"heartbeat", &ActivityRow::heartbeat},
      Field{"last_failure", &ActivityRow::last_failure},
      Field{"cancel_requested", &ActivityRow::cancel_requested},
      Field{"resends", &ActivityRow::resends},
      Field{"owed", &ActivityRow::owed},
      Field{"paused", &ActivityRow::paused},
  };
};

template <>
struct Layout<SessionRow> {
  static constexpr uint8_t number = 3;
  static constexpr std::string_view name = "session row";
  static constexpr auto fields = std::tuple{
      Field{"id", &SessionRow::id},
      Field{"host", &SessionRow::host},
      Field{"lease_ms", &SessionRow::lease},
      Field{"expires_at", &SessionRow::expires_at},
      Field{"renewals", &SessionRow::renewals},
  };
};

template <>
struct Layout<IdRow> {
  static constexpr uint8_t number = 4;
  static constexpr std::string_view name = "id row";
  static constexpr auto fields = std::tuple{
      Field{"workflow_id", &IdRow::workflow_id},
      Field{"run_id", &IdRow::run_id},
      Field{"request_id", &IdRow::request_id},
      Field{"status", &IdRow::status},
  };
};

}  // namespace marathon::inline MARATHON_ABI::detail
