// SessionLock: a file beside the database, locked for as long as its session's process lives.
//
// The kernel lets go of the lock when the process dies, however it dies; so whoever finds it free knows
// at once what a lease would tell in half a minute. It is an open-file-description lock (fcntl F_OFD_*):
// unlike a POSIX lock it is not lost when another part of the process opens and closes the same file,
// and it holds between two stores in one process. A child that fork() leaves without exec shares it:
// such a session ends with its lease.
//
// Values with one owner; no thread rule beyond that.
#pragma once

#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

class SessionLock {
 public:
  // Creates and locks the file of `session` (a name that is unique in it) beside `database`. kAlreadyExists: somebody has it.
  static StatusOr<SessionLock> Take(const std::string& database, const SessionId& session);

  SessionLock(SessionLock&& other) noexcept;
  SessionLock& operator=(SessionLock&& other) noexcept;
  ~SessionLock();  // lets go and removes the file

  // Lets go in this process only, leaving file and lock to the parent: after fork().
  void Abandon();

 private:
  SessionLock(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::string path_;
  int fd_ = -1;
};

// Whether nobody holds the lock of `session`. A file left behind by a dead process is removed. When it
// cannot be told, the answer is no, and the lease decides.
bool SessionLockIsFree(const std::string& database, const SessionId& session);

// Where a lock can be looked at.
std::string HostName();

}  // namespace marathon::inline MARATHON_ABI::detail
