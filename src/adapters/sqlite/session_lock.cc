#include "session_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

std::string LockPath(const std::string& database, const SessionId& session) {
  std::string name;  // a session id is a UUID; whatever it is, it stays in this folder
  for (const char c : session) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_';
    name += plain ? std::string(1, c) : fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return fmt::format("{}-session-{}", database, name);
}

bool LockFile(int fd) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

// Whether `path` still names the open file: it may have been removed before it was locked.
bool IsStillThere(const std::string& path, int fd) {
  struct stat by_fd = {};
  struct stat by_path = {};
  return fstat(fd, &by_fd) == 0 && stat(path.c_str(), &by_path) == 0 &&
         by_fd.st_ino == by_path.st_ino && by_fd.st_dev == by_path.st_dev;
}

}  // namespace

StatusOr<SessionLock> SessionLock::Take(const std::string& database, const SessionId& session) {
  const std::string path = LockPath(database, session);
  for (;;) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
      return Unavailable(
          fmt::format("cannot create the session's lock file {}: {}", path, std::strerror(errno)));
    }
    if (!LockFile(fd)) {
      const int error = errno;
      close(fd);
      if (error == EAGAIN || error == EACCES) {
        return AlreadyExists(fmt::format("another process holds the lock of session {}", session));
      }
      return Unavailable(fmt::format("cannot lock {}: {}", path, std::strerror(error)));
    }
    if (IsStillThere(path, fd)) return SessionLock(path, fd);
    close(fd);  // somebody took it for a stale file and removed it: again
  }
}

SessionLock::SessionLock(SessionLock&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

SessionLock& SessionLock::operator=(SessionLock&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

SessionLock::~SessionLock() {
  if (fd_ < 0) return;
  unlink(path_.c_str());  // first: once it is unlocked, the name may be somebody else's
  close(fd_);
}

void SessionLock::Abandon() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

bool SessionLockIsFree(const std::string& database, const SessionId& session) {
  const std::string path = LockPath(database, session);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno == ENOENT;  // removed by its owner, or by whoever found it free
  const bool free = LockFile(fd);
  if (free && IsStillThere(path, fd)) unlink(path.c_str());
  close(fd);
  return free;
}

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) != 0) return "localhost";
  return name;
}

}  // namespace marathon::inline MARATHON_ABI::detail
