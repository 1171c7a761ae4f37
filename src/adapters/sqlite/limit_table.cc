#include "limit_table.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

bool IsSound(const LimitBucket& bucket) {
  return bucket.size >= 0 && bucket.full >= 0 && bucket.span >= (bucket.size > 0 ? 1 : 0);
}

}  // namespace

SqliteLimitTable::Limit SqliteLimitTable::Find(const std::string& key, Time now) {
  Limit limit;
  Time kept_until;
  {
    SqliteCursor cursor = find_.Query(ns_, SqliteBlob{key});
    if (!cursor.Next()) return limit;
    limit.id = cursor.Int(0);
    limit.state.at = FromMicros(cursor.Int(1));
    limit.state.paused_until = FromMicros(cursor.Int(2));
    kept_until = FromMicros(cursor.Int(3));
  }
  if (kept_until <= now) {
    Erase(limit.id);
    return {};
  }
  SqliteCursor cursor = find_units_.Query(limit.id);
  while (cursor.Next()) {
    LimitUnitState& unit = limit.state.units.emplace_back();
    unit = {cursor.String(0),
            {cursor.Int(1), cursor.Int(2), cursor.Int(3)},
            {cursor.Int(4), cursor.Int(5), cursor.Int(6)}};
    if (!IsSound(unit.own) || !IsSound(unit.told)) {
      db_.Fail(DataLoss(fmt::format("unit \"{}\" of limit \"{}\" is damaged", unit.name, key)));
    }
  }
  return limit;
}

void SqliteLimitTable::Keep(const std::string& key, const Limit& before, const LimitState& state, Time now) {
  if (SaysNothing(state, now)) {
    if (before.id != 0) Erase(before.id);
    return;
  }
  if (state == before.state) return;
  int64_t id = before.id;
  const int64_t kept_until = ToMicros(LimitKeptUntil(state));
  if (id == 0) {
    constexpr int kSweptByNewRow = 2;
    Sweep(kSweptByNewRow, now);
    insert_.Run(ns_, SqliteBlob{key}, ToMicros(state.at), ToMicros(state.paused_until), kept_until);
    id = sqlite3_last_insert_rowid(db_.handle());
  } else {
    update_.Run(id, ToMicros(state.at), ToMicros(state.paused_until), kept_until);
    if (before.state.units.size() != state.units.size()) erase_units_.Run(id);
  }
  for (const auto& [name, own, told] : state.units) {
    set_unit_.Run(id, std::string_view(name), own.size, own.span, own.full, told.size, told.span, told.full);
  }
}

void SqliteLimitTable::Erase(int64_t id) {
  erase_units_.Run(id);
  erase_.Run(id);
}

StatusOr<Permit> SqliteLimitTable::Acquire(const AcquireLimit& request, Time now) {
  const Limit limit = Find(request.key, now);
  LimitState state = limit.state;
  StatusOr<Permit> permit = TakePermit(request, now, state);
  if (permit.ok()) Keep(request.key, limit, state, now);
  return permit;
}

void SqliteLimitTable::Settle(const SettleLimit& request, Time now) {
  const Limit limit = Find(request.key, now);
  LimitState state = limit.state;
  ApplySettle(request, now, state);
  Keep(request.key, limit, state, now);
}

void SqliteLimitTable::Clear(const std::string& key) {
  int64_t id = 0;
  {
    SqliteCursor cursor = find_.Query(ns_, SqliteBlob{key});
    if (cursor.Next()) id = cursor.Int(0);
  }
  if (id != 0) Erase(id);
}

void SqliteLimitTable::Sweep(int limit, Time now) {
  std::vector<int64_t> ids;
  {
    SqliteCursor cursor = overdue_.Query(ns_, ToMicros(now), limit);
    while (cursor.Next()) ids.push_back(cursor.Int(0));
  }
  for (const int64_t id : ids) Erase(id);
}

}  // namespace marathon::inline MARATHON_ABI::detail
