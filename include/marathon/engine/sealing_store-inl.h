#pragma once

#include "marathon/engine/sealing_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "marathon/detail/row_fields.h"
#include "marathon/event_codec.h"
#include "marathon/store/sealed_payloads.h"

namespace marathon::inline MARATHON_ABI {
namespace detail {

// Calls a codec, which is the application's code.
template <class Call>
StatusOr<std::string> AskCodec(Call&& call) {
  try {
    return call();
  } catch (const std::exception& e) {
    return DataLoss(fmt::format("it has thrown {}", e.what()));
  } catch (...) {
    return DataLoss("it has thrown something that is no std::exception");
  }
}

inline std::string NamesOf(const PayloadSealer::Codecs& codecs) {
  std::string names;
  for (const auto& codec : codecs) names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", codec->id());
  return names.empty() ? "none" : names;
}

// Calls `visit(event, Payload&)` for each payload of a record, and writes the record anew. One that cannot be read is
// left to the engine, which says so. With an error of `visit`, only that is told.
template <class Visit>
Status VisitRecord(std::string& bytes, const Visit& visit) {
  StatusOr<Record> record = DecodeRecord(bytes);
  if (!record.ok()) return {};
  bool changed = false;
  Status status;
  for (Event& event : record->events) {
    ForEachPayload(event.body, [&](Payload& payload) {
      if (!status.ok()) return;
      const Encoding before = payload.encoding;
      status = visit(event, payload);
      changed |= payload.encoding != before;
    });
  }
  if (status.ok() && changed) bytes = EncodeRecord(record->commit_id, record->events);
  return status;
}

// All payloads of one write are of one workflow.
class Sealing {
 public:
  Sealing(const PayloadSealer& sealer, std::string_view workflow_id) : sealer_(sealer), workflow_id_(workflow_id) {}

  template <class T>
  void In(T& value) {
    ForEachPayload(value, [this](Payload& payload) {
      if (status_.ok()) status_ = sealer_.Seal(payload, workflow_id_);
    });
  }
  void In(std::vector<Message>& messages) {
    for (Message& message : messages) In(message.body);
  }
  void In(TurnCommit& commit);
  const Status& status() const { return status_; }
  // For a write that is made again, with the same or by a caller who is told so.
  Status ForNow() const { return status_.ok() ? Status() : Unavailable(MessageOf(status_)); }

 private:
  const PayloadSealer& sealer_;
  const std::string_view workflow_id_;
  Status status_;
};

// The input of an activity is sealed once for its event and its row, so that both are the same bytes, and one blob.
inline void Sealing::In(TurnCommit& commit) {
  const auto before = static_cast<int64_t>(commit.record.size());
  const auto seal = [&](const Event& event, Payload& payload) {
    const auto its = std::ranges::find_if(commit.activities, [&](const NewActivity& activity) {
      return activity.id == event.id && activity.input == payload;
    });
    const Status status = sealer_.Seal(payload, workflow_id_);
    if (!status.ok()) {
      return MakeStatus(status.code(),
                        fmt::format("event {}, {}: {}", event.id, Describe(event.body), MessageOf(status)));
    }
    if (its != commit.activities.end()) its->input = payload;
    return Status();
  };
  if (status_.ok()) status_ = VisitRecord(commit.record, seal);
  // A history's limits are about what a replay has in memory.
  if (commit.history_bytes == 0) commit.history_bytes = before;
  for (NewActivity& activity : commit.activities) {
    if (status_.ok()) status_ = sealer_.Seal(activity.input, workflow_id_);
  }
  for (UpdateAnswer& answer : commit.answers) {
    if (!MARATHON_MUTANT("answers_unsealed")) In(answer.body);
  }
  if (commit.next) In(commit.next->messages);
}

// What of a read is kept sealed is no error, and what cannot be had at the moment is.
class Opening {
 public:
  Opening(const PayloadSealer& sealer, std::string_view workflow_id) : sealer_(sealer), workflow_id_(workflow_id) {}

  void One(Payload& payload) {
    if (payload.encoding != Encoding::kSealed || !status_.ok()) return;
    Status status = sealer_.Open(payload, workflow_id_);
    if (status.code() == StatusCode::kUnavailable) status_ = std::move(status);
  }
  template <class T>
  void In(T& value) {
    ForEachPayload(value, [this](Payload& payload) { One(payload); });
  }
  void InRecord(std::string& bytes) {
    if (!status_.ok()) return;
    status_ = VisitRecord(bytes, [this](const Event&, Payload& payload) {
      One(payload);
      return status_;
    });
  }
  const Status& status() const { return status_; }

 private:
  const PayloadSealer& sealer_;
  const std::string_view workflow_id_;
  Status status_;
};

inline Done<RunSnapshot> Opened(std::shared_ptr<const PayloadSealer> sealer, Done<RunSnapshot> done) {
  return [sealer = std::move(sealer), done = std::move(done)](StatusOr<RunSnapshot> read) mutable {
    if (!read.ok()) return done(std::move(read));
    if (Status status = OpenPayloads(*sealer, *read); !status.ok()) return done(std::move(status));
    done(std::move(read));
  };
}

}  // namespace detail

// ---- PayloadSealer ---------------------------------------------------------------------------------

MARATHON_INLINE Status PayloadSealer::Seal(Payload& payload, std::string_view workflow_id) const {
  const bool stays = payload.encoding == Encoding::kSealed || payload.encoding == Encoding::kBlob;
  if (codecs_.empty() || stays || payload.data.empty()) return {};
  PayloadCodec& codec = *codecs_.front();
  StatusOr<std::string> sealed = detail::AskCodec([&] { return codec.Seal(payload.data, workflow_id); });
  if (sealed.ok()) {
    payload = detail::ToPayload({codec.id(), payload.encoding, *sealed});
    return {};
  }
  const bool later = sealed.status().code() == StatusCode::kUnavailable;
  return MakeStatus(later ? StatusCode::kUnavailable : StatusCode::kFailedPrecondition,
                    fmt::format("payload codec \"{}\" does not seal it: {}", codec.id(), MessageOf(sealed.status())));
}

MARATHON_INLINE Status PayloadSealer::Open(Payload& payload, std::string_view workflow_id) const {
  if (payload.encoding != Encoding::kSealed) return {};
  const StatusOr<detail::SealedParts> parts = detail::SealedPartsOf(payload);
  if (!parts.ok()) return parts.status();
  const auto codec = std::ranges::find_if(codecs_, [&](const auto& one) { return one->id() == parts->codec; });
  if (codec == codecs_.end()) {
    return FailedPrecondition(fmt::format(
        "it is sealed by payload codec \"{}\", and the codecs here are: {}. Add that one to "
        "EngineOptions::payload_codecs",
        parts->codec, detail::NamesOf(codecs_)));
  }
  StatusOr<std::string> bytes = detail::AskCodec([&] { return (*codec)->Open(parts->bytes, workflow_id); });
  if (bytes.ok()) {
    payload = {*std::move(bytes), parts->encoding};
    return {};
  }
  const bool later = bytes.status().code() == StatusCode::kUnavailable;
  return MakeStatus(later ? StatusCode::kUnavailable : StatusCode::kDataLoss,
                    fmt::format("payload codec \"{}\" does not open it: {}. Give this worker the key it was sealed with; "
                                "if that is what it has, the stored bytes are damaged", parts->codec,
                                MessageOf(bytes.status())));
}

MARATHON_INLINE Status PayloadSealer::CheckHistory(const History& history, std::string_view workflow_id,
                                                   EventId* event_id) const {
  for (const Event& event : history) {
    const Status status = CheckOpen(event.body, workflow_id);
    if (status.ok()) continue;
    if (event_id != nullptr) *event_id = event.id;
    return MakeStatus(status.code(),
                      fmt::format("event {}, {}: {}", event.id, Describe(event.body), MessageOf(status)));
  }
  return {};
}

// ---- SealingStore ----------------------------------------------------------------------------------

MARATHON_INLINE Status SealPayloads(const PayloadSealer& sealer, TurnCommit& commit) {
  detail::Sealing sealing(sealer, commit.run.workflow_id);
  sealing.In(commit);
  return sealing.status();
}

MARATHON_INLINE Status OpenPayloads(const PayloadSealer& sealer, TurnCommit& commit) {
  detail::Opening opening(sealer, commit.run.workflow_id);
  opening.InRecord(commit.record);
  for (NewActivity& activity : commit.activities) opening.One(activity.input);
  for (UpdateAnswer& answer : commit.answers) opening.In(answer.body);
  if (commit.next) {
    for (Message& message : commit.next->messages) opening.In(message.body);
  }
  commit.history_bytes = 0;
  return opening.status();
}

MARATHON_INLINE Status OpenPayloads(const PayloadSealer& sealer, RunSnapshot& snapshot) {
  const Id workflow_id = snapshot.row.key.workflow_id;
  detail::Opening opening(sealer, workflow_id);
  for (std::string& record : snapshot.records) opening.InRecord(record);
  for (Message& message : snapshot.inbox) opening.In(message.body);
  for (ActivityRow& row : snapshot.activities) opening.In(row);
  if (snapshot.answer) opening.In(snapshot.answer->body);
  return opening.status();
}

MARATHON_INLINE void SealingStore::Start(StartRequest request, Done<StartReply> done) {
  detail::Sealing sealing(*sealer_, request.run.workflow_id);
  sealing.In(request.messages);
  sealing.In(request.inbox);
  if (request.first_turn) sealing.In(*request.first_turn);
  if (Status status = sealing.ForNow(); !status.ok()) return done(std::move(status));
  base()->Start(std::move(request), std::move(done));
}

MARATHON_INLINE void SealingStore::Put(PutRequest request, Done<PutReply> done) {
  detail::Sealing sealing(*sealer_, request.run.workflow_id);
  sealing.In(request.message.body);
  if (Status status = sealing.ForNow(); !status.ok()) return done(std::move(status));
  base()->Put(std::move(request), std::move(done));
}

MARATHON_INLINE void SealingStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  const Status status = SealPayloads(*sealer_, commit);
  if (status.code() == StatusCode::kFailedPrecondition) return done(DataLoss(MessageOf(status)));
  if (!status.ok()) return done(status);
  base()->Commit(std::move(commit), std::move(done));
}

MARATHON_INLINE void SealingStore::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  detail::Sealing sealing(*sealer_, end.key.run.workflow_id);
  sealing.In(end.outcome);
  sealing.In(end.failure);
  sealing.In(end.heartbeat);
  if (Status status = sealing.ForNow(); !status.ok()) return done(std::move(status));
  base()->EndAttempt(std::move(end), std::move(done));
}

MARATHON_INLINE void SealingStore::Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) {
  detail::Sealing sealing(*sealer_, request.key.run.workflow_id);
  sealing.In(request.details);
  if (Status status = sealing.ForNow(); !status.ok()) return done(std::move(status));
  base()->Heartbeat(std::move(request), std::move(done));
}

MARATHON_INLINE void SealingStore::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  base()->TakeTurn(std::move(request), detail::Opened(sealer_, std::move(done)));
}

MARATHON_INLINE void SealingStore::Read(ReadRequest request, Done<RunSnapshot> done) {
  base()->Read(std::move(request), detail::Opened(sealer_, std::move(done)));
}

MARATHON_INLINE uint64_t SealingStore::Await(AwaitRequest request, Done<RunSnapshot> done) {
  return base()->Await(std::move(request), detail::Opened(sealer_, std::move(done)));
}

}  // namespace marathon::inline MARATHON_ABI
