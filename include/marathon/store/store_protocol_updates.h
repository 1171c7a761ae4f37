// StoreProtocol: what is answered to updates. Included by store_protocol.h.
//
// An update is a message like a signal. Its answer is kept beside its dedupe key, as EncodeBody of an event: of
// an UpdateAccepted, always the same, or of an UpdateCompleted.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/event_codec.h"
#include "marathon/store/protocol_rules.h"
#include "marathon/store/store_protocol.h"
#include "marathon/store/update_answers.h"

namespace marathon::inline MARATHON_ABI {

// Those who may still be answered are not forgotten, however long that takes.
template <class Tables>
void StoreProtocol<Tables>::SetAnswers(Run& run, const std::vector<UpdateAnswer>& answers) {
  for (const UpdateAnswer& answer : answers) {
    const bool accepted = std::holds_alternative<UpdateAccepted>(answer.body);
    t_.SetAnswer(run, UpdateKey(answer.update_id),
                 accepted ? detail::AcceptedAnswer() : EncodeBody(answer.body),
                 accepted ? kNever : now_);
  }
  if (!MARATHON_MUTANT("update_not_told")) effects_.answered.push_back(run.key);
}

template <class Tables>
StatusOr<std::optional<UpdateAnswer>> StoreProtocol<Tables>::ReadAnswer(
    const Run& run, const AwaitRequest& request) {
  std::optional<UpdateAnswer> answer;
  if (request.update_id.empty()) return answer;
  const std::string key = UpdateKey(request.update_id);
  const std::optional<std::string> stored = t_.AnswerTo(run, key);
  if (!stored && run.status == RunStatus::kRunning && !t_.HasKey(run, key)) {
    return NotFound(fmt::format("{} knows of no update \"{}\"", detail::Name(run.key), request.update_id));
  }
  if (!stored) return answer;
  StatusOr<EventBody> body = DecodeBody(*stored);
  if (!body.ok()) return body.status();
  const bool accepted = std::holds_alternative<UpdateAccepted>(*body);
  if (accepted && request.stage == UpdateStage::kCompleted) return answer;
  answer.emplace(UpdateAnswer{request.update_id, *std::move(body)});
  return answer;
}

}  // namespace marathon::inline MARATHON_ABI
