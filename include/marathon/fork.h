// ForkOptions: how a new run begins as another one did, up to one of its turns, and goes on from there by itself
// (Run::Fork). The other run is only read, whether it is open, blocked or closed.
//
// A value; no thread rule.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "marathon/client_requests.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/payload.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

struct ForkOptions {
  // Turns are kept up to the one that has this event, and replayed: nothing in them is done again. 0: none is, the
  // fork begins from the start. The turn that ended the run cannot be kept.
  EventId keep = 0;
  // Results of activities and children, by their ActivityScheduled or LocalActivityStarted events, which must be kept:
  // instead of what is recorded for them, or of running what was pending then.
  std::map<EventId, Payload> results{};
  std::optional<Payload> input{};  // of the run, instead of the recorded one
  bool signals = false;            // those that came in later turns are sent to the fork, too
  std::string workflow_id{};       // empty: a new one
  std::string request_id{};        // the same again gives the same run. Empty: a new one
  IdReusePolicy id_reuse = IdReusePolicy::kAllowDuplicate;  // when a closed run has the id, as the other one may

  template <class T>
  Status SetResult(EventId scheduled, const T& value) {
    StatusOr<Payload> payload = Encode<T>(value);
    if (!payload.ok()) return payload.status();
    results.insert_or_assign(scheduled, *std::move(payload));
    return {};
  }
  template <class T>
  Status SetInput(const T& value) {
    StatusOr<Payload> payload = Encode<T>(value);
    if (!payload.ok()) return payload.status();
    input = *std::move(payload);
    return {};
  }
};

}  // namespace marathon::inline MARATHON_ABI
