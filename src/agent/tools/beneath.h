// Opens what is below a folder, and never anything else, whoever changes the tree meanwhile.
//
// Functions only; safe from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

// An open file; -1: none.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// By whom each part of a path is looked at.
enum class Walk : uint8_t {
  kBest,    // the kernel, if it can (openat2); links that stay inside are followed
  kByHand,  // us, part by part; no link is followed
};

// For messages: a path in quotes; and what went wrong with what has this name.
std::string Quoted(const std::string& path);
Status ErrnoStatus(const std::string& name, int error);

// kInvalidArgument: `path` cannot be one below a root: it is empty, absolute, has a ".." or a zero byte.
Status CheckPath(const std::string& path);

// Opens `path`, which has been checked, below the folder `root`; `flags` as openat's, without O_CREAT. Errors are those
// of ErrnoStatus; kInvalidArgument: it leads out.
StatusOr<Fd> OpenBeneath(int root, const std::string& path, int flags, Walk walk = Walk::kBest);

}  // namespace marathon::inline MARATHON_ABI::agent::internal
