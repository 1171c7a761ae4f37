// What a transactional activity writes through: sqlite::Transaction and its Rows.
#include "marathon/adapters/sqlite_transaction.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <utility>

#include "connection.h"
#include "marathon/failure.h"

namespace marathon::inline MARATHON_ABI::sqlite {
namespace {

bool IsBlank(std::string_view sql) { return sql.find_first_not_of(" \t\r\n;") == std::string_view::npos; }

}  // namespace

// ---- Rows

Rows::~Rows() { sqlite3_finalize(stmt_); }

bool Rows::Next() {
  if (stmt_ == nullptr || !tx_->undone_.ok()) return false;
  const int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) {
    Status error = tx_->ErrorOf(code, sqlite3_sql(stmt_));
    if (tx_->undone_.ok()) tx_->undone_ = std::move(error);
  }
  sqlite3_finalize(std::exchange(stmt_, nullptr));  // another step would begin anew
  return false;
}

int64_t Rows::Int(int column) const { return sqlite3_column_int64(stmt_, column); }
double Rows::Real(int column) const { return sqlite3_column_double(stmt_, column); }
bool Rows::IsNull(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }

std::string Rows::Text(int column) const {
  // First the text, which may convert, then its size.
  const void* data = sqlite3_column_type(stmt_, column) == SQLITE_BLOB
                         ? sqlite3_column_blob(stmt_, column)
                         : static_cast<const void*>(sqlite3_column_text(stmt_, column));
  const auto size = static_cast<size_t>(sqlite3_column_bytes(stmt_, column));
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

// ---- Transaction

Transaction::Transaction(sqlite3* db) : db_(db), open_(sqlite3_get_autocommit(db) == 0) {}

Status Transaction::ErrorOf(int code, std::string_view sql) {
  const int extended = sqlite3_extended_errcode(db_);
  const std::string text = fmt::format("{}: {}", sql, code == SQLITE_MISUSE ? sqlite3_errstr(code) : sqlite3_errmsg(db_));
  Status error;
  switch (code & 0xff) {
    case SQLITE_AUTH:
      if (!refused_.empty()) {
        Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
        failure.type = failure_type::kForbiddenSql;
        failure.message = fmt::format("{}: {}", sql, std::exchange(refused_, {}));
        return FailureStatus(failure);
      }
      error = InvalidArgument(text);
      break;
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_TOOBIG:
      error = InvalidArgument(text);
      break;
    case SQLITE_ABORT:  // the activity's own doing: nobody else has this connection
    case SQLITE_LOCKED:
      error = FailedPrecondition(text);
      break;
    case SQLITE_CONSTRAINT:
      error = extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY ||
                      extended == SQLITE_CONSTRAINT_ROWID
                  ? AlreadyExists(text)
                  : FailedPrecondition(text);
      break;
    case SQLITE_INTERRUPT:
      error = DeadlineExceeded(text + ": the transaction has held the write lock for longer than transaction_limit");
      break;
    default:
      error = detail::SqliteStatus(code, sql, sqlite3_errmsg(db_));
  }
  // SQLite has given up the whole transaction: what follows must not run as if it were still there.
  if (open_ && undone_.ok() && sqlite3_get_autocommit(db_) != 0) undone_ = error;
  return error;
}

StatusOr<Rows> Transaction::Prepare(std::string_view sql, std::initializer_list<Value> values) {
  if (!undone_.ok()) return undone_;
  sqlite3_stmt* stmt = nullptr;
  const char* rest = nullptr;
  refused_.clear();
  const int code = sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &stmt, &rest);
  if (code != SQLITE_OK) return ErrorOf(code, sql);
  Rows rows(this, stmt);
  if (stmt == nullptr || !IsBlank(sql.substr(static_cast<size_t>(rest - sql.data())))) {
    return InvalidArgument(fmt::format("{}: one statement at a time", sql));
  }
  if (const int wanted = sqlite3_bind_parameter_count(stmt); wanted != static_cast<int>(values.size())) {
    return InvalidArgument(fmt::format("{}: has {} parameters, and was given {} values", sql, wanted, values.size()));
  }
  int index = 0;
  for (const Value& value : values) {
    ++index;
    const std::string_view bytes = value.bytes_.data() == nullptr ? std::string_view("") : value.bytes_;
    switch (value.kind_) {
      case Value::Kind::kNull:
        break;  // as it is
      case Value::Kind::kInteger:
        sqlite3_bind_int64(stmt, index, value.integer_);
        break;
      case Value::Kind::kReal:
        sqlite3_bind_double(stmt, index, value.real_);
        break;
      case Value::Kind::kText:
        sqlite3_bind_text64(stmt, index, bytes.data(), bytes.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
      case Value::Kind::kBlob:
        sqlite3_bind_blob64(stmt, index, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
        break;
    }
  }
  return rows;
}

StatusOr<int64_t> Transaction::RunBound(std::string_view sql, std::initializer_list<Value> values) {
  const StatusOr<Rows> rows = Prepare(sql, values);
  if (!rows.ok()) return rows.status();
  const int64_t before = sqlite3_total_changes64(db_);
  int code = SQLITE_ROW;
  while (code == SQLITE_ROW) code = sqlite3_step(rows->stmt_);
  if (code != SQLITE_DONE) return ErrorOf(code, sql);
  // Of a statement that changes no rows, the count of the one before would be told.
  return sqlite3_total_changes64(db_) == before ? 0 : sqlite3_changes64(db_);
}

StatusOr<Rows> Transaction::FirstRow(std::string_view sql, std::initializer_list<Value> values) {
  StatusOr<Rows> rows = Prepare(sql, values);
  if (!rows.ok()) return rows;
  const int code = sqlite3_step(rows->stmt_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) return ErrorOf(code, sql);
  if (code == SQLITE_DONE || rows->IsNull(0)) return NotFound(fmt::format("{}: gives nothing", sql));
  return rows;
}

}  // namespace marathon::inline MARATHON_ABI::sqlite
