#include "src/agent/tools/beneath.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#if defined(SYS_openat2) && __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#define MARATHON_HAS_OPENAT2 1
#endif

namespace marathon::inline MARATHON_ABI::agent::internal {
namespace {

// The parts of a path that say something.
std::vector<std::string> PartsOf(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
  }
  return parts;
}

// None: this kernel has no such call, or its sandbox does not let us make it.
std::optional<int> OpenByKernel([[maybe_unused]] int root, [[maybe_unused]] const std::string& path,
                                [[maybe_unused]] int flags) {
#ifdef MARATHON_HAS_OPENAT2
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (int i = 0; i < 16; ++i) {
    const long fd = syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno == ENOSYS || errno == EPERM) break;
    if (errno != EAGAIN) return -1;  // that is somebody who moves folders about
  }
  if (errno == EAGAIN) return -1;
#endif
  return std::nullopt;
}

int OpenByHand(int root, const std::string& path, int flags) {
  const std::vector<std::string> parts = PartsOf(path);
  if (parts.empty()) return openat(root, ".", flags | O_CLOEXEC);
  Fd folder;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const int from = i == 0 ? root : folder.get();
    Fd next(openat(from, parts[i].c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (next.get() < 0) return -1;
    folder = std::move(next);
  }
  const int from = parts.size() == 1 ? root : folder.get();
  return openat(from, parts.back().c_str(), flags | O_NOFOLLOW | O_CLOEXEC);
}

}  // namespace

Fd::~Fd() {
  if (fd_ < 0) return;
  const int kept = errno;
  close(fd_);
  errno = kept;
}

std::string Quoted(const std::string& path) { return "\"" + path + "\""; }

Status ErrnoStatus(const std::string& name, int error) {
  switch (error) {
    case ENOENT: return NotFound(name + " is not there");
    case ENOTDIR: return FailedPrecondition(name + ": a part of it is no folder");
    case EISDIR: return FailedPrecondition(name + " is a folder");
    case EXDEV:
    case ELOOP:
      return InvalidArgument(name + " is refused: it leads out of the root, or through a link");
    case EACCES:
    case EPERM: return FailedPrecondition(name + " may not be opened by this tool");
    case ENAMETOOLONG: return InvalidArgument(name + ": the name is too long");
    default: return Unavailable(name + ": " + std::generic_category().message(error));
  }
}

Status CheckPath(const std::string& path) {
  if (path.empty()) return InvalidArgument("the path is empty");
  if (path.find('\0') != path.npos) return InvalidArgument("the path has a zero byte");
  const std::string name = Quoted(path) + " is refused: ";
  if (path.front() == '/') return InvalidArgument(name + "paths are relative to the root");
  for (const std::string& part : PartsOf(path)) {
    if (part == "..") return InvalidArgument(name + "\"..\" is no part of a path here");
  }
  return {};
}

StatusOr<Fd> OpenBeneath(int root, const std::string& path, int flags, Walk walk) {
  std::optional<int> fd;
  if (walk == Walk::kBest) fd = OpenByKernel(root, path, flags);
  if (!fd) fd = OpenByHand(root, path, flags);
  if (*fd < 0) return ErrnoStatus(Quoted(path), errno);
  return Fd(*fd);
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
