// SqliteTables: activities, timers, the due index and sessions.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "marathon/store/row_codec.h"
#include "statements.h"
#include "tables.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- Activities

SqliteTables::ItemId SqliteTables::IdOf(const ActivityKey& key) {
  const Run* run = FindRun(key.run);
  return {run == nullptr ? 0 : run->id, key.id};
}

ActivityRow* SqliteTables::LoadActivity(ItemId id) {
  if (const auto found = activities_.find(id); found != activities_.end()) {
    return found->second.get();
  }
  SqliteCursor cursor = sql_->load_activity.Query(id.first, id.second);
  if (!cursor.Next()) return nullptr;
  StatusOr<ActivityRow> row = DecodeRow<ActivityRow>(cursor.Bytes(0));
  if (!row.ok()) {
    db_.Fail(DataLoss(fmt::format("activity {} of run number {}: {}", id.second, id.first,
                                  MessageOf(row.status()))));
    return nullptr;
  }
  auto& kept = activities_[id];
  kept = std::make_unique<ActivityRow>(*std::move(row));
  return kept.get();
}

ActivityRow* SqliteTables::LoadActivityOrSetAside(ItemId id) {
  if (db_.failed()) return nullptr;
  ActivityRow* const row = LoadActivity(id);
  if (row != nullptr || !db_.failed()) return row;
  Status error = db_.TakeError();
  if (error.code() == StatusCode::kDataLoss) {
    sql_->set_aside_activity.Run(id.first, id.second);
    soonest_.OnErased();
  } else {
    db_.Fail(std::move(error));
  }
  return nullptr;
}

ActivityRow* SqliteTables::FindActivity(const RunKey& run, EventId id) {
  const Run* found = FindRun(run);
  ActivityRow* const row = found == nullptr ? nullptr : LoadActivity({found->id, id});
  if (!db_.failed()) return row;
  blank_activity_ = ActivityRow();
  blank_activity_.scheduled_at = blank_activity_.available_at = kNever;  // due never
  return &blank_activity_;
}

void SqliteTables::WriteActivity(SqliteStatement& statement, ItemId id, const ActivityRow& row,
                                 Time due) {
  const std::string bytes = EncodeRow(row);
  const SqliteInstant claimable{IsClaimable(row) ? row.available_at : kNever};
  const std::string* session = row.state == ActivityState::kClaimed ? &row.session : nullptr;
  if (&statement == &sql_->insert_activity) {
    statement.Run(id.first, id.second, claimable, session, SqliteInstant{due}, SqliteBlob{bytes}, ns_,
                  row.task_queue, int64_t{row.policy.priority});
  } else {
    statement.Run(id.first, id.second, claimable, session, SqliteInstant{due}, SqliteBlob{bytes});
  }
}

void SqliteTables::InsertActivity(Run& run, ActivityRow row, Time due) {
  if (db_.failed()) return;
  const ItemId id{run.id, row.key.id};
  auto kept = std::make_unique<ActivityRow>(std::move(row));
  WriteActivity(sql_->insert_activity, id, *kept, due);
  soonest_.OnAdded(due);
  activities_[id] = std::move(kept);
}

void SqliteTables::UpdateActivity(ActivityRow& row, Time due) {
  if (db_.failed()) return;
  WriteActivity(sql_->update_activity, IdOf(row.key), row, due);
  soonest_.OnMoved(due);
}

void SqliteTables::EraseActivity(ActivityRow& row) {
  if (db_.failed()) return;
  const ItemId id = IdOf(row.key);
  sql_->erase_activity.Run(id.first, id.second);
  soonest_.OnErased();
  activities_.erase(id);
}

std::vector<EventId> SqliteTables::ActivitiesOf(const Run& run) {
  std::vector<EventId> ids;
  SqliteCursor cursor = sql_->activities_of.Query(run.id);
  while (cursor.Next()) ids.push_back(cursor.Int(0));
  return ids;
}

std::vector<ActivityKey> SqliteTables::ActivitiesHeldBy(const std::string& session) {
  std::vector<ItemId> ids;
  {
    SqliteCursor cursor = sql_->activities_held.Query(ns_, session);
    while (cursor.Next()) ids.emplace_back(cursor.Int(0), cursor.Int(1));
  }
  std::vector<ActivityKey> keys;
  for (const ItemId& id : ids) {
    if (const ActivityRow* row = LoadActivityOrSetAside(id)) keys.push_back(row->key);
  }
  return keys;
}

std::vector<std::pair<int64_t, const ActivityRow*>> SqliteTables::ClaimableActivities(
    const std::string& queue, int64_t last, int limit) {
  std::vector<ItemId> ids;
  {
    SqliteCursor cursor = sql_->claimable_activities.Query(ns_, queue, last, limit);
    while (cursor.Next()) ids.emplace_back(cursor.Int(0), cursor.Int(1));
  }
  std::vector<std::pair<int64_t, const ActivityRow*>> rows;
  for (const ItemId& id : ids) {
    if (const ActivityRow* row = LoadActivityOrSetAside(id)) rows.emplace_back(id.first, row);
  }
  return rows;
}

// ---- Timers

void SqliteTables::InsertTimer(Run& run, EventId id, Time due) {
  sql_->insert_timer.Run(run.id, id, ns_, ToMicros(due));
  soonest_.OnAdded(due);
}

bool SqliteTables::EraseTimer(Run& run, EventId id) {
  soonest_.OnErased();
  return sql_->erase_timer.Run(run.id, id) > 0;
}

void SqliteTables::EraseTimers(Run& run) {
  sql_->erase_timers.Run(run.id);
  soonest_.OnErased();
}

// ---- Due

void SqliteTables::ScanDueOf(DueEntry::What what, Time now, int limit,
                             std::vector<std::pair<Time, DueEntry>>& out) {
  SqliteStatement& statement = what == DueEntry::What::kRun        ? sql_->due_runs
                               : what == DueEntry::What::kActivity ? sql_->due_activities
                                                                   : sql_->due_timers;
  std::vector<std::tuple<Time, int64_t, EventId>> found;
  {
    SqliteCursor cursor = statement.Query(ns_, ToMicros(now), limit);
    while (cursor.Next()) {
      found.emplace_back(FromMicros(cursor.Int(0)), cursor.Int(1), cursor.Int(2));
    }
  }
  for (const auto& [at, run_number, id] : found) {
    const Run* run = LoadRunOrSetAside(run_number);
    if (run == nullptr) continue;
    if (what == DueEntry::What::kActivity && LoadActivityOrSetAside({run_number, id}) == nullptr) {
      continue;
    }
    out.emplace_back(at, DueEntry{what, run->key, id});
  }
}

std::vector<DueEntry> SqliteTables::ScanDue(Time now, int limit) {
  StoreDirtyRuns();
  if (soonest_.known() && *soonest_.known() > now) return {};
  std::vector<std::pair<Time, DueEntry>> found;
  ScanDueOf(DueEntry::What::kRun, now, limit, found);
  ScanDueOf(DueEntry::What::kActivity, now, limit, found);
  ScanDueOf(DueEntry::What::kTimer, now, limit, found);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.what, a.second.run, a.second.id) <
           std::tie(b.first, b.second.what, b.second.run, b.second.id);
  });
  std::vector<DueEntry> entries;
  for (auto& [at, entry] : found) {
    if (static_cast<int>(entries.size()) == limit) break;
    entries.push_back(std::move(entry));
  }
  return entries;
}

Time SqliteTables::EarliestDue() {
  StoreDirtyRuns();
  if (soonest_.known()) return *soonest_.known();
  Time earliest = kNever;
  for (SqliteStatement* statement :
       {&sql_->first_due_run, &sql_->first_due_activity, &sql_->first_due_timer}) {
    SqliteCursor cursor = statement->Query(ns_);
    if (cursor.Next()) earliest = std::min(earliest, FromMicros(cursor.Int(0)));
  }
  if (!db_.failed()) soonest_.Know(earliest);
  return earliest;
}

int64_t SqliteTables::DueSteps() const {
  int64_t steps = 0;
  for (const SqliteStatement* statement :
       {&sql_->due_runs, &sql_->due_activities, &sql_->due_timers, &sql_->first_due_run,
        &sql_->first_due_activity, &sql_->first_due_timer, &sql_->due_sessions,
        &sql_->first_due_session}) {
    steps += statement->Steps();
  }
  return steps;
}

// ---- Sessions

SessionRow* SqliteTables::FindSession(const std::string& id) {
  if (const auto found = sessions_.find(id); found != sessions_.end()) return found->second.get();
  SqliteCursor cursor = sql_->load_session.Query(ns_, id);
  StatusOr<SessionRow> row = SessionRow();
  if (cursor.Next()) {
    row = DecodeRow<SessionRow>(cursor.Bytes(0));
    if (!row.ok()) db_.Fail(DataLoss(fmt::format("session {}: {}", id, MessageOf(row.status()))));
  } else if (!db_.failed()) {
    return nullptr;
  }
  if (db_.failed()) {
    blank_session_ = SessionRow();
    return &blank_session_;
  }
  auto& kept = sessions_[id];
  kept = std::make_unique<SessionRow>(*std::move(row));
  return kept.get();
}

bool SqliteTables::HasSession(const std::string& id) { return FindSession(id) != nullptr; }

void SqliteTables::InsertSession(SessionRow row) {
  auto& kept = sessions_[row.id];
  kept = std::make_unique<SessionRow>(std::move(row));
  UpdateSession(*kept, kept->expires_at);
}

void SqliteTables::UpdateSession(SessionRow& row, Time due) {
  sql_->store_session.Run(ns_, row.id, SqliteInstant{due}, SqliteBlob{EncodeRow(row)});
  soonest_session_.OnMoved(due);
}

void SqliteTables::EraseSession(SessionRow& row) {
  if (db_.failed()) return;
  sql_->erase_session.Run(ns_, row.id);
  soonest_session_.OnErased();
  sql_->erase_canceled.Run(ns_, row.id);
  sessions_.erase(SessionId(row.id));  // a copy: the id goes with the row
}

void SqliteTables::AddCanceled(const std::string& session, const ActivityKey& key) {
  if (!HasSession(session)) return;
  sql_->add_canceled.Run(ns_, session, key.run.workflow_id, key.run.run_id, key.id);
}

std::vector<ActivityKey> SqliteTables::Canceled(const std::string& session, bool heard) {
  if (heard) sql_->erase_told.Run(ns_, session);
  std::vector<ActivityKey> keys;
  {
    SqliteCursor cursor = sql_->read_canceled.Query(ns_, session);
    while (cursor.Next()) keys.push_back({{cursor.String(0), cursor.String(1)}, cursor.Int(2)});
  }
  if (!keys.empty()) sql_->mark_told.Run(ns_, session);
  return keys;
}

std::vector<SessionId> SqliteTables::ScanDueSessions(Time now, int limit) {
  if (soonest_session_.known() && *soonest_session_.known() > now) return {};
  std::vector<SessionId> ids;
  SqliteCursor cursor = sql_->due_sessions.Query(ns_, ToMicros(now), limit);
  while (cursor.Next()) ids.push_back(cursor.String(0));
  return ids;
}

Time SqliteTables::EarliestDueSession() {
  if (soonest_session_.known()) return *soonest_session_.known();
  SqliteCursor cursor = sql_->first_due_session.Query(ns_);
  const Time earliest = cursor.Next() && !cursor.IsNull(0) ? FromMicros(cursor.Int(0)) : kNever;
  if (!db_.failed()) soonest_session_.Know(earliest);
  return earliest;
}

std::vector<SessionRow> SqliteTables::Sessions() {
  std::vector<SessionId> ids;
  {
    SqliteCursor cursor = sql_->all_sessions.Query(ns_);
    while (cursor.Next()) ids.push_back(cursor.String(0));
  }
  std::vector<SessionRow> rows;
  for (const SessionId& id : ids) {
    if (const SessionRow* row = FindSession(id)) rows.push_back(*row);
  }
  return rows;
}

}  // namespace marathon::inline MARATHON_ABI::detail
