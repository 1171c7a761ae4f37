#include "connection.h"

#include <fmt/format.h>

#include <utility>

namespace marathon::inline MARATHON_ABI::detail {

Status SqliteStatus(int extended, std::string_view what, std::string_view message) {
  const std::string text = fmt::format("SQLite, {}: {} (code {})", what, message, extended);
  switch (extended & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
      return Status();
    case SQLITE_FULL:
      return ResourceExhausted(text + ". Free some space on the disk (or raise max_page_count).");
    case SQLITE_CORRUPT:
      return DataLoss(text + ". Restore the file from a backup, or try `sqlite3 FILE .recover`.");
    case SQLITE_NOTADB:
      return DataLoss(text + ". The file is something else, or its first page is damaged.");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Unavailable(text + ". Another process holds the write lock.");
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return FailedPrecondition(text + ". The file and its folder must be writable.");
    case SQLITE_CANTOPEN:
      return Unavailable(text + ". Does the folder exist, and may this process write there?");
    case SQLITE_TOOBIG:
      return InvalidArgument(text);
    default:  // SQLITE_IOERR, SQLITE_NOMEM, SQLITE_INTERRUPT …: perhaps better next time
      return Unavailable(text);
  }
}

StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path,
                                                                   int busy_timeout_ms) {
  sqlite3* db = nullptr;
  // NOMUTEX: the adapter lets one thread at a time in, and a mutex of SQLite's would cost twice.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  if (code != SQLITE_OK) {
    const std::string message = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    sqlite3_close(db);
    return SqliteStatus(code, fmt::format("opening {}", path), message);
  }
  sqlite3_busy_timeout(db, busy_timeout_ms);
  return std::unique_ptr<SqliteConnection>(new SqliteConnection(db));
}

SqliteConnection::~SqliteConnection() {
  // _v2: statements that are still alive make it a zombie instead of a failure.
  if (db_ != nullptr) sqlite3_close_v2(db_);
}

Status SqliteConnection::Exec(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status() : SqliteStatus(code, sql, sqlite3_errmsg(db_));
}

void SqliteConnection::Fail(int code, const char* sql) {
  if (error_.ok()) error_ = SqliteStatus(code, sql, sqlite3_errmsg(db_));
}

void SqliteConnection::Fail(Status status) {
  if (error_.ok()) error_ = std::move(status);
}

bool SqliteCursor::Next() {
  if (stmt_ == nullptr || db_->failed()) return false;
  const int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) db_->Fail(code, sql_);
  return false;
}

bool SqliteStatement::Prepare() {
  if (db_->failed()) return false;
  if (stmt_ != nullptr) return true;
  const int code = sqlite3_prepare_v3(db_->handle(), sql_, -1, SQLITE_PREPARE_PERSISTENT, &stmt_,
                                      nullptr);
  if (code != SQLITE_OK) db_->Fail(code, sql_);
  return code == SQLITE_OK;
}

}  // namespace marathon::inline MARATHON_ABI::detail
