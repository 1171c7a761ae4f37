// What the activities of the main job (research.cc) have done, in a file that the engine knows nothing of.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <marathon/marathon.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>

// Each line is on disk before the work goes on: time, begin or end, step, attempt, process, what.
class Ledger {
 public:
  explicit Ledger(const char* path) : file_(open(path, O_WRONLY | O_CREAT | O_APPEND, 0644)) {}
  bool ok() const { return file_ >= 0; }

  template <class Work>
  auto Around(const marathon::ActivityContext& ctx, std::string_view what, Work&& work) const {
    Note("begin", ctx, what);
    auto result = work();
    Note("end", ctx, what);
    return result;
  }

 private:
  void Note(std::string_view when, const marathon::ActivityContext& ctx,
            std::string_view what) const {
    const auto now = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
    const std::string line =
        fmt::format("{} {} {} {} {} {} {}\n", now.time_since_epoch().count(), when,
                    ctx.idempotency_key(), ctx.attempt(), getpid(), ctx.info().activity_type, what);
    if (write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
        fsync(file_) != 0) {
      throw std::runtime_error("the ledger cannot be written");
    }
  }

  int file_;
};
