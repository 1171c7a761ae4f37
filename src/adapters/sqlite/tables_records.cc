// SqliteTables: records, blobs, messages and dedupe keys of runs.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/blob_rules.h"
#include "marathon/store/protocol_rules.h"
#include "statements.h"
#include "tables.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- Records

void SqliteTables::AppendRecord(Run& run, EventId version, CommitId commit_id,
                                std::string record) {
  sql_->append_record.Run(run.id, version, static_cast<int64_t>(commit_id), SqliteBlob{record});
}

CommitId SqliteTables::CommitAt(const Run& run, EventId version) {
  SqliteCursor cursor = sql_->commit_at.Query(run.id, version);
  return cursor.Next() ? static_cast<CommitId>(cursor.Int(0)) : 0;
}

bool SqliteTables::ReadRecords(const Run& run, EventId after, size_t max_bytes,
                               std::vector<std::string>& out) {
  size_t bytes = 0;
  SqliteCursor cursor = sql_->read_records.Query(run.id, after);
  while (cursor.Next()) {
    const std::string_view record = cursor.Bytes(0);
    if (bytes > 0 && bytes + record.size() > max_bytes) return true;
    bytes += record.size();
    out.emplace_back(record);
  }
  return false;
}

std::string SqliteTables::LastRecord(const Run& run) {
  SqliteCursor cursor = sql_->last_record.Query(run.id);
  return cursor.Next() ? cursor.String(0) : std::string();
}

// ---- Blobs that runs hold

void SqliteTables::HoldBlobs(Run& run, const std::vector<NamedBlob>& blobs) {
  SweepBlobs();
  for (const NamedBlob& blob : blobs) {
    int64_t id = 0;
    {
      SqliteCursor cursor = sql_->find_blob.Query(ns_, blob.ref.sha256);
      if (cursor.Next()) id = cursor.Int(0);
    }
    if (id == 0) {
      sql_->insert_blob.Run(ns_, blob.ref.sha256);
      id = sqlite3_last_insert_rowid(db_.handle());
      sql_->insert_blob_bytes.Run(id, SqliteBlob{blob.bytes});
    }
    if (sql_->add_holder.Run(run.id, id) == 1) sql_->count_holder.Run(id);
  }
}

void SqliteTables::ReleaseBlobs(const Run& run) {
  sql_->release_blobs.Run(run.id, ToMicros(now_ + limits::kBlobGrace));
  sql_->erase_holders.Run(run.id);
  SweepBlobs();
}

// As many as that are never many behind.
void SqliteTables::SweepBlobs() {
  std::vector<int64_t> ids;
  {
    SqliteCursor cursor = sql_->free_blobs.Query(ns_, ToMicros(now_), kBlobsSweptAlong);
    while (cursor.Next()) ids.push_back(cursor.Int(0));
  }
  for (const int64_t id : ids) {
    sql_->erase_blob_bytes.Run(id);
    sql_->erase_blob.Run(id);
  }
}

StatusOr<std::vector<std::string>> SqliteTables::ReadBlobs(const std::vector<BlobRef>& refs) {
  std::vector<std::string> blobs;
  for (const BlobRef& ref : refs) {
    SqliteCursor cursor = sql_->read_blob.Query(ns_, ref.sha256);
    if (!cursor.Next()) return NoSuchBlob(ref);
    blobs.push_back(cursor.String(0));
  }
  return blobs;
}

// ---- Inbox and dedupe keys

void SqliteTables::AppendMessage(Run& run, Message message) {
  sql_->append_message.Run(run.id, message.seq, message.dedupe_key,
                           SqliteBlob{EncodeBody(message.body)});
}

void SqliteTables::ReadInbox(const Run& run, uint64_t after, int limit,
                             std::vector<Message>& out) {
  size_t bytes = 0;
  SqliteCursor cursor = sql_->read_inbox.Query(run.id, after, limit);
  while (cursor.Next()) {
    StatusOr<EventBody> body = DecodeBody(cursor.Bytes(2));
    if (!body.ok()) {
      return db_.Fail(DataLoss(fmt::format("message {} of run {} ({}): {}", cursor.Int(0),
                                           run.key.run_id, run.key.workflow_id,
                                           MessageOf(body.status()))));
    }
    Message message{static_cast<uint64_t>(cursor.Int(0)), cursor.String(1), *std::move(body)};
    bytes += MessageBytes(message);
    if (bytes > limits::kTurnMaxBytes && !out.empty()) return;
    out.push_back(std::move(message));
  }
}

int64_t SqliteTables::EraseMessages(Run& run, uint64_t up_to) {
  return sql_->erase_messages.Run(run.id, std::min<uint64_t>(up_to, INT64_MAX));
}

bool SqliteTables::HasKey(const Run& run, const std::string& key) {
  return sql_->has_key.Query(run.id, key).Next();
}

void SqliteTables::AddKey(Run& run, const std::string& key, Time seen) {
  sql_->add_key.Run(run.id, key, ToMicros(seen), nullptr);
}

void SqliteTables::TrimKeys(Run& run, Time before, size_t keep) {
  sql_->trim_old_keys.Run(run.id, ToMicros(before));
  sql_->trim_many_keys.Run(run.id, keep);
}

void SqliteTables::MoveKeys(Run& from, Run& to) { sql_->move_keys.Run(from.id, to.id); }

void SqliteTables::SetAnswer(Run& run, const std::string& key, const std::string& answer, Time seen) {
  sql_->add_key.Run(run.id, key, ToMicros(seen), SqliteBlob{answer});
}

std::optional<std::string> SqliteTables::AnswerTo(const Run& run, const std::string& key) {
  SqliteCursor cursor = sql_->answer_to.Query(run.id, key);
  if (!cursor.Next() || cursor.IsNull(0)) return std::nullopt;
  return cursor.String(0);
}

void SqliteTables::ReplaceAnswers(Run& run, const std::string& from, const std::string& to,
                                  Time seen) {
  sql_->replace_answers.Run(run.id, SqliteBlob{from}, SqliteBlob{to}, ToMicros(seen));
}

}  // namespace marathon::inline MARATHON_ABI::detail
