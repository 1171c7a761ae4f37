// Measures the engine beside a bare loop. tests/bench/run.sh builds and calls it, and says how.
//
// Each measurement runs in a process of its own, in rounds that alternate with its floor; what is reported
// is the median round. Times on a shared machine move, the two of one round move together.
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "bench.h"
#include "place.h"

namespace bench {

using Clock = std::chrono::steady_clock;

void Die(const std::string& message) {
  std::fprintf(stderr, "bench: %s\n", message.c_str());
  std::_Exit(1);
}

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double MicrosSince(Clock::time_point begin) { return SecondsSince(begin) * 1e6; }

double Percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto rank = static_cast<size_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(rank), values.end());
  return values[rank];
}

double RssMb() {
  std::ifstream statm("/proc/self/statm");
  double pages = 0;
  statm >> pages >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

double CpuSeconds() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double HeapBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

marathon::History CheckHistory(const marathon::Run& run, const Workload& workload) {
  marathon::History history = Must(run.History());
  std::map<marathon::EventType, int> found;
  for (const marathon::Event& event : history) ++found[marathon::TypeOf(event.body)];
  found.erase(marathon::EventType::kTurnStarted);
  const std::map<marathon::EventType, int> wanted(workload.events.begin(), workload.events.end());
  if (found != wanted || history.front().id != 1 ||
      history.back().id != static_cast<marathon::EventId>(history.size())) {
    Die(workload.name + ": a history that was read back is not as it should be");
  }
  return history;
}

namespace {

double Rounded(double value) {
  if (value == 0) return 0;
  const double scale = std::pow(10, 4 - std::ceil(std::log10(std::fabs(value))));
  return scale >= 1 ? std::round(value * scale) / scale : std::round(value);
}

void Report(const Settings& settings, const Figures& f) {
  std::string more;
  for (const auto& [key, value] : f.more) {
    char text[64];
    std::snprintf(text, sizeof(text), "  %s %.4g", key.c_str(), value);
    more += text;
  }
  std::fprintf(stderr, "%-13s %-9s %-7s %4d %5d %5d %10.0f %10.0f %9.1f %9.1f %7.1f %7.1f %10.0f %6.3f%s\n",
               f.workload.c_str(), f.backend.c_str(), f.sync.c_str(), f.threads, f.in_flight,
               f.payload_bytes, f.workflows_per_s, f.steps_per_s, f.p50_us, f.p99_us, f.cpu_us, f.rss_mb,
               f.floor_per_s, f.floor_ratio, more.c_str());
  if (settings.json.empty()) return;
  nlohmann::ordered_json line{{"workload", f.workload},
                              {"backend", f.backend},
                              {"sync", f.sync},
                              {"threads", f.threads},
                              {"in_flight", f.in_flight},
                              {"payload_bytes", f.payload_bytes},
                              {"options", f.options},
                              {"count", f.count},
                              {"workflows_per_s", Rounded(f.workflows_per_s)},
                              {"steps_per_s", Rounded(f.steps_per_s)},
                              {"p50_us", Rounded(f.p50_us)},
                              {"p99_us", Rounded(f.p99_us)},
                              {"rss_mb", Rounded(f.rss_mb)},
                              {"floor_per_s", Rounded(f.floor_per_s)},
                              {"floor_ratio", Rounded(f.floor_ratio)}};
  for (const auto& [key, value] : f.more) line[key] = Rounded(value);
  std::ofstream(settings.json, std::ios::app) << line.dump() << "\n";
}

// Runs one measurement in a process of its own. False: it failed.
bool Measure(const Settings& settings, const std::string& backend, const std::string& sync,
             const Workload& workload, const std::function<Figures(Place&)>& measure) {
  if (!settings.workload.empty() && settings.workload != workload.name) return true;
  if (!settings.backend.empty() && settings.backend != backend) return true;
  if (settings.payload >= 0 && settings.payload != workload.payload_bytes) return true;
  const pid_t child = fork();
  if (child < 0) Die("fork failed");
  if (child == 0) {
    {
      Place place(settings.folder, backend, sync);
      Figures figures = measure(place);
      figures.workload = workload.name;
      figures.backend = backend;
      figures.sync = sync;
      figures.payload_bytes = workload.payload_bytes;
      figures.steps_per_s = figures.workflows_per_s * workload.steps;
      figures.floor_ratio = figures.workflows_per_s / figures.floor_per_s;
      Report(settings, figures);
    }
    std::_Exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) std::fprintf(stderr, "%s: killed by signal %d\n", workload.name.c_str(), WTERMSIG(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool MeasureAll(const Settings& settings) {
  std::fprintf(stderr, "%-13s %-9s %-7s %4s %5s %5s %10s %10s %9s %9s %7s %7s %10s %6s\n", "workload",
               "backend", "sync", "thr", "fly", "bytes", "runs/s", "steps/s", "p50 us", "p99 us",
               "cpu us", "rss MB", "floor/s", "ratio");
  bool ok = true;
  const std::vector<int> flights =
      settings.in_flight > 0 ? std::vector<int>{settings.in_flight} : std::vector<int>{1, 128};
  for (const auto& [backend, sync] : std::vector<std::pair<std::string, std::string>>{
           {"memory", "none"}, {"sqlite", "full"}, {"sqlite", "normal"}, {"redis", "everysec"},
           {"redis", "always"}, {"redis+sqs", "everysec"}}) {
    // What the other settings do not show.
    const bool only_one = sync == "normal" || sync == "always" || backend == "redis+sqs";
    for (const Workload& workload : Workloads()) {
      const bool timers = backend == "redis+sqs" && workload.has_timers;
      if (only_one && workload.name != "one-activity" && !timers) continue;
      for (const int in_flight : flights) {
        ok &= Measure(settings, backend, sync, workload, [&](Place& place) {
          return MeasureLoop(settings, place, workload, in_flight);
        });
      }
    }
    if (only_one) continue;
    const Workload replay = ReplayWorkload();
    ok &= Measure(settings, backend, sync, replay, [&](Place& place) {
      return MeasureReplay(settings, place, replay);
    });
    Workload parked;
    parked.name = "parked";
    for (const size_t cache_runs : {size_t{0}, size_t{200'000}}) {
      ok &= Measure(settings, backend, sync, parked, [&](Place& place) {
        return MeasureParked(settings, place, cache_runs);
      });
    }
    ok &= Measure(settings, backend, sync, AgentWorkload("agent-stream"),
                  [&](Place& place) { return MeasureAgentStream(settings, place); });
    ok &= Measure(settings, backend, sync, AgentWorkload("agent-history"),
                  [&](Place& place) { return MeasureAgentHistory(settings, place); });
  }
  return ok;
}

Settings Parse(int argc, char** argv) {
  Settings settings;
  const std::map<std::string, std::function<void(const std::string&)>> options{
      {"--json", [&](const std::string& v) { settings.json = v; }},
      {"--workload", [&](const std::string& v) { settings.workload = v; }},
      {"--backend", [&](const std::string& v) { settings.backend = v; }},
      {"--folder", [&](const std::string& v) { settings.folder = v; }},
      {"--seconds", [&](const std::string& v) { settings.seconds = std::stod(v); }},
      {"--rounds", [&](const std::string& v) { settings.rounds = std::stoi(v); }},
      {"--threads", [&](const std::string& v) { settings.threads = std::stoi(v); }},
      {"--payload", [&](const std::string& v) { settings.payload = std::stoi(v); }},
      {"--in-flight", [&](const std::string& v) { settings.in_flight = std::stoi(v); }}};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--quick") {
      settings.seconds = 0.5;
      settings.rounds = 3;
      continue;
    }
    const auto option = options.find(name);
    if (option == options.end() || ++i == argc) {
      Die("unknown or incomplete option " + name + "; tests/bench/run.sh says what there is");
    }
    option->second(argv[i]);
  }
  return settings;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bench::Settings settings = bench::Parse(argc, argv);
  if (!settings.json.empty()) std::ofstream(settings.json, std::ios::trunc);
  std::filesystem::create_directories(settings.folder);
  return bench::MeasureAll(settings) ? 0 : 1;
}
