// Workers and a client as processes of their own: Redis keeps the runs, SQS hands out the work.
//
//   client ── Start ──► Redis ◄── claims, commits ── worker, worker, …
//                         └── hints ──► SQS ── hints ──┘
//
//   fleet worker URL               works until SIGTERM
//   fleet client URL NAME TEXT…    has each TEXT translated, and says by whom; NAME tells batches apart
// examples/fleet.sh starts all of it on this machine, and kills a worker half-way.
#include <marathon/adapters/redis.h>
#include <marathon/adapters/sqs.h>
#include <marathon/marathon.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <iostream>
#include <mutex>

using namespace std::chrono_literals;

struct Task {
  std::string text, language;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Task, text, language)

inline constexpr marathon::ActivityDef<std::string(Task)> kTranslate{"Translate"};
inline constexpr marathon::WorkflowDef<std::string(std::string)> kPublish{"Publish"};

marathon::Workflow<std::string> Publish(marathon::WorkflowContext& ctx, std::string text) {
  std::vector<marathon::ActivityHandle<std::string>> versions;
  for (const char* language : {"French", "Greek", "Welsh"}) {
    const Task task{text, language};
    versions.push_back(ctx.Start(kTranslate, task, {.start_to_close_timeout = 10s}));
  }
  std::string page = text + ":";
  for (const std::string& version : co_await ctx.All(versions)) page += "\n  " + version;
  co_return page;
}

// Stands for a model that thinks for 150 ms.
std::string Translate(marathon::ActivityContext& ctx, const Task& task) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  if (stopped.wait_for(lock, ctx.stop_token(), 150ms, [&] { return ctx.stop_token().stop_requested(); })) {
    throw marathon::ApplicationError("stopped");
  }
  return task.language + " by worker " + std::to_string(getpid());
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int Work(const std::string& url, marathon::Registry& registry) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, nullptr);  // before there are threads
  registry.Bind(kPublish, Publish);
  registry.Bind(kTranslate, Translate);
  // What a worker that dies had begun, others have after a lease; thirty seconds unless it is said.
  auto engine = marathon::Engine::Open(url, registry, {.activity_threads = 4, .lease = 3s});
  if (!engine.ok()) return Complain(engine.status());
  std::cout << "worker " << getpid() << " is ready" << std::endl;
  int signal = 0;
  sigwait(&end, &signal);
  engine->Shutdown().IgnoreError();  // what it was doing, others have at once
  return 0;
}

// With no workflow and no activity in its registry it takes no work; it may start, signal and await any run.
int Ask(const std::string& url, marathon::Registry& registry, const std::string& name,
        const std::vector<std::string>& texts) {
  auto engine = marathon::Engine::Open(url, registry);
  if (!engine.ok()) return Complain(engine.status());
  std::vector<marathon::Run> runs;
  for (const std::string& text : texts) {
    // A client that is started again with the same name finds what it had asked for.
    const std::string id = name + "/" + std::to_string(runs.size());
    auto run = engine->Start(kPublish, text, {.workflow_id = id, .request_id = id});
    if (!run.ok()) return Complain(run.status());
    runs.push_back(*run);
  }
  for (const marathon::Run& run : runs) {
    const auto page = run.Result<std::string>(60s);
    if (!page.ok()) return Complain(page.status());
    std::cout << *page << std::endl;
  }
  return 0;
}

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  marathon::Registry registry;
  registry.Use(marathon::RedisBackend());
  registry.Use(marathon::SqsBackend());
  if (words.size() == 2 && words[0] == "worker") return Work(words[1], registry);
  if (words.size() > 3 && words[0] == "client") {
    return Ask(words[1], registry, words[2], {words.begin() + 3, words.end()});
  }
  std::cerr << "usage: fleet worker URL | fleet client URL NAME TEXT…\n";
  return 2;
}
