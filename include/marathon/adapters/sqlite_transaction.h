// Transactional activities on SQLite: what such an activity writes and its end are one transaction, so its SQL takes
// effect exactly once, whatever crashes, retries and duplicates come between.
//
//   registry.Bind(kTransfer, marathon::sqlite::Transactional(
//                                [](marathon::sqlite::Transaction& tx, const Transfer& input) -> absl::StatusOr<int64_t> {
//     auto paid = tx.Run("UPDATE accounts SET cents = cents - ?2 WHERE name = ?1", input.from, input.cents);
//     if (!paid.ok()) return paid.status();
//     return tx.One<int64_t>("SELECT cents FROM accounts WHERE name = ?1", input.from);
//   }));
//
// The callable may take an ActivityContext& first, and may lack the input. It blocks a thread of the activity pool, and
// holds the file's write lock: nothing else is written meanwhile, by any process. So it should do nothing but SQL, and must
// not take longer than SqliteOptions::transaction_limit. What it asks of the engine, or of its context's store, is refused
// with kFailedPrecondition; to wait for another thread that asks would never end. Its heartbeats are not kept.
//
// If it returns an error or throws, all that it wrote is rolled back and the retry policy decides; so it does if a statement
// has undone the transaction (ON CONFLICT ROLLBACK). If the attempt is another's by now, is canceled, or its run has ended,
// it is not called, and nothing is recorded.
//
// Its tables are in the engine's file (SqliteOptions::user_schema makes them). docs/sqlite.md says which names are taken and
// which statements are refused. The engine must be opened on SQLite, with whatever queue.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "marathon/config.h"
#include "marathon/detail/callables.h"
#include "marathon/status.h"
#include "marathon/transactions.h"

struct sqlite3;  // of <sqlite3.h>, for who wants more of SQLite than Transaction has
struct sqlite3_stmt;

namespace marathon::inline MARATHON_ABI::detail {
class SqliteGuard;
}

namespace marathon::inline MARATHON_ABI::sqlite {

// Bytes to bind as a BLOB; strings are bound as TEXT.
struct Blob {
  std::string_view bytes;
};

// What is bound to a ?1: an integer, a real, text, a Blob, or NULL (nullptr, an empty optional). Text is a view.
class Value {
 public:
  // NOLINTBEGIN(google-explicit-constructor): a value is written as itself
  Value(std::nullptr_t) {}
  template <std::integral T>
  Value(T value) : kind_(Kind::kInteger), integer_(static_cast<int64_t>(value)) {}
  template <std::floating_point T>
  Value(T value) : kind_(Kind::kReal), real_(static_cast<double>(value)) {}
  template <class T>
    requires std::convertible_to<const T&, std::string_view>
  Value(const T& text) : kind_(Kind::kText), bytes_(text) {}
  Value(Blob blob) : kind_(Kind::kBlob), bytes_(blob.bytes) {}
  template <class T>
  Value(const std::optional<T>& value) : Value(value ? Value(*value) : Value(nullptr)) {}
  // NOLINTEND(google-explicit-constructor)

 private:
  friend class Transaction;
  enum class Kind { kNull, kInteger, kReal, kText, kBlob };

  Kind kind_ = Kind::kNull;
  int64_t integer_ = 0;
  double real_ = 0;
  std::string_view bytes_;
};

class Transaction;

// The rows that a query gives, one after the other. To be gone before its transaction is.
class MARATHON_EXPORT Rows {
 public:
  Rows(Rows&& other) noexcept : tx_(other.tx_), stmt_(std::exchange(other.stmt_, nullptr)) {}
  Rows& operator=(Rows&&) = delete;
  ~Rows();

  // Moves to the next row, at first to the first. False: there is none, or there was an error; then the transaction
  // fails with that, whatever the activity returns.
  bool Next();

  // Columns of this row, from 0; converted as SQLite does, NULL to 0 and "".
  int64_t Int(int column) const;
  double Real(int column) const;
  std::string Text(int column) const;  // and bytes
  bool IsNull(int column) const;

 private:
  friend class Transaction;
  Rows(Transaction* tx, sqlite3_stmt* stmt) : tx_(tx), stmt_(stmt) {}

  Transaction* tx_;
  sqlite3_stmt* stmt_;
};

// One transaction. An error of a statement undoes that statement alone, and the activity may go on.
//   kInvalidArgument     the SQL is wrong, or has another number of parameters
//   kAlreadyExists       a UNIQUE or PRIMARY KEY constraint;  kFailedPrecondition: another constraint
//   kDeadlineExceeded    the transaction has gone on for longer than SqliteOptions::transaction_limit
//   kAborted             a statement that is refused here; the Failure in it is of type marathon.ForbiddenSql
//   other codes          what became of the file (status.h)
// One thread: the one that runs the activity.
class MARATHON_EXPORT Transaction final : public StoreTransaction {
 public:
  static constexpr std::string_view kKind = "SQLite";

  // For tests of an activity's code: over a connection of yours, with nothing refused.
  explicit Transaction(sqlite3* db);

  // Runs one statement, with ?1, ?2 … bound to `values`. How many rows it changed.
  template <class... Values>
  StatusOr<int64_t> Run(std::string_view sql, const Values&... values) {
    return RunBound(sql, {Value(values)...});
  }
  // Runs one statement that gives rows.
  template <class... Values>
  StatusOr<Rows> Query(std::string_view sql, const Values&... values) {
    return Prepare(sql, {Value(values)...});
  }
  // The first column of the first row: an integer, a real or a std::string. kNotFound: no row, or NULL.
  template <class T, class... Values>
  StatusOr<T> One(std::string_view sql, const Values&... values) {
    StatusOr<Rows> rows = FirstRow(sql, {Value(values)...});
    if (!rows.ok()) return rows.status();
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(rows->Int(0));
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<T>(rows->Real(0));
    } else {
      static_assert(std::is_same_v<T, std::string>, "Marathon: a column is an integer, a real or a std::string");
      return rows->Text(0);
    }
  }

  // The store's own connection, inside its transaction. Finalize what you prepare; leave its hooks and settings alone.
  sqlite3* handle() const { return db_; }

  // Why the whole transaction is going to be rolled back; OK: nothing says so.
  const Status& status() const { return undone_; }

 private:
  friend class Rows;
  friend class detail::SqliteGuard;

  StatusOr<int64_t> RunBound(std::string_view sql, std::initializer_list<Value> values);
  StatusOr<Rows> Prepare(std::string_view sql, std::initializer_list<Value> values);
  StatusOr<Rows> FirstRow(std::string_view sql, std::initializer_list<Value> values);
  Status ErrorOf(int code, std::string_view sql);

  sqlite3* const db_;
  const bool open_;      // it was begun
  Status undone_;
  std::string refused_;  // what was wrong with the statement that is being prepared
};

// An activity for Registry::Bind. It can neither be local nor complete later.
template <class Fn>
detail::TransactionalActivity<Transaction, Fn> Transactional(Fn fn) {
  static_assert(!detail::CallableTraits<Fn>::kIsAsynchronous,
                "Marathon: a transactional activity ends when it returns; it has no ActivityCompletion");
  return {std::move(fn)};
}

}  // namespace marathon::inline MARATHON_ABI::sqlite
