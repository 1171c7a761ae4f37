// SqliteTables: transactions and runs. What belongs to a run is in tables_records.cc and tables_items.cc.
#include "tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/row_codec.h"
#include "statements.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

enum NameKind { kNewest = 0, kByRunId = 1, kByRequest = 2 };

}  // namespace

SqliteTables::SqliteTables(SqliteConnection& db, int64_t ns, int64_t closed_bytes)
    : db_(db), ns_(ns), closed_bytes_(closed_bytes), sql_(std::make_unique<Statements>(db)) {
  data_version_ = ReadDataVersion();
}

SqliteTables::~SqliteTables() = default;

// ---- Around transactions

int64_t SqliteTables::ReadDataVersion() {
  SqliteCursor cursor = sql_->data_version.Query();
  return cursor.Next() ? cursor.Int(0) : 0;
}

void SqliteTables::OnBegin(Time now) {
  now_ = now;
  if (const int64_t version = ReadDataVersion(); version != data_version_) {
    ++foreign_writes_;
    data_version_ = version;
    ForgetAll();
  }
  // Nobody asks for a closed run again; the others go all at once when they are too many.
  for (const int64_t id : closed_) {
    if (const auto found = runs_by_id_.find(id); found != runs_by_id_.end()) Forget(*found->second);
  }
  closed_.clear();
  if (runs_.size() > kMaxCached || activities_.size() > kMaxCached) ForgetAll();
}

bool SqliteTables::LooksChanged() { return ReadDataVersion() != data_version_; }

void SqliteTables::OnCommit() {
  StoreDirtyRuns();
  ForgetExcess();
  if (const int64_t added = std::exchange(closed_bytes_added_, 0); added != 0) {
    sql_->add_closed_bytes.Run(ns_, added);
  }
}

void SqliteTables::OnRollback() { ForgetAll(); }

void SqliteTables::Forget(Run& run) {
  runs_by_id_.erase(run.id);
  runs_.erase(RunKey(run.key));  // a copy: the key goes with the run
}

void SqliteTables::ForgetAll() {
  dirty_.clear();
  closed_.clear();
  closed_bytes_added_ = 0;
  runs_by_id_.clear();
  runs_.clear();
  activities_.clear();
  sessions_.clear();
  soonest_.Forget();
  soonest_session_.Forget();
  next_run_ = 0;
}

// ---- Runs

SqliteTables::Run* SqliteTables::LoadRun(int64_t id) {
  if (const auto found = runs_by_id_.find(id); found != runs_by_id_.end()) return found->second;
  SqliteCursor cursor = sql_->load_run.Query(id);
  if (!cursor.Next()) return nullptr;
  StatusOr<RunRow> row = DecodeRow<RunRow>(cursor.Bytes(0));
  if (!row.ok()) {
    db_.Fail(DataLoss(fmt::format("run number {}: {}", id, MessageOf(row.status()))));
    return nullptr;
  }
  auto run = std::make_unique<Run>();
  static_cast<RunRow&>(*run) = *std::move(row);
  run->id = id;
  run->due = cursor.IsNull(1) ? kNever : FromMicros(cursor.Int(1));
  run->stored = true;
  run->counted = MayBeForgotten(*run);
  if (run->labels) run->indexed = run->labels->attributes;
  Run* const admitted = run.get();
  runs_by_id_[id] = admitted;
  runs_[admitted->key] = std::move(run);
  return admitted;
}

SqliteTables::Run* SqliteTables::LoadRunOrSetAside(int64_t id) {
  if (db_.failed()) return nullptr;
  Run* const run = LoadRun(id);
  if (run != nullptr || !db_.failed()) return run;
  Status error = db_.TakeError();
  if (error.code() != StatusCode::kDataLoss) {
    db_.Fail(std::move(error));
    return nullptr;
  }
  sql_->set_aside_run.Run(id);
  sql_->set_aside_activities.Run(id);
  sql_->set_aside_timers.Run(id);
  soonest_.OnErased();
  return nullptr;
}

// `run`, or the blank one.
SqliteTables::Run* SqliteTables::Found(Run* run) {
  if (!db_.failed()) return run;
  static_cast<RunRow&>(blank_run_) = RunRow();
  return &blank_run_;
}

SqliteTables::Run* SqliteTables::LoadNamed(const std::string& workflow_id, int kind,
                                           const std::string& name) {
  int64_t id = 0;
  {
    SqliteCursor cursor = sql_->find_name.Query(ns_, workflow_id, kind, name);
    if (cursor.Next()) id = cursor.Int(0);
  }
  return Found(id == 0 ? nullptr : LoadRun(id));
}

SqliteTables::Run* SqliteTables::FindRun(const RunKey& key) {
  if (const auto found = runs_.find(key); found != runs_.end()) return Found(found->second.get());
  return LoadNamed(key.workflow_id, kByRunId, key.run_id);
}

SqliteTables::Run* SqliteTables::FindNewestRun(const std::string& workflow_id) {
  return LoadNamed(workflow_id, kNewest, "");
}

SqliteTables::Run* SqliteTables::FindRunByRequest(const std::string& workflow_id,
                                                  const Id& request_id) {
  return LoadNamed(workflow_id, kByRequest, request_id);
}

SqliteTables::Run& SqliteTables::InsertRun(RunRow row) {
  if (db_.failed()) return *Found(nullptr);
  if (next_run_ == 0) next_run_ = LastRun() + 1;
  auto run = std::make_unique<Run>();
  static_cast<RunRow&>(*run) = std::move(row);
  run->id = next_run_++;
  Run& inserted = *run;
  const RunKey& key = inserted.key;
  if (inserted.request_id.empty()) {
    sql_->add_names.Run(ns_, key.workflow_id, key.run_id, inserted.id);
  } else {
    sql_->add_names_and_request.Run(ns_, key.workflow_id, key.run_id, inserted.id,
                                    inserted.request_id);
  }
  runs_by_id_[inserted.id] = &inserted;
  runs_[key] = std::move(run);
  return inserted;
}

void SqliteTables::UpdateRun(Run& run, Time due) {
  if (db_.failed()) return;
  run.due = due;
  if (std::exchange(run.dirty, true)) return;
  dirty_.push_back(&run);
}

void SqliteTables::StoreDirtyRuns() {
  for (Run* run : dirty_) {
    run->dirty = false;
    StoreRun(*run);
    if (!IsOpen(*run)) CountClosed(*run);
  }
  dirty_.clear();
}

void SqliteTables::CountClosed(Run& run) {
  closed_.push_back(run.id);
  if (MayBeForgotten(run) && !std::exchange(run.counted, true)) closed_bytes_added_ += ClosedSize(run);
}

// A transaction that closes runs forgets some of the oldest when all together take too much: a thirty-second more than it
// must, so that not every one has to.
void SqliteTables::ForgetExcess() {
  if (closed_bytes_ == 0 || closed_bytes_added_ <= 0 || db_.failed()) return;
  int64_t kept = 0;
  {
    SqliteCursor cursor = sql_->closed_bytes.Query(ns_);
    if (cursor.Next()) kept = cursor.Int(0);
  }
  if (kept + closed_bytes_added_ <= closed_bytes_) return;
  std::vector<int64_t> oldest;
  {
    const auto most = std::max<int64_t>(kForgetAtOnce, 2 * std::ssize(closed_));  // more than have come
    SqliteCursor cursor = sql_->oldest_closed.Query(ns_, most);
    while (cursor.Next()) oldest.push_back(cursor.Int(0));
  }
  std::ranges::sort(closed_);
  for (const int64_t id : oldest) {
    if (kept + closed_bytes_added_ <= closed_bytes_ - closed_bytes_ / 32) return;
    if (std::ranges::binary_search(closed_, id)) continue;  // whoever awaits its end has yet to read it
    if (Run* run = LoadRunOrSetAside(id)) EraseRun(*run);
  }
}

void SqliteTables::StoreRun(Run& run) {
  const std::string bytes = EncodeRow(run);
  const auto store = [&](SqliteStatement& statement, const auto&... more) {
    statement.Run(run.id, run.status, Conditions(run), SqliteInstant{run.ready_since},
                  SqliteInstant{run.due}, SqliteInstant{MayBeForgotten(run) ? run.close_time : kNever},
                  SqliteBlob{bytes}, more...);
  };
  if (std::exchange(run.stored, true)) {
    store(sql_->update_run, TurnQueue(run));
    soonest_.OnMoved(run.due);
  } else {
    store(sql_->insert_run, TurnQueue(run), ns_, run.workflow_type);
    soonest_.OnAdded(run.due);
  }
  if (run.labels || !run.indexed.empty()) {
    IndexAttributes(run, run.labels ? run.labels->attributes : Labels());
  }
}

// Has the run found by these and no others.
void SqliteTables::IndexAttributes(Run& run, const Labels& attributes) {
  for (const auto& label : run.indexed) {
    if (!HasLabels(attributes, {label})) sql_->erase_attribute.Run(ns_, label.first, label.second, run.id);
  }
  for (const auto& label : attributes) {
    if (!HasLabels(run.indexed, {label})) sql_->add_attribute.Run(ns_, label.first, label.second, run.id);
  }
  run.indexed = attributes;
}

void SqliteTables::EraseRun(Run& run) {
  if (db_.failed()) return;
  const int64_t id = run.id;
  if (run.counted) closed_bytes_added_ -= ClosedSize(run);
  sql_->erase_names.Run(ns_, run.key.workflow_id, id);
  sql_->erase_run.Run(id);
  sql_->count_erased.Run();
  sql_->keep_last_log.Run(id);
  sql_->erase_log.Run(id);
  sql_->erase_messages.Run(id, INT64_MAX);
  sql_->erase_keys.Run(id);
  sql_->erase_activities.Run(id);
  sql_->erase_timers.Run(id);
  soonest_.OnErased();
  if (run.has_blobs) ReleaseBlobs(run);
  IndexAttributes(run, {});
  std::erase(dirty_, &run);
  activities_.erase(activities_.lower_bound({id, INT64_MIN}), activities_.upper_bound({id, INT64_MAX}));
  Forget(run);
}

std::vector<RunKey> SqliteTables::ReadyRunsOf(const std::string& session) {
  StoreDirtyRuns();
  std::vector<int64_t> ids;
  {
    SqliteCursor cursor = sql_->all_ready_runs.Query(ns_);
    while (cursor.Next()) ids.push_back(cursor.Int(0));
  }
  std::vector<RunKey> keys;
  for (const int64_t id : ids) {
    const Run* run = LoadRunOrSetAside(id);
    if (run != nullptr && run->owner == session) keys.push_back(run->key);
  }
  return keys;
}

std::vector<const SqliteTables::Run*> SqliteTables::ReadyRuns(const std::string& queue,
                                                              int64_t last, int limit) {
  StoreDirtyRuns();
  std::vector<int64_t> ids;
  {
    SqliteCursor cursor = sql_->ready_runs.Query(ns_, queue, last, limit);
    while (cursor.Next()) ids.push_back(cursor.Int(0));
  }
  std::vector<const Run*> runs;
  for (const int64_t id : ids) {
    if (const Run* run = LoadRunOrSetAside(id)) runs.push_back(run);
  }
  return runs;
}

SqliteTables::RunPage SqliteTables::ListRuns(const ListRequest& request, int64_t below, int limit,
                                             int scan) {
  StoreDirtyRuns();
  RunPage page;
  int looked_at = 0;
  const Labels& wanted_labels = request.attributes;
  SqliteCursor cursor =
      wanted_labels.empty()
          ? sql_->list_runs.Query(below, scan)
          : sql_->list_runs_with.Query(ns_, wanted_labels[0].first, wanted_labels[0].second, below, scan);
  while (cursor.Next()) {
    const int64_t id = cursor.Int(0);
    const bool wanted = cursor.Int(1) == ns_ &&
                        Fits(request, static_cast<RunStatus>(cursor.Int(2)), cursor.Bytes(4),
                             static_cast<uint32_t>(cursor.Int(3)));
    if (wanted && request.count_only && !AsksForRows(request)) {
      ++page.count;
    } else if (wanted) {
      // A damaged run is named by whoever reads it; a list goes on without it.
      StatusOr<RunRow> row = DecodeRow<RunRow>(cursor.Bytes(5));
      const bool fits = row.ok() && FitsRow(request, *row);
      if (fits && static_cast<int>(page.runs.size()) == limit) return page;  // `next` is the last one in it
      if (fits && request.count_only) ++page.count;
      if (fits && !request.count_only) page.runs.push_back(*std::move(row));
    }
    page.next = id;
    ++looked_at;
  }
  if (looked_at < scan) page.next = 0;
  return page;
}

int64_t SqliteTables::LastRun() {
  SqliteCursor cursor = sql_->last_run.Query();
  return cursor.Next() ? cursor.Int(0) : 0;
}

int64_t SqliteTables::LastLogRow() {
  SqliteCursor cursor = sql_->last_log.Query();
  return cursor.Next() ? cursor.Int(0) : 0;
}

int64_t SqliteTables::RunsErased() {
  SqliteCursor cursor = sql_->erased.Query();
  return cursor.Next() ? cursor.Int(0) : 0;
}

std::vector<RunKey> SqliteTables::RunsClosedSince(int64_t log_row) {
  StoreDirtyRuns();
  std::vector<int64_t> ids;
  {
    SqliteCursor cursor = sql_->closed_since.Query(log_row, RunStatus::kRunning, ns_);
    while (cursor.Next()) ids.push_back(cursor.Int(0));
  }
  std::vector<RunKey> keys;
  for (const int64_t id : ids) {
    if (const Run* run = LoadRunOrSetAside(id)) keys.push_back(run->key);
  }
  return keys;
}

}  // namespace marathon::inline MARATHON_ABI::detail
