#include "shared.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <new>

namespace marathon::chaos {

using testing::SeededRandom;
using testing::SimStep;
using testing::SimWork;

Shared* Shared::Map(const std::string& folder) {
  const std::string path = folder + "/shared";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) {
    std::perror(path.c_str());
    return nullptr;
  }
  // A new file is all zeros, which is what Shared begins with.
  void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    return nullptr;
  }
  return std::launder(static_cast<Shared*>(memory));
}

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// ---- Ledger

Ledger::Ledger(const std::string& path)
    : file_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
  if (file_ >= 0) return;
  std::perror(path.c_str());
  std::abort();
}

Ledger::~Ledger() { close(file_); }

void Ledger::Jot(std::string_view line) {
  const std::string text = fmt::format("{} {}\n", NowMicros(), line);
  if (write(file_, text.data(), text.size()) == static_cast<ssize_t>(text.size())) return;
  std::perror("the ledger cannot be written");
  std::abort();
}

void Ledger::Note(std::string_view line) {
  Jot(line);
  if (fdatasync(file_) == 0) return;
  std::perror("the ledger cannot be synced");
  std::abort();
}

void Ledger::ForEachLine(
    const std::string& path,
    const std::function<void(int64_t micros, std::istringstream& rest)>& what) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    int64_t micros = 0;
    words >> micros;
    what(micros, words);
  }
}

// ---- The workload

namespace {

// The simulator's programs live in virtual time; here each second is a real one.
constexpr uint32_t kQuicker = 6;

void MakeQuicker(SimStep& step, SeededRandom& random) {
  const bool waits_for_cancel = step.work.busy_ms > 60'000;
  step.millis = std::max<uint32_t>(step.millis / kQuicker, 1);
  step.work.busy_ms = waits_for_cancel ? 60'000 : step.work.busy_ms / kQuicker;
  // Rounds of a millisecond would fill the history of a run whose user has died.
  if (step.kind == SimStep::Kind::kPatient) step.millis = std::max<uint32_t>(step.millis, 100);
  const bool overruns = step.work.mode == SimWork::Mode::kOverruns;
  // Six seconds are longer than many a worker lives here: too many of these would be dead letters.
  if (overruns && random.Below(10) != 0) step.work.mode = SimWork::Mode::kSucceeds;
}

// All workflows share the few places of two keys: nobody must wait for them for minutes.
void MakeRoom(SimStep& step, SeededRandom& random) {
  const bool rare = random.Below(4) == 0;
  if (step.kind == SimStep::Kind::kCancel && !rare) step.count = 2;  // no key
  if (step.kind != SimStep::Kind::kKeyed) return;
  if (!rare) step.kind = SimStep::Kind::kFan;
  if (step.work.mode == SimWork::Mode::kOverruns) step.work.mode = SimWork::Mode::kSucceeds;
  step.work.busy_ms = std::min<uint32_t>(step.work.busy_ms, 50);
}

}  // namespace

Job Job::Draw(uint64_t seed, int64_t number) {
  SeededRandom random = SeededRandom(seed).Fork(fmt::format("job {}", number));
  Job job;
  job.id = fmt::format("job-{}", number);
  job.program = testing::SimProgram::Draw(random);
  std::erase_if(job.program.steps, [](const SimStep& step) {  // here are no activities but two
    using enum SimStep::Kind;
    return step.kind == kLater || step.kind == kSpeak || step.kind == kBlobs || step.kind == kTake;
  });
  // Many short ones meet more faults than few long ones. (What is tried again stands in front, and who throws in the end.)
  constexpr ptrdiff_t kSteps = 4;
  while (std::ssize(job.program.steps) > kSteps) job.program.steps.erase(job.program.steps.begin() + 1);
  for (SimStep& step : job.program.steps) {
    MakeQuicker(step, random);
    MakeRoom(step, random);
    if (step.kind == SimStep::Kind::kChild && random.Below(3) == 0) step.kind = SimStep::Kind::kFailingChild;
  }
  job.signals = job.program.Receives();
  if (random.Below(3) == 0) job.signals += random.Between(1, 3);
  if (random.Below(4) == 0) job.other_signals = random.Between(1, 4);
  job.signal_with_start = job.signals > 0 && random.Below(3) == 0;
  job.terminate = random.Below(12) == 0;
  job.cancel = !job.terminate && random.Below(12) == 0;
  job.rest = random.Below(6) == 0;
  // Of one that is not tried again: which of its attempts would return is not known then.
  if (random.Below(15) == 0 && job.program.Attempts() == 1) job.run_timeout = Duration(random.Between(500, 15'000));
  return job;
}

int64_t Job::NumberOf(std::string_view workflow_id) {
  constexpr std::string_view kPrefix = "job-";
  if (!workflow_id.starts_with(kPrefix)) return 0;
  int64_t number = 0;
  std::from_chars(workflow_id.data() + kPrefix.size(), workflow_id.data() + workflow_id.size(), number);
  return number;
}

}  // namespace marathon::chaos
