// What a reader of an agent's stream has shown, in a file, so that one that comes back shows the rest and nothing twice.
#pragma once

#include <fmt/format.h>
#include <marathon/agent/stream.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

// A line for each event: its number, and the event.
class Screen {
 public:
  explicit Screen(const std::string& path) {
    std::uintmax_t whole = 0;
    std::ifstream before(path);
    for (std::string line; std::getline(before, line) && !before.eof();) {  // without the end of a line that was cut off
      whole += line.size() + 1;
      Take(line);
    }
    if (std::filesystem::exists(path)) std::filesystem::resize_file(path, whole);
    file_.open(path, std::ios::app);
  }

  void Show(const marathon::agent::StreamEvent& event) {
    using Kind = marathon::agent::StreamEvent::Kind;
    const std::string line = fmt::format("{} {}", event.seq, marathon::agent::EncodeEvent(event));
    file_ << line + "\n" << std::flush;
    Take(line);
    if (event.kind == Kind::kStepBegin) fmt::print("editor: ");
    if (event.kind == Kind::kText) fmt::print("{}", event.text);
    if (event.kind == Kind::kStepDone) fmt::print("\n");
    if (event.kind == Kind::kApproval) fmt::print("[{} waits for a person]\n", event.tool);
    std::fflush(stdout);
  }

  uint64_t last() const { return last_; }
  std::string text() const { return view_.Text(); }

 private:
  void Take(const std::string& line) {
    const size_t space = line.find(' ');
    last_ = std::stoull(line);
    view_.Apply(marathon::agent::DecodeEvent(line.substr(space + 1)).value());
  }

  marathon::agent::StreamView view_;
  uint64_t last_ = 0;
  std::ofstream file_;
};
