// Opening a Marathon database file: what it must be, what it becomes, and how it is checked.
//
// The file says what it is: SQLite's application_id is "Mara", its user_version is the number of the
// schema. An empty file becomes a database; an older schema is brought up to date, step by step, in one
// transaction; a newer one, another application's file and a damaged one are refused, untouched.
//
// Functions; no thread rule.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "connection.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

inline constexpr int32_t kSqliteApplicationId = 0x4d617261;  // "Mara"
inline constexpr int kSqliteSchemaVersion = 7;

// `path` must be absolute. `options.path` is not looked at.
StatusOr<std::unique_ptr<SqliteConnection>> OpenSqliteDatabase(const std::string& path,
                                                               const SqliteOptions& options);

// The number by which rows know the namespace `name`, made at its first use.
StatusOr<int64_t> SqliteNamespace(SqliteConnection& db, const std::string& name);

}  // namespace marathon::inline MARATHON_ABI::detail
