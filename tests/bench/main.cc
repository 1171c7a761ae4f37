// Measures the engine beside a bare loop. tests/bench/run.sh builds and calls it, and says how.
//
// Each measurement runs in a process of its own, in rounds that alternate with its floor; what is reported
// is the median round. Times on a shared machine move, the two of one round move together.
#include <fcntl.h>
#include <marathon/adapters/sqlite.h>
#include <marathon/event_codec.h>
#include <marathon/runtime/thread_runtime.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench.h"

namespace bench {

void Die(const std::string& message) {
  std::fprintf(stderr, "bench: %s\n", message.c_str());
  std::_Exit(1);
}

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Settings {
  std::string json;
  std::string workload;  // empty: all
  std::string backend;   // empty: all
  std::string folder = ".";
  double seconds = 3;    // a round
  int rounds = 5;
  int threads = 0;       // 0: chosen
  int in_flight = 0;     // 0: 1 and 128
  int payload = -1;      // -1: all
};

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

// Allocated and not freed, with what malloc adds to it.
double HeapBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

template <class T>
T Must(marathon::StatusOr<T> value) {
  if (!value.ok()) Die(std::string(value.status().message()));
  return *std::move(value);
}

// ---- Where the runs are kept -----------------------------------------------------------------------

class Place {
 public:
  Place(const Settings& settings, std::string backend, std::string sync)
      : backend_(std::move(backend)), sync_(std::move(sync)) {
    file_ = settings.folder + "/" + std::to_string(getpid()) + ".db";
    RemoveFiles();
  }
  ~Place() { RemoveFiles(); }

  const std::string& backend() const { return backend_; }
  const std::string& sync() const { return sync_; }
  bool memory() const { return backend_ == "memory"; }
  const std::string& file() const { return file_; }
  std::string url() const {
    return memory() ? "memory:" : "sqlite:" + file_ + "?synchronous=" + sync_;
  }
  void RemoveFiles() const {
    for (const char* end : {"", "-wal", "-shm", "-lock", "-locks"}) {
      std::filesystem::remove_all(file_ + end);
    }
  }

  // Ports that outlive an engine.
  marathon::Ports Open(marathon::Runtime& runtime) const {
    const marathon::Backend backend =
        memory() ? marathon::MemoryBackend() : marathon::SqliteBackend();
    return Must(backend.open(Must(marathon::ParseBackendUrl(url())), runtime));
  }

 private:
  std::string backend_;
  std::string sync_;
  std::string file_;
};

marathon::Registry TheRegistry() {
  marathon::Registry registry;
  BindAll(registry);
  registry.Use(marathon::SqliteBackend());
  return registry;
}

// ---- Checking what was kept ------------------------------------------------------------------------

void CheckHistory(const marathon::Run& run, const Workload& workload) {
  const marathon::History history = Must(run.History());
  std::map<marathon::EventType, int> found;
  for (const marathon::Event& event : history) ++found[marathon::TypeOf(event.body)];
  found.erase(marathon::EventType::kTurnStarted);
  const std::map<marathon::EventType, int> wanted(workload.events.begin(), workload.events.end());
  if (found != wanted || history.front().id != 1 ||
      history.back().id != static_cast<marathon::EventId>(history.size())) {
    Die(workload.name + ": a history that was read back is not as it should be");
  }
}

// ---- Closed loops ----------------------------------------------------------------------------------

struct Round {
  double per_second = 0;
  double cpu_us = 0;  // of the whole process, a run
  double floor = 0;
  int64_t count = 0;
  std::vector<double> latencies;
};

// Keeps `window` runs in flight from one thread.
class Client {
 public:
  Client(marathon::Engine& engine, const Workload& workload, std::atomic<int64_t>& next)
      : engine_(engine), workload_(workload), next_(next) {}

  void Loop(int window, int64_t max, Clock::time_point until) {
    while (true) {
      const bool more = Clock::now() < until && next_.load(std::memory_order_relaxed) < max;
      while (more && flying_.size() < static_cast<size_t>(window)) Start();
      if (flying_.empty()) return;
      Finish();
    }
  }

  std::vector<double> latencies;
  std::vector<marathon::Run> samples;  // one of a hundred

 private:
  struct Flight {
    Clock::time_point begin;
    int64_t index;
    marathon::Run run;
  };

  void Start() {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    const auto begin = Clock::now();
    flying_.push_back({begin, index, Must(workload_.start(engine_, index))});
  }
  void Finish() {
    Flight& oldest = flying_.front();
    const std::string problem = workload_.finish(oldest.run, oldest.index);
    latencies.push_back(MicrosSince(oldest.begin));
    if (!problem.empty()) Die(workload_.name + ": " + problem);
    if (latencies.size() % 100 == 1) samples.push_back(std::move(oldest.run));
    flying_.pop_front();
  }

  marathon::Engine& engine_;
  const Workload& workload_;
  std::atomic<int64_t>& next_;
  std::deque<Flight> flying_;
};

Round RunLoop(marathon::Engine& engine, const Workload& workload, int threads, int in_flight,
              int64_t max, double seconds) {
  std::atomic<int64_t> next{0};
  std::deque<Client> clients;
  for (int i = 0; i < threads; ++i) clients.emplace_back(engine, workload, next);
  const double cpu_before = CpuSeconds();
  const auto begin = Clock::now();
  const auto until = begin + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(seconds));
  {
    std::vector<std::jthread> running;
    for (Client& client : clients) {
      running.emplace_back([&] { client.Loop(in_flight / threads, max, until); });
    }
  }
  Round round;
  const double elapsed = SecondsSince(begin);
  const double cpu = CpuSeconds() - cpu_before;
  for (Client& client : clients) {
    round.latencies.insert(round.latencies.end(), client.latencies.begin(), client.latencies.end());
  }
  round.count = static_cast<int64_t>(round.latencies.size());
  round.per_second = static_cast<double>(round.count) / elapsed;
  round.cpu_us = cpu * 1e6 / static_cast<double>(round.count);
  for (const Client& client : clients) {
    for (const marathon::Run& run : client.samples) CheckHistory(run, workload);
  }
  return round;
}

// The memory store keeps so many bytes of closed runs: more runs than that are not started.
int64_t MostRuns(const marathon::History& sample) {
  constexpr size_t kBytes = 160u << 20;
  constexpr size_t kRun = 800;
  size_t bytes = kRun;
  for (const auto& turn : TurnsOf(sample)) bytes += marathon::EncodeRecord(1, turn).size();
  return static_cast<int64_t>(kBytes / bytes);
}

Figures MeasureLoop(const Settings& settings, const Place& place, const Workload& workload,
                    int in_flight) {
  // A client of a durable store waits for the disk in Start, so it takes many to fill a group commit.
  const int chosen = std::min(in_flight, place.memory() ? 2 : 128);
  const int threads = settings.threads > 0 ? settings.threads : chosen;
  marathon::History sample;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(place.url(), TheRegistry()));
    marathon::Run run = Must(workload.start(engine, 0));
    if (const std::string problem = workload.finish(run, 0); !problem.empty()) Die(problem);
    sample = Must(run.History());
  }
  const int64_t max = place.memory() ? MostRuns(sample) : INT64_MAX;
  std::vector<Round> rounds;
  double rss = 0;
  for (int i = 0; i < settings.rounds; ++i) {
    place.RemoveFiles();
    const double floor = place.memory()
                             ? MemoryFloor(sample, workload.convert, settings.seconds / 4)
                             : SqliteFloor(place.file(), place.sync() == "full", in_flight, sample,
                                           workload.convert, settings.seconds / 2);
    place.RemoveFiles();
    marathon::Engine engine = Must(marathon::Engine::Open(place.url(), TheRegistry()));
    RunLoop(engine, workload, threads, in_flight, max, settings.seconds / 10);  // warms up
    rounds.push_back(RunLoop(engine, workload, threads, in_flight, max, settings.seconds));
    rounds.back().floor = floor;
    rss = std::max(rss, RssMb());
  }
  const auto median = rounds.begin() + static_cast<ptrdiff_t>(rounds.size() / 2);
  std::nth_element(rounds.begin(), median, rounds.end(), [](const Round& a, const Round& b) {
    return a.per_second / a.floor < b.per_second / b.floor;
  });
  Figures figures;
  figures.threads = threads;
  figures.in_flight = in_flight;
  figures.count = median->count;
  figures.workflows_per_s = median->per_second;
  figures.cpu_us = median->cpu_us;
  figures.p50_us = Percentile(median->latencies, 0.5);
  figures.p99_us = Percentile(median->latencies, 0.99);
  figures.rss_mb = rss;
  figures.floor_per_s = median->floor;
  return figures;
}

// ---- Replay ----------------------------------------------------------------------------------------

// A second engine over the same store knows the runs from their histories only: each gets the signal that
// it waits for, and is replayed from its first event.
Figures MeasureReplay(const Settings& settings, const Place& place, const Workload& workload) {
  const int runs = std::max(3, static_cast<int>(settings.seconds * 10));
  marathon::ThreadRuntime runtime(0, 1);
  marathon::Ports ports = place.Open(runtime);
  std::vector<marathon::RunKey> keys;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(ports, TheRegistry()));
    std::vector<marathon::Run> waiting;
    for (int i = 0; i < runs; ++i) waiting.push_back(Must(workload.start(engine, i)));
    for (const marathon::Run& run : waiting) {
      while (Must(run.Describe()).run.version < 3 * kReplaySteps + 2) {
        std::this_thread::sleep_for(5ms);
      }
      keys.push_back(run.key());
    }
  }
  Figures figures;
  double rss = 0;
  double total_us = 0;
  std::vector<double> latencies;
  marathon::History sample;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(ports, TheRegistry()));
    for (int i = 0; i < runs; ++i) {
      const marathon::Run run = engine.Find(keys[static_cast<size_t>(i)].workflow_id);
      const auto begin = Clock::now();
      if (const std::string problem = workload.finish(run, i); !problem.empty()) Die(problem);
      latencies.push_back(MicrosSince(begin));
      total_us += latencies.back();
    }
    CheckHistory(engine.Find(keys[0].workflow_id), workload);
    sample = Must(engine.Find(keys[0].workflow_id).History());
    rss = RssMb();
  }
  ports = {};
  runtime.Stop();
  figures.count = runs;
  figures.workflows_per_s = runs / (total_us / 1e6);
  figures.p50_us = Percentile(latencies, 0.5);
  figures.p99_us = Percentile(latencies, 0.99);
  figures.rss_mb = rss;
  figures.floor_per_s = DecodeFloor(sample, settings.seconds / 2);
  figures.more = {{"events_per_s", figures.workflows_per_s * static_cast<double>(sample.size())}};
  return figures;
}

Workload ReplayWorkload() {
  Workload workload;
  workload.name = "replay-10k";
  workload.steps = kReplaySteps;
  workload.payload_bytes = 4;
  workload.start = [](marathon::Engine& engine, int64_t index) {
    return engine.Start(kReplayWorkflow, index);
  };
  workload.finish = [](const marathon::Run& run, int64_t index) -> std::string {
    if (const auto status = run.Signal(kGoSignal, int64_t{1}); !status.ok()) {
      return std::string(status.message());
    }
    const auto result = run.Result<int64_t>();
    if (!result.ok()) return std::string(result.status().message());
    return *result == index + kReplaySteps + 1 ? "" : "the result is wrong";
  };
  workload.events = {{marathon::EventType::kWorkflowStarted, 1},
                     {marathon::EventType::kActivityScheduled, kReplaySteps},
                     {marathon::EventType::kActivityCompleted, kReplaySteps},
                     {marathon::EventType::kSignalReceived, 1},
                     {marathon::EventType::kWorkflowCompleted, 1}};
  return workload;
}

// ---- Sleepers --------------------------------------------------------------------------------------

double IdlePollMicros(marathon::StateStore& store, marathon::Runtime& runtime) {
  std::vector<double> times;
  for (int i = 0; i < 501; ++i) {
    auto done = runtime.NewOneShot();
    const auto begin = Clock::now();
    store.PollDue({}, [done](marathon::StatusOr<marathon::DueReply> reply) {
      if (!reply.ok()) Die(std::string(reply.status().message()));
      done->Set();
    });
    done->Wait(marathon::OneShot::kForever);
    times.push_back(MicrosSince(begin));
  }
  return Percentile(times, 0.5);
}

// Starts sleepers from many threads, and gives the time of each Start.
std::vector<double> StartSleepers(marathon::Engine& engine, int count, int threads) {
  std::vector<double> latencies(static_cast<size_t>(count));
  std::atomic<int> next{0};
  std::vector<std::jthread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&] {
      for (int i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
        const auto begin = Clock::now();
        const marathon::Run run = Must(engine.Start(kParkedWorkflow));
        latencies[static_cast<size_t>(i)] = MicrosSince(begin);
        if (i % 100 == 0 && Must(run.History()).size() != 3) Die("a sleeper does not sleep");
      }
    });
  }
  running.clear();
  return latencies;
}

Figures MeasureParked(const Settings& settings, const Place& place, size_t cache_runs) {
  constexpr int kFew = 100;
  constexpr int kMany = 100'000;
  const int threads = settings.threads > 0 ? settings.threads : place.memory() ? 2 : 64;
  marathon::ThreadRuntime runtime(0, 1);
  marathon::Ports ports = place.Open(runtime);
  marathon::EngineOptions options;
  options.cache_runs = cache_runs;
  std::vector<double> latencies;
  Figures figures;
  marathon::History sample;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(ports, TheRegistry(), options));
    StartSleepers(engine, kFew, threads);
    const double few_us = IdlePollMicros(*ports.store, runtime);
    malloc_trim(0);
    const double heap = HeapBytes();
    const auto begin = Clock::now();
    latencies = StartSleepers(engine, kMany - kFew, threads);
    figures.workflows_per_s = (kMany - kFew) / SecondsSince(begin);
    malloc_trim(0);
    const double bytes = (HeapBytes() - heap - 8.0 * kMany) / (kMany - kFew);
    const double many_us = IdlePollMicros(*ports.store, runtime);
    sample = Must(Must(engine.Start(kParkedWorkflow)).History());
    figures.more = {{"bytes_per_run", bytes}, {"idle_poll_us", many_us},
                    {"idle_poll_us_100", few_us}};
    figures.rss_mb = RssMb();
  }
  ports = {};
  runtime.Stop();
  figures.options = "cache_runs=" + std::to_string(cache_runs);
  figures.threads = figures.in_flight = threads;
  figures.count = kMany;
  figures.p50_us = Percentile(latencies, 0.5);
  figures.p99_us = Percentile(latencies, 0.99);
  place.RemoveFiles();
  const auto nothing = [](const marathon::Payload&) {};
  figures.floor_per_s = place.memory() ? MemoryFloor(sample, nothing, settings.seconds / 4)
                                       : SqliteFloor(place.file(), place.sync() == "full", threads,
                                                     sample, nothing, settings.seconds / 2);
  return figures;
}

// ---- Reports ---------------------------------------------------------------------------------------

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
  std::fprintf(stderr, "%-13s %-7s %-7s %4d %5d %5d %10.0f %10.0f %9.1f %9.1f %7.1f %7.1f %10.0f %6.3f%s\n",
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
             const Workload& workload, const std::function<Figures(const Place&)>& measure) {
  if (!settings.workload.empty() && settings.workload != workload.name) return true;
  if (!settings.backend.empty() && settings.backend != backend) return true;
  if (settings.payload >= 0 && settings.payload != workload.payload_bytes) return true;
  const pid_t child = fork();
  if (child < 0) Die("fork failed");
  if (child == 0) {
    {
      const Place place(settings, backend, sync);
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
  std::fprintf(stderr, "%-13s %-7s %-7s %4s %5s %5s %10s %10s %9s %9s %7s %7s %10s %6s\n", "workload",
               "backend", "sync", "thr", "fly", "bytes", "runs/s", "steps/s", "p50 us", "p99 us",
               "cpu us", "rss MB", "floor/s", "ratio");
  bool ok = true;
  const std::vector<int> flights =
      settings.in_flight > 0 ? std::vector<int>{settings.in_flight} : std::vector<int>{1, 128};
  for (const auto& [backend, sync] : std::vector<std::pair<std::string, std::string>>{
           {"memory", "none"}, {"sqlite", "full"}, {"sqlite", "normal"}}) {
    for (const Workload& workload : Workloads()) {
      if (sync == "normal" && workload.name != "one-activity") continue;
      for (const int in_flight : flights) {
        ok &= Measure(settings, backend, sync, workload, [&](const Place& place) {
          return MeasureLoop(settings, place, workload, in_flight);
        });
      }
    }
    if (sync == "normal") continue;
    const Workload replay = ReplayWorkload();
    ok &= Measure(settings, backend, sync, replay, [&](const Place& place) {
      return MeasureReplay(settings, place, replay);
    });
    Workload parked;
    parked.name = "parked";
    for (const size_t cache_runs : {size_t{0}, size_t{200'000}}) {
      ok &= Measure(settings, backend, sync, parked, [&](const Place& place) {
        return MeasureParked(settings, place, cache_runs);
      });
    }
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
