// FaultyVfs: SQLite's file system with faults. Registered as the default one, it passes every call on
// and fails the one it was told to fail, once or from then on.
#pragma once

#include <sqlite3.h>

#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::testing {

class FaultyVfs {
 public:
  enum class Op { kRead, kWrite, kSync };
  // Asked before each operation on a file whose name ends in `suffix` ("-wal", or "" for the database);
  // SQLITE_OK lets it pass, anything else is its result.
  using Fault = std::function<int(Op op, const std::string& suffix)>;

  FaultyVfs() : real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
    vfs_.zName = "faulty";
    vfs_.pNext = nullptr;
    vfs_.pAppData = this;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = Open;
    sqlite3_vfs_register(&vfs_, /*makeDflt=*/1);
  }
  ~FaultyVfs() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real_, /*makeDflt=*/1);
  }
  FaultyVfs(const FaultyVfs&) = delete;

  void Set(Fault fault) { fault_ = std::move(fault); }
  void Clear() { fault_ = nullptr; }

 private:
  struct File {
    sqlite3_file base;
    FaultyVfs* owner;
    char suffix[8];
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
    int Ask(Op op) { return owner->fault_ ? owner->fault_(op, suffix) : SQLITE_OK; }
  };
  static File* Of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }
  static sqlite3_file* Real(sqlite3_file* file) { return Of(file)->real(); }

  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
    auto* owner = static_cast<FaultyVfs*>(vfs->pAppData);
    File* opened = Of(file);
    opened->owner = owner;
    const char* dash = name == nullptr ? nullptr : std::strrchr(name, '-');
    const bool log = dash != nullptr && std::strcmp(dash, "-wal") == 0;
    std::strcpy(opened->suffix, log ? "-wal" : "");
    const int code = owner->real_->xOpen(owner->real_, name, opened->real(), flags, out);
    opened->base.pMethods = opened->real()->pMethods == nullptr ? nullptr : Methods();
    return code;
  }

  static const sqlite3_io_methods* Methods() {
    static const sqlite3_io_methods methods = [] {
      sqlite3_io_methods m = {};
      m.iVersion = 2;
      m.xClose = [](sqlite3_file* f) { return Real(f)->pMethods->xClose(Real(f)); };
      m.xRead = [](sqlite3_file* f, void* data, int size, sqlite3_int64 at) {
        const int fault = Of(f)->Ask(Op::kRead);
        return fault != SQLITE_OK ? fault : Real(f)->pMethods->xRead(Real(f), data, size, at);
      };
      m.xWrite = [](sqlite3_file* f, const void* data, int size, sqlite3_int64 at) {
        const int fault = Of(f)->Ask(Op::kWrite);
        return fault != SQLITE_OK ? fault : Real(f)->pMethods->xWrite(Real(f), data, size, at);
      };
      m.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) {
        return Real(f)->pMethods->xTruncate(Real(f), size);
      };
      m.xSync = [](sqlite3_file* f, int flags) {
        const int fault = Of(f)->Ask(Op::kSync);
        return fault != SQLITE_OK ? fault : Real(f)->pMethods->xSync(Real(f), flags);
      };
      m.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
        return Real(f)->pMethods->xFileSize(Real(f), size);
      };
      m.xLock = [](sqlite3_file* f, int level) {
        return Real(f)->pMethods->xLock(Real(f), level);
      };
      m.xUnlock = [](sqlite3_file* f, int level) {
        return Real(f)->pMethods->xUnlock(Real(f), level);
      };
      m.xCheckReservedLock = [](sqlite3_file* f, int* out) {
        return Real(f)->pMethods->xCheckReservedLock(Real(f), out);
      };
      m.xFileControl = [](sqlite3_file* f, int op, void* arg) {
        return Real(f)->pMethods->xFileControl(Real(f), op, arg);
      };
      m.xSectorSize = [](sqlite3_file* f) { return Real(f)->pMethods->xSectorSize(Real(f)); };
      m.xDeviceCharacteristics = [](sqlite3_file* f) {
        return Real(f)->pMethods->xDeviceCharacteristics(Real(f));
      };
      m.xShmMap = [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
        return Real(f)->pMethods->xShmMap(Real(f), page, size, extend, out);
      };
      m.xShmLock = [](sqlite3_file* f, int offset, int count, int flags) {
        return Real(f)->pMethods->xShmLock(Real(f), offset, count, flags);
      };
      m.xShmBarrier = [](sqlite3_file* f) { Real(f)->pMethods->xShmBarrier(Real(f)); };
      m.xShmUnmap = [](sqlite3_file* f, int erase) {
        return Real(f)->pMethods->xShmUnmap(Real(f), erase);
      };
      return m;
    }();
    return &methods;
  }

  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_;
  Fault fault_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
