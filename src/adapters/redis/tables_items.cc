// RedisTables: activities, timers, the due index and sessions.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "marathon/store/protocol_rules.h"
#include "marathon/store/row_codec.h"
#include "tables.h"
#include "tables_ask.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

std::string HeldBy(const ActivityRow& row) {
  return row.state == ActivityState::kClaimed ? row.session : std::string();
}

std::string FieldOf(char kind, EventId id) { return kind + std::to_string(id); }

}  // namespace

// ---- Activities

ActivityRow* RedisTables::BlankActivity() {
  blank_activity_ = ActivityRow();
  blank_activity_.scheduled_at = blank_activity_.available_at = kNever;  // due never
  return &blank_activity_;
}

RedisTables::Item* RedisTables::AddItem(const ActivityKey& key, Stamped<ActivityRow> stored,
                                        const Answer* answer) {
  Item& item = items_[key];
  item.row = std::move(stored.row);
  item.stamp = std::move(stored.stamp);
  item.due = item.stored_due = stored.due;
  item.stored_holder = HeldBy(item.row);
  Expect(RedisStep::Check::kEquals, keys_.Activities(RedisName(key.run)),
         FieldOf('s', key.id), item.stamp, answer);
  return &item;
}

ActivityRow* RedisTables::FindActivity(const RunKey& run, EventId id) {
  const ActivityKey key{run, id};
  if (const auto found = items_.find(key); found != items_.end()) {
    return found->second.erased ? nullptr : &found->second.row;
  }
  if (const auto known = known_.activities.find(key); known != known_.activities.end()) {
    return &AddItem(key, known->second, nullptr)->row;
  }
  const std::string place = keys_.Activities(RedisName(run));
  const std::string stamp = FieldOf('s', id);
  const Answer* answer =
      Ask("HMGET", place, stamp, FieldOf('r', id), FieldOf('d', id));
  if (answer == nullptr) return BlankActivity();
  const RedisReply& reply = answer->reply;
  if (reply[0].is_nil()) {
    Expect(RedisStep::Check::kAbsent, place, stamp, "", answer);
    return nullptr;
  }
  StatusOr<ActivityRow> row = DecodeRow<ActivityRow>(reply[1].text());
  if (!row.ok()) {
    Fail(fmt::format("activity {} of {}", id, Name(run)), row.status());
    return BlankActivity();
  }
  Stamped<ActivityRow> stored{*std::move(row), std::string(reply[0].text()),
                              FromMicros(reply[2].number())};
  return &AddItem(key, std::move(stored), answer)->row;
}

// Of a row that FindActivity gave out; null: of a blank one.
RedisTables::Item* RedisTables::FindItem(const ActivityKey& key) {
  const auto found = items_.find(key);
  return found == items_.end() ? nullptr : &found->second;
}

void RedisTables::InsertActivity(Run&, ActivityRow row, Time due) {
  Item& item = items_[row.key];
  item.row = std::move(row);
  item.due = due;
  item.dirty = true;
}

void RedisTables::UpdateActivity(ActivityRow& row, Time due) {
  if (Item* item = FindItem(row.key); item != nullptr) {
    item->due = due;
    item->dirty = true;
  }
}

void RedisTables::EraseActivity(ActivityRow& row) {
  if (Item* item = FindItem(row.key); item != nullptr) item->erased = true;
}

void RedisTables::WriteItem(Item& item) {
  const ActivityKey& key = item.row.key;
  if (item.erased && item.stamp.empty()) return;
  if (!item.erased && !item.dirty) return;
  const std::string place = keys_.Activities(RedisName(key.run));
  const std::string member = RedisName(key);
  const std::string holder = item.erased ? std::string() : HeldBy(item.row);
  const std::string stamp = FieldOf('s', key.id), row = FieldOf('r', key.id), due = FieldOf('d', key.id);
  if (item.erased) {
    item.due = kNever;
    writes_.Gather("HDEL", place, {}, stamp, row, due);
  } else {
    item.stamp = writer_.NewStamp();
    writes_.Gather("HSET", place, {}, stamp, item.stamp, row, EncodeRow(item.row), due, ToMicros(item.due));
  }
  WriteDue(keys_.due, "a" + member, item.stored_due, item.due);
  MoveMember(member, item.stored_holder.empty() ? "" : keys_.Held(item.stored_holder),
             holder.empty() ? "" : keys_.Held(holder));
}

std::vector<EventId> RedisTables::ActivitiesOf(const Run& run) {
  std::set<EventId> ids;
  if (!run.stamp.empty()) {
    const Answer* answer = Ask("HKEYS", keys_.Activities(run.name));
    for (size_t i = 0; answer != nullptr && i < answer->reply.size(); ++i) {
      const std::string_view field = answer->reply[i].text();
      if (field.starts_with('s')) {
        ids.insert(static_cast<EventId>(RedisNumber(field.substr(1))));
      }
    }
  }
  for (const auto& [key, item] : items_) {
    if (key.run != run.key) continue;
    if (item.erased) {
      ids.erase(key.id);
    } else {
      ids.insert(key.id);
    }
  }
  return {ids.begin(), ids.end()};
}

std::vector<ActivityKey> RedisTables::ActivitiesHeldBy(const std::string& session) {
  std::vector<ActivityKey> held;
  for (const ActivityKey& key : held_) {
    const ActivityRow* row = FindActivity(key.run, key.id);
    if (row != nullptr && HeldBy(*row) == session) {
      held.push_back(key);
    } else {
      writes_.Write("SREM", keys_.Held(session), RedisName(key));
    }
  }
  return held;
}

// ---- Timers

// With it, the run is always written, too: who knows of none is told.
void RedisTables::InsertTimer(Run& run, EventId id, Time due) {
  run.no_timers = false;
  writes_.Write("HSET", keys_.Timers(run.name), id, ToMicros(due));
  // Not gathered: it may be erased in the same step.
  writes_.Write("due", keys_.due, keys_.due_channel, writer_.id, ToMicros(due),
                RedisName(DueEntry{DueEntry::What::kTimer, run.key, id}));
}

bool RedisTables::EraseTimer(Run& run, EventId id) {
  writes_.Write("HDEL", keys_.Timers(run.name), id);
  writes_.Write("ZREM", keys_.due, RedisName(DueEntry{DueEntry::What::kTimer, run.key, id}));
  return true;
}

void RedisTables::EraseTimers(Run& run) {
  if (run.stamp.empty() || run.no_timers) return;  // it was never stored, or has none
  writes_.Write("timers", keys_.Timers(run.name), writes_.Key(keys_.due), run.name);
}

// ---- Due

// An entry was found by a look at the index that is over; this tells whether it still holds.
bool RedisTables::IsDue(const DueEntry& entry, Time now) {
  const Run* run = FindRun(entry.run);
  Time due = kNever;
  bool gone = run == nullptr;
  if (run != nullptr) {
    switch (entry.what) {
      case DueEntry::What::kRun:
        due = run->stored_due;
        break;
      case DueEntry::What::kExcess:
        due = now;
        break;
      case DueEntry::What::kActivity: {
        const ActivityRow* row = FindActivity(entry.run, entry.id);
        gone = row == nullptr;
        const Item* item = gone ? nullptr : FindItem(row->key);
        if (item != nullptr) due = item->stored_due;
        break;
      }
      case DueEntry::What::kTimer: {
        const Answer* answer = Ask("HGET", keys_.Timers(run->name), entry.id);
        gone = answer != nullptr && answer->reply.is_nil();
        if (answer != nullptr && !gone) due = FromMicros(answer->reply.number());
        break;
      }
    }
  }
  if (gone) Drop(keys_, entry, writes_);
  return !gone && due <= now;
}

void RedisTables::Drop(const RedisKeys& keys, const DueEntry& entry, RedisStep& step) {
  if (entry.what == DueEntry::What::kExcess) {
    step.Write("unkeep", keys.closed, step.Key(keys.closed_bytes), RedisName(entry), entry.id);
  } else {
    step.Write("ZREM", keys.due, RedisName(entry));
  }
}

std::vector<DueEntry> RedisTables::ScanDue(Time now, int) {
  std::vector<DueEntry> due;
  for (const DueEntry& entry : due_entries_) {
    if (IsDue(entry, now)) due.push_back(entry);
  }
  return due;
}

// ---- Sessions

SessionRow* RedisTables::FindSession(const std::string& id) {
  if (const auto found = sessions_.find(id); found != sessions_.end()) {
    return found->second ? &*found->second : nullptr;
  }
  const Answer* answer = Ask("HGET", keys_.sessions, id);
  if (answer == nullptr) {
    blank_session_ = SessionRow();
    return &blank_session_;
  }
  if (answer->reply.is_nil()) {
    Expect(RedisStep::Check::kAbsent, keys_.sessions, id, "", answer);
    return nullptr;
  }
  StatusOr<SessionRow> row = DecodeRow<SessionRow>(answer->reply.text());
  if (!row.ok()) {
    Fail(fmt::format("session {}", id), row.status());
    blank_session_ = SessionRow();
    return &blank_session_;
  }
  Expect(RedisStep::Check::kEquals, keys_.sessions, id, std::string(answer->reply.text()), answer);
  return &*sessions_.emplace(id, *std::move(row)).first->second;
}

// A session that is named somewhere is probably open: a guess that is checked.
bool RedisTables::HasSession(const std::string& id) {
  if (guessing_) {
    Expect(RedisStep::Check::kPresent, keys_.sessions, id, "", nullptr);
    return true;
  }
  const Answer* answer = Ask("HEXISTS", keys_.sessions, id);
  if (answer == nullptr) return true;
  const bool open = answer->reply.number() != 0;
  Expect(open ? RedisStep::Check::kPresent : RedisStep::Check::kAbsent, keys_.sessions, id, "",
         answer);
  return open;
}

void RedisTables::InsertSession(SessionRow row) {
  std::optional<SessionRow>& kept = sessions_[row.id];
  kept = std::move(row);
  UpdateSession(*kept, kept->expires_at);
}

void RedisTables::UpdateSession(SessionRow& row, Time due) {
  writes_.Write("HSET", keys_.sessions, row.id, EncodeRow(row));
  WriteDue(keys_.due_sessions, row.id, kNever, due);
}

// Its entry in the index of due sessions stays until all it held has been released.
void RedisTables::EraseSession(SessionRow& row) {
  writes_.Write("HDEL", keys_.sessions, row.id);
}

void RedisTables::AddCanceled(const std::string& session, const ActivityKey& key) {
  if (!HasSession(session)) return;
  writes_.Write("HSET", keys_.Canceled(session), RedisName(key), 0);
}

std::vector<ActivityKey> RedisTables::Canceled(const std::string& session, bool heard) {
  const std::string place = keys_.Canceled(session);
  const Answer* answer = Ask("HGETALL", place);
  std::vector<ActivityKey> keys;
  for (size_t i = 0; answer != nullptr && i + 1 < answer->reply.size(); i += 2) {
    const std::string_view name = answer->reply[i].text();
    const bool told = answer->reply[i + 1].number() != 0;
    auto key = ParseActivityName(name);
    if ((heard && told) || !key) {
      writes_.Write("HDEL", place, name);
      continue;
    }
    if (!told) writes_.Write("HSET", place, name, 1);
    keys.push_back(*std::move(key));
  }
  return keys;
}

std::vector<SessionId> RedisTables::ScanDueSessions(Time, int) {
  std::vector<SessionId> ids;
  for (const SessionId& id : due_sessions_) {
    if (FindSession(id) != nullptr) {
      ids.push_back(id);
    } else {
      ended_sessions_.push_back(id);
    }
  }
  return ids;
}

}  // namespace marathon::inline MARATHON_ABI::detail
