#include "guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "schema.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

bool IsReservedName(const char* name) {
  if (name == nullptr) return false;
  if (sqlite3_strnicmp(name, "marathon_", 9) == 0) return true;
  return std::ranges::any_of(kSqliteTables, [&](const char* ours) { return sqlite3_stricmp(name, ours) == 0; });
}

// Those that only read; full-text search and ALTER TABLE ask some of them themselves.
bool IsHarmlessPragma(const char* name) {
  static constexpr const char* kHarmless[] = {
      "table_info",       "table_xinfo",       "table_list",  "index_list", "index_info",      "index_xinfo",
      "foreign_key_list", "foreign_key_check", "quick_check", "page_size",  "integrity_check", "data_version"};
  return std::ranges::any_of(kHarmless, [&](const char* one) { return sqlite3_stricmp(name, one) == 0; });
}

// Why users may not do it; empty: they may.
std::string Refusal(int action, const char* first, const char* second) {
  switch (action) {
    case SQLITE_TRANSACTION:
      return fmt::format("{} is refused: the transaction is the activity's, and ends with it", first);
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
      return "ATTACH and DETACH are refused: a transaction over several files may come apart in a crash";
    case SQLITE_PRAGMA:
      if (IsHarmlessPragma(first)) return "";
      return fmt::format("PRAGMA {} is refused: the connection's settings are the store's", first);
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_DROP_TEMP_TABLE:
      return "temporary tables are refused: they would outlive the transaction, on the store's connection";
    default:
      break;
  }
  // A table's name is in the one or the other.
  for (const char* name : {first, second}) {
    const bool is_column = name == second && (action == SQLITE_READ || action == SQLITE_UPDATE);
    if (is_column || action == SQLITE_FUNCTION || action == SQLITE_SAVEPOINT || !IsReservedName(name)) continue;
    return fmt::format("the table \"{}\" is the store's own, as all are whose names begin with marathon_", name);
  }
  return "";
}

// What a key refers to is told to no authorizer.
bool RefersToStore(sqlite3* db) {
  sqlite3_stmt* keys = nullptr;
  bool found = sqlite3_prepare_v2(db,
                                  "SELECT k.\"table\" FROM sqlite_schema t, pragma_foreign_key_list(t.name) k "
                                  "WHERE t.type = 'table'",
                                  -1, &keys, nullptr) != SQLITE_OK;
  while (!found && sqlite3_step(keys) == SQLITE_ROW) {
    found = IsReservedName(reinterpret_cast<const char*>(sqlite3_column_text(keys, 0)));
  }
  sqlite3_finalize(keys);
  return found;
}

}  // namespace

SqliteGuard::SqliteGuard(SqliteConnection& connection, const Runtime& runtime)
    : connection_(connection), runtime_(runtime) {
  sqlite3_set_authorizer(connection_.handle(), OnPrepare, this);
  sqlite3_commit_hook(connection_.handle(), OnCommit, this);
  sqlite3_rollback_hook(connection_.handle(), OnRollback, this);
}

SqliteGuard::~SqliteGuard() {
  sqlite3_set_authorizer(connection_.handle(), nullptr, nullptr);
  sqlite3_commit_hook(connection_.handle(), nullptr, nullptr);
  sqlite3_rollback_hook(connection_.handle(), nullptr, nullptr);
}

Status SqliteGuard::Run(Duration limit, const std::function<void(sqlite::Transaction&)>& body) {
  constexpr int kStepsPerLook = 1'000;  // some microseconds
  constexpr Duration kLongest = std::chrono::hours(24);
  sqlite3* const db = connection_.handle();
  sqlite::Transaction tx(db);
  running_ = &tx;
  rolled_back_ = makes_tables_ = false;
  until_ = runtime_.MonotonicMicros() + std::min(limit, kLongest).count() * 1'000;
  sqlite3_progress_handler(db, kStepsPerLook, OnProgress, this);
  body(tx);
  sqlite3_progress_handler(db, 0, nullptr, nullptr);
  // One that was left in the middle would hold on to what it sees of the file. The store's own are at rest.
  for (sqlite3_stmt* left = sqlite3_next_stmt(db, nullptr); left != nullptr; left = sqlite3_next_stmt(db, left)) {
    if (sqlite3_stmt_busy(left) != 0) sqlite3_reset(left);
  }
  running_ = nullptr;
  if (!tx.undone_.ok()) return tx.undone_;
  if (runtime_.MonotonicMicros() > until_) {
    return DeadlineExceeded("the transaction has held the write lock for longer than transaction_limit");
  }
  // A SAVEPOINT after that begins a transaction of its own.
  if (rolled_back_ || sqlite3_get_autocommit(db) != 0) {
    return FailedPrecondition("a statement has rolled the transaction back (ON CONFLICT ROLLBACK, a full disk …)");
  }
  int violated = 0;
  int unused = 0;
  sqlite3_db_status(db, SQLITE_DBSTATUS_DEFERRED_FKS, &violated, &unused, /*resetFlg=*/0);
  if (violated != 0) return FailedPrecondition("a FOREIGN KEY constraint that was deferred is not met in the end");
  if (makes_tables_ && RefersToStore(db)) {
    return FailedPrecondition("a table has a FOREIGN KEY that refers to a table of the store's own, which could then "
                              "no longer delete its rows");
  }
  return {};
}

Status SqliteGuard::RunScript(const std::string& sql, std::string_view what) {
  constexpr Duration kUnhurried{3'600'000};
  Status status = connection_.Exec("BEGIN IMMEDIATE");
  if (!status.ok()) return status;
  Status own;
  status = Run(kUnhurried, [&](sqlite::Transaction& tx) {
    const int code = sqlite3_exec(tx.handle(), sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) own = tx.ErrorOf(code, what);
  });
  if (!own.ok()) status = std::move(own);
  if (status.ok()) status = connection_.Exec("COMMIT");
  if (!status.ok() && sqlite3_get_autocommit(connection_.handle()) == 0) {
    static_cast<void>(connection_.Exec("ROLLBACK"));
  }
  return status;
}

int SqliteGuard::OnPrepare(void* self, int action, const char* first, const char* second, const char*, const char*) {
  sqlite::Transaction* const tx = static_cast<SqliteGuard*>(self)->running_;
  if (tx == nullptr) return SQLITE_OK;
  if (action == SQLITE_CREATE_TABLE || action == SQLITE_ALTER_TABLE) static_cast<SqliteGuard*>(self)->makes_tables_ = true;
  std::string refusal = Refusal(action, first, second);
  if (refusal.empty()) return SQLITE_OK;
  tx->refused_ = std::move(refusal);
  return SQLITE_DENY;
}

// Once a statement has rolled the transaction back, the next ones would commit by themselves.
int SqliteGuard::OnCommit(void* self) { return static_cast<SqliteGuard*>(self)->running_ != nullptr ? 1 : 0; }

void SqliteGuard::OnRollback(void* self) {
  auto* guard = static_cast<SqliteGuard*>(self);
  if (guard->running_ != nullptr) guard->rolled_back_ = true;
}

int SqliteGuard::OnProgress(void* self) {
  const auto* guard = static_cast<SqliteGuard*>(self);
  return guard->runtime_.MonotonicMicros() > guard->until_ ? 1 : 0;
}

}  // namespace marathon::inline MARATHON_ABI::detail
