// How people talk to an agent that runs: they decide on calls that wait for them, steer, and stop it. These are
// signals and queries of its run; client.h has them as functions.
//
// Values; no thread rule. Their JSON is kept: its names never change.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/activity_def.h"
#include "marathon/agent/budget.h"
#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::agent {

// A call of a tool that waits for a person.
struct PendingApproval {
  std::string key;  // "<step>/<call id>": the same for as long as it waits
  std::string tool;
  std::string arguments;  // JSON text
  std::string digest;     // of the arguments
  Time asked{};
  Time expires{};         // counts as denied then; Time(): never

  friend bool operator==(const PendingApproval&, const PendingApproval&) = default;
};

enum class Verdict : uint8_t {
  kApprove,
  kDeny,  // `text` tells the model why
  kEdit,  // approves other arguments, which must fit the tool's schema
};

// "approve"
MARATHON_EXPORT std::string_view NameOf(Verdict verdict);

// Only what was seen is approved: a decision counts if its digest is that of the arguments which wait. Any other
// one, a late one, and a second one of a call, is logged and forgotten; an update (kDecideAndTell) is told so.
struct Decision {
  std::string key;
  std::string digest;
  Verdict verdict = Verdict::kApprove;
  std::string text{};
  std::string arguments{};  // kEdit: JSON text

  friend bool operator==(const Decision&, const Decision&) = default;
};

// Said to the model before its next step, as a message of the user's.
struct Steering {
  std::string text;
};

// Ends the run with what there is. A call of the model is canceled, and the text that had come is kept; tools are told to
// stop, and waited for.
struct StopOrder {
  std::string reason;
  int turn = 0;  // of a session: only this one, so that an order which comes late ends no other. 0: whichever is on
};

struct AgentStatus {
  std::string state;  // "model", "tools", "approval" (nothing goes on but waiting) or "ended"
  Spending spent{};
  std::string text{};  // the model's last words
  int turn = 1;        // that is on, or was the last; 0: a session's first has not begun
};

inline constexpr SignalDef<Decision> kDecide{"agent.decide"};
// The same, and whether it counts: rejected if not, and the failure's type says why. "Expired", "Decided", "Stopped": it
// comes too late. "Changed": other arguments wait. "Unfit": those that it brings. "Unknown": no such call has waited.
inline constexpr UpdateDef<void(Decision)> kDecideAndTell{"agent.decide_and_tell"};
inline constexpr SignalDef<Steering> kSteer{"agent.steer"};
inline constexpr SignalDef<StopOrder> kStop{"agent.stop"};
inline constexpr QueryDef<std::vector<PendingApproval>()> kPending{"agent.pending"};
inline constexpr QueryDef<AgentStatus()> kStatus{"agent.status"};

// The attribute of runs in which a call waits for a person, and its value: what List and Count find them by.
inline constexpr char kWaitsAttribute[] = "agent.waits";
inline constexpr char kWaitsForApproval[] = "approval";

// What PendingApproval::digest and Decision::digest are of: the arguments in canonical JSON.
MARATHON_EXPORT std::string DigestOf(const nlohmann::json& arguments);

MARATHON_EXPORT void to_json(nlohmann::json& json, const PendingApproval& pending);
MARATHON_EXPORT void from_json(const nlohmann::json& json, PendingApproval& pending);
MARATHON_EXPORT void to_json(nlohmann::json& json, const Decision& decision);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Decision& decision);
MARATHON_EXPORT void to_json(nlohmann::json& json, const Steering& steering);
MARATHON_EXPORT void from_json(const nlohmann::json& json, Steering& steering);
MARATHON_EXPORT void to_json(nlohmann::json& json, const StopOrder& order);
MARATHON_EXPORT void from_json(const nlohmann::json& json, StopOrder& order);
MARATHON_EXPORT void to_json(nlohmann::json& json, const AgentStatus& status);
MARATHON_EXPORT void from_json(const nlohmann::json& json, AgentStatus& status);

}  // namespace marathon::inline MARATHON_ABI::agent
