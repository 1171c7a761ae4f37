// SqliteConnection, SqliteStatement and SqliteCursor: the little of SQLite that the adapter needs.
//
// Errors are sticky. The first one of a transaction is kept by the connection; until TakeError() every
// statement finds nothing and changes nothing. So the code between BEGIN and COMMIT reads as if nothing
// could fail, and whoever commits asks once.
//
// One thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// What an SQLite result code means to a caller whose transaction has been, or will be, rolled back.
// `extended` is the extended code, `what` says what was being done.
Status SqliteStatus(int extended, std::string_view what, std::string_view message);

class SqliteConnection {
 public:
  // Opens, and creates if need be, the file at `path`.
  static StatusOr<std::unique_ptr<SqliteConnection>> Open(const std::string& path,
                                                          int busy_timeout_ms);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Leaves the file descriptors open and the memory behind: for a child process after fork().
  void Abandon() { db_ = nullptr; }

  sqlite3* handle() const { return db_; }

  // Runs one or more statements without results. Not sticky.
  Status Exec(const char* sql);

  // The first error since the last TakeError().
  bool failed() const { return !error_.ok(); }
  Status TakeError() { return std::exchange(error_, Status()); }
  // Notes an error that SQLite has just reported, or (second form) that its data implies.
  void Fail(int code, const char* sql);
  void Fail(Status status);

 private:
  explicit SqliteConnection(sqlite3* db) : db_(db) {}

  sqlite3* db_;
  Status error_;
};

// One execution of a statement. Text and blobs it returns live until the next Next().
class SqliteCursor {
 public:
  SqliteCursor(SqliteConnection* db, sqlite3_stmt* stmt, const char* sql)
      : db_(db), stmt_(stmt), sql_(sql) {}
  SqliteCursor(const SqliteCursor&) = delete;
  SqliteCursor& operator=(const SqliteCursor&) = delete;
  ~SqliteCursor() {
    if (stmt_ != nullptr) sqlite3_reset(stmt_);
  }

  // Moves to the next row. False at the end, and after an error.
  bool Next();

  int64_t Int(int column) const { return sqlite3_column_int64(stmt_, column); }
  std::string_view Bytes(int column) const {
    const void* data = sqlite3_column_blob(stmt_, column);
    return {static_cast<const char*>(data),
            static_cast<size_t>(sqlite3_column_bytes(stmt_, column))};
  }
  std::string String(int column) const { return std::string(Bytes(column)); }
  bool IsNull(int column) const {
    return sqlite3_column_type(stmt_, column) == SQLITE_NULL;
  }

 private:
  SqliteConnection* db_;
  sqlite3_stmt* stmt_;  // null: the connection had failed before
  const char* sql_;
};

// A value bound as a blob; std::string_view is bound as text.
struct SqliteBlob {
  std::string_view bytes;
};

// A time, or NULL for kNever: so that indexes hold only what waits for something.
struct SqliteInstant {
  Time time;
};

// A statement, prepared at its first use and kept.
class SqliteStatement {
 public:
  SqliteStatement(SqliteConnection& db, const char* sql) : db_(&db), sql_(sql) {}
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;
  ~SqliteStatement() { sqlite3_finalize(stmt_); }

  // Starts an execution with ?1, ?2 … bound. Bytes are bound by reference: they must outlive it.
  template <class... Values>
  SqliteCursor Query(const Values&... values) {
    if (!Prepare()) return SqliteCursor(db_, nullptr, sql_);
    int index = 0;
    (Bind(++index, values), ...);
    return SqliteCursor(db_, stmt_, sql_);
  }

  // Runs to the end; the number of rows it changed.
  template <class... Values>
  int64_t Run(const Values&... values) {
    {
      SqliteCursor cursor = Query(values...);
      while (cursor.Next()) {
      }
    }
    return db_->failed() ? 0 : sqlite3_changes64(db_->handle());
  }

  // How many instructions all its executions took.
  int64_t Steps() const {
    return stmt_ == nullptr ? 0 : sqlite3_stmt_status(stmt_, SQLITE_STMTSTATUS_VM_STEP, /*reset=*/0);
  }

 private:
  bool Prepare();
  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  void Bind(int index, T value) {
    sqlite3_bind_int64(stmt_, index, static_cast<int64_t>(value));
  }
  void Bind(int index, SqliteInstant instant) {
    if (instant.time == kNever) {
      sqlite3_bind_null(stmt_, index);
    } else {
      sqlite3_bind_int64(stmt_, index, ToMicros(instant.time));
    }
  }
  void Bind(int index, const std::string* text) {  // null: NULL
    if (text != nullptr) {
      Bind(index, std::string_view(*text));
    } else {
      sqlite3_bind_null(stmt_, index);
    }
  }
  void Bind(int index, std::string_view text) {
    // A null pointer would bind NULL.
    sqlite3_bind_text64(stmt_, index, text.empty() ? "" : text.data(), text.size(), SQLITE_STATIC,
                        SQLITE_UTF8);
  }
  void Bind(int index, SqliteBlob blob) {
    sqlite3_bind_blob64(stmt_, index, blob.bytes.empty() ? "" : blob.bytes.data(),
                        blob.bytes.size(), SQLITE_STATIC);
  }

  SqliteConnection* db_;
  const char* sql_;
  sqlite3_stmt* stmt_ = nullptr;
};

}  // namespace marathon::inline MARATHON_ABI::detail
