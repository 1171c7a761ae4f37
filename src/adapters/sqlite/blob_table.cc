#include "blob_table.h"

#include "kept_until.h"
#include "marathon/store/blob_rules.h"

namespace marathon::inline MARATHON_ABI::detail {

int64_t SqliteBlobTable::Use(const BlobRef& ref, Time now) {
  int64_t id = 0;
  Time until;
  {
    SqliteCursor cursor = find_.Query(ns_, std::string_view(ref.sha256));
    if (!cursor.Next()) return 0;
    id = cursor.Int(0);
    until = FromMicros(cursor.Int(1));
  }
  const Time longer = KeptUntil(now, until, keep_);
  if (longer != until) keep_longer_.Run(id, ToMicros(longer));
  return id;
}

void SqliteBlobTable::Put(const std::vector<BlobRef>& refs, const std::vector<std::string>& blobs,
                          Time now) {
  for (size_t i = 0; i < refs.size(); ++i) {
    if (Use(refs[i], now) != 0) continue;
    insert_.Run(ns_, std::string_view(refs[i].sha256), ToMicros(KeptUntil(now, now, keep_)));
    insert_bytes_.Run(sqlite3_last_insert_rowid(db_.handle()), SqliteBlob{blobs[i]});
  }
}

StatusOr<std::vector<std::string>> SqliteBlobTable::Get(const std::vector<BlobRef>& refs, Time now) {
  std::vector<std::string> blobs;
  for (const BlobRef& ref : refs) {
    const int64_t id = Use(ref, now);
    if (id == 0) return NoSuchBlob(ref);
    SqliteCursor cursor = read_.Query(id);
    blobs.push_back(cursor.Next() ? cursor.String(0) : std::string());  // which its name will not match
  }
  return blobs;
}

int64_t SqliteBlobTable::Sweep(int limit, Time now) {
  std::vector<int64_t> ids;
  {
    SqliteCursor cursor = overdue_.Query(ns_, ToMicros(now), limit);
    while (cursor.Next()) ids.push_back(cursor.Int(0));
  }
  for (const int64_t id : ids) {
    erase_bytes_.Run(id);
    erase_.Run(id);
  }
  return static_cast<int64_t>(ids.size());
}

}  // namespace marathon::inline MARATHON_ABI::detail
