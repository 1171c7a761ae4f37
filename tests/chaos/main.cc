// Chaos: real processes, real kills. One program, in the roles that its first word says:
//   marathon_chaos --backend sqlite|redis|redis+sqs --seconds N --seed S
//                                                  the supervisor, which starts the others
//   marathon_chaos work FOLDER URL SEED            a worker
//   marathon_chaos drive FOLDER URL SEED           the driver
//   marathon_chaos audit FOLDER URL SEED           the audit once more, of what a run that failed has kept
// needs: testing sqlite redis sqs
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "audit.h"
#include "driver.h"
#include "supervisor.h"
#include "violations.h"
#include "worker.h"

namespace {

template <class Number>
bool Read(std::string_view text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

bool ReadOptions(const std::vector<std::string>& words, marathon::chaos::ChaosOptions* options) {
  for (size_t i = 0; i + 1 < words.size(); i += 2) {
    const std::string& value = words[i + 1];
    if (words[i] == "--backend") {
      options->backend = value;
    } else if (words[i] == "--seconds") {
      if (!Read(value, &options->seconds)) return false;
    } else if (words[i] != "--seed" || !Read(value, &options->seed)) {
      return false;
    }
  }
  return words.size() % 2 == 0 && !options->backend.empty() && options->seconds > 0;
}

int AuditAgain(const std::string& folder, const std::string& url, uint64_t seed) {
  marathon::chaos::Violations violations;
  const auto result = marathon::chaos::Audit(folder, url, seed, violations);
  violations.Print();
  fmt::print("audit: {} workflows; violations: {}\n", result.workflows, violations.Summary());
  return violations.count() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  uint64_t seed = 0;
  if (words.size() == 4 && words[0] == "work" && Read(words[3], &seed)) {
    return marathon::chaos::RunWorker(words[1], words[2], seed);
  }
  if (words.size() == 4 && words[0] == "drive" && Read(words[3], &seed)) {
    return marathon::chaos::RunDriver(words[1], words[2], seed);
  }
  if (words.size() == 4 && words[0] == "audit" && Read(words[3], &seed)) return AuditAgain(words[1], words[2], seed);
  marathon::chaos::ChaosOptions options;
  if (ReadOptions(words, &options)) return marathon::chaos::Supervise(options);
  fmt::print(stderr, "usage: marathon_chaos --backend sqlite|redis|redis+sqs --seconds N --seed S\n");
  return 2;
}
