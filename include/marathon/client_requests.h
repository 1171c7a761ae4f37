// What a client asks for in terms that the store shares: which run a start may meet, how far it waits for an update, and
// which runs a list shows. Values; no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/labels.h"
#include "marathon/store_rows.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// What to do when the workflow id's newest run is closed.
enum class IdReusePolicy : uint8_t { kAllowDuplicate, kAllowDuplicateFailedOnly, kRejectDuplicate };
// … and when it is open.
enum class IdConflictPolicy : uint8_t { kFail, kUseExisting };

// How far an update has come.
enum class UpdateStage : uint8_t { kAccepted = 1, kCompleted = 2 };

// Which runs: those that fit all that is set. They are looked at from the newest on until a page is full, so what fits
// few of many costs a look at many; a page of those with an attribute costs, in SQLite and Redis, a look at those that
// have the first of `attributes`.
struct ListRequest {
  std::string workflow_type = {};             // empty: any
  std::optional<RunStatus> status = {};       // none: any
  bool blocked_only = false;
  bool paused_only = false;
  bool dead_letters_only = false;             // with activities in state kDead
  std::string pinned_to = {};                 // this build; empty: any, and none
  Time ready_before = kNever;                 // whose next turn nobody has taken since before this time
  std::string workflow_id_prefix = {};        // empty: any
  Time started_from = {};                     // at this time or later …
  Time started_before = kNever;               // … and before this
  Labels attributes = {};                     // that have all of these. The rarest first
  int limit = 100;
  std::string page_token = {};                // empty: from the newest
  // Without a page_token: all there are are counted, whatever the limit, and none is given.
  bool count_only = false;
};

struct ListReply {
  std::vector<RunRow> runs;  // newest start first; those that start while pages are read are in none
  std::string next_page_token;  // empty: that was all
  int64_t count = 0;            // with count_only
};

}  // namespace marathon::inline MARATHON_ABI
