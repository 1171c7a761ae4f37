#include "place_table.h"

#include <fmt/format.h>

#include <vector>

namespace marathon::inline MARATHON_ABI::detail {

class SqlitePlaceTable::Entries {
 public:
  Entries(SqlitePlaceTable& table, int64_t id, const PlaceHead& head) : table_(table), id_(id), head_(head) {}

  PlaceHead& head() { return head_; }
  bool empty() { return !table_.any_.Query(id_).Next(); }

  std::optional<PlaceEntry> Find(const std::string& holder) {
    SqliteCursor cursor = table_.find_.Query(id_, SqliteBlob{holder});
    if (!cursor.Next()) return std::nullopt;
    const int64_t state = cursor.Int(0);
    if (state < 1 || state > 3) table_.db_.Fail(DataLoss(fmt::format("the place of \"{}\" is damaged", holder)));
    return EntryOf(static_cast<PlaceState>(state), cursor);
  }
  void Put(const std::string& holder, const PlaceEntry& entry) {
    table_.put_.Run(id_, SqliteBlob{holder}, static_cast<int64_t>(entry.state), entry.epoch,
                    static_cast<int64_t>(entry.priority), entry.at);
  }
  void Erase(const std::string& holder) { table_.erase_.Run(id_, SqliteBlob{holder}); }
  std::optional<std::pair<std::string, PlaceEntry>> First(PlaceState state) {
    SqliteCursor cursor = table_.first_.Query(id_, static_cast<int64_t>(state));
    if (!cursor.Next()) return std::nullopt;
    return std::pair(cursor.String(0), EntryOf(state, cursor));
  }

 private:
  // Columns 1 to 3.
  static PlaceEntry EntryOf(PlaceState state, const SqliteCursor& cursor) {
    return {state, cursor.Int(1), static_cast<uint8_t>(cursor.Int(2)), cursor.Int(3)};
  }

  SqlitePlaceTable& table_;
  const int64_t id_;
  PlaceHead head_;
};

template <class Request, class Reply>
Reply SqlitePlaceTable::Over(const Request& request, Time now, Reply (PlaceRules<Entries>::*call)(const Request&)) {
  constexpr int kSweptByNewKey = 2;
  int64_t id = 0;
  PlaceHead head;
  {
    SqliteCursor cursor = find_key_.Query(ns_, SqliteBlob{request.key});
    if (cursor.Next()) {
      id = cursor.Int(0);
      head = {static_cast<int32_t>(cursor.Int(1)), cursor.Int(2), cursor.Int(3)};
    }
  }
  if (id == 0) {
    Sweep(kSweptByNewKey, now);
    insert_key_.Run(ns_, SqliteBlob{request.key}, ToMicros(now));
    id = sqlite3_last_insert_rowid(db_.handle());
  }
  Entries entries(*this, id, head);
  PlaceRules<Entries> rules(entries, now);
  Reply reply = (rules.*call)(request);
  if (entries.empty()) {
    erase_key_.Run(id);
  } else {
    const PlaceHead& after = entries.head();
    update_key_.Run(id, static_cast<int64_t>(after.max), after.arrivals, after.taken,
                    ToMicros(now + PlacesKept(after)));
  }
  return reply;
}

EnterReply SqlitePlaceTable::Enter(const EnterPlace& request, Time now) {
  return Over(request, now, &PlaceRules<Entries>::Enter);
}

LeaveReply SqlitePlaceTable::Leave(const LeavePlace& request, Time now) {
  return Over(request, now, &PlaceRules<Entries>::Leave);
}

void SqlitePlaceTable::Sweep(int limit, Time now) {
  std::vector<int64_t> ids;
  {
    SqliteCursor cursor = overdue_.Query(ns_, ToMicros(now), limit);
    while (cursor.Next()) ids.push_back(cursor.Int(0));
  }
  for (const int64_t id : ids) Erase(id);
}

void SqlitePlaceTable::Erase(int64_t id) {
  erase_all_.Run(id);
  erase_key_.Run(id);
}

}  // namespace marathon::inline MARATHON_ABI::detail
