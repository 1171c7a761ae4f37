// One course of the clerk's life: a worker process that is killed once, at a given point, and started again, with all
// that stays alive around it: the model's server, a client that starts the run and answers for a person, and a reader.
//
// Run() may be called in several threads at a time, each of a course of its own.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "../stream_server.h"
#include "agent_kill_clerk.h"
#include "agent_kill_worker.h"
#include "fixture.h"
#include "marathon/agent/agent.h"
#include "marathon/agent/stream.h"
#include "marathon/marathon.h"

namespace marathon::kill_test {

// The nth time that a moment is reached. Progress, not time: "3 after a turn is committed".
struct Point {
  std::string moment;
  int nth = 0;       // 0: never, so nothing is killed
  int step = 0;      // not 0: the moment at which the reader …
  size_t texts = 0;  // … has so many pieces of this step, and no more are to be had
};

inline std::string NameOf(const Point& point) { return std::to_string(point.nth) + " " + point.moment; }

inline Point ReadingPoint(int step, size_t texts) {
  return {"the reader has " + std::to_string(texts) + " texts of step " + std::to_string(step), 1, step, texts};
}
inline constexpr char kAsked[] = "a person is asked";

struct ModelRequest {
  int step = 0;
  std::string body;
};

struct Outcome {
  bool killed = false;
  agent::Result result;
  std::string text;                    // what the reader has in the end
  std::vector<LedgerLine> ledger;      // each key without the run's id
  std::vector<ModelRequest> requests;  // in the order in which they came
  std::vector<Point> moments;          // that were reached
  std::set<std::string> repeated;      // what history had when the worker died, and was done again after that
};

class Course {
 public:
  // Files go into `folder`, which is this course's own.
  Course(std::string url, std::string folder, Point point)
      : url_(std::move(url)), folder_(std::move(folder)), ledger_(folder_ + "/ledger"), point_(std::move(point)) {
    std::filesystem::create_directories(folder_);
  }

  Outcome Run() {
    Registry registry;  // a client needs no code
    for (Backend& backend : KillBackends()) registry.Use(std::move(backend));
    auto engine = Engine::Open(url_, registry, KillOptions());
    EXPECT_TRUE(engine.ok()) << engine.status();
    if (!engine.ok()) return {};
    agent::Input errands = agent::Ask("Run my errands.");
    errands.keep_messages = true;
    const auto run = engine->Start("Clerk", errands, {.workflow_id = "errands"});
    EXPECT_TRUE(run.ok()) << run.status();
    if (!run.ok()) return {};
    run_ = *run;

    Outcome outcome;
    std::thread supervisor([this] { Supervise(); });
    outcome.text = Follow(engine->streams());
    const auto result = run_->Result<agent::Result>(tests::kPatience);
    EXPECT_TRUE(result.ok()) << result.status() << WorkerLog();
    outcome.result = result.value_or(agent::Result());
    End();
    supervisor.join();
    EXPECT_EQ(Text(engine->streams()), outcome.text) << "who reads it all at once, reads the same";
    Report(&outcome);
    return outcome;
  }

 private:
  // ---- The worker

  // Keeps one alive until the end.
  void Supervise() {
    while (Spawn()) {
      Serve();
      if (!Bury()) return;
    }
  }

  bool Spawn() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const std::string program = std::filesystem::read_symlink("/proc/self/exe");
    std::vector<std::string> words = {program, "work", url_, server_.url(), folder_ + "/ledger"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 2, (folder_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&files, ends[1], kSupervisor);
    const std::lock_guard lock(mutex_);
    int error = 0;
    if (!ended_) error = posix_spawn(&pid_, program.c_str(), &files, nullptr, argv.data(), environ);
    EXPECT_EQ(error, 0);
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    worker_ = ends[0];
    if (pid_ == 0) close(worker_);
    return pid_ != 0;
  }

  // Lets it go on from moment to moment, until it is dead.
  void Serve() {
    char moment[256];
    for (ssize_t size; (size = recv(worker_, moment, sizeof moment, 0)) > 0;) {
      if (Reached({moment, static_cast<size_t>(size)})) send(worker_, "", 1, MSG_NOSIGNAL);
    }
    close(worker_);
  }

  // False: there is to be no other.
  bool Bury() {
    int status = 0;
    std::unique_lock lock(mutex_);
    waitpid(std::exchange(pid_, 0), &status, 0);
    if (ended_) return false;
    if (!killed_ || dead_) {
      ADD_FAILURE() << "the worker ended by itself, with status " << status << WorkerLog();
      return false;
    }
    lock.unlock();
    Remember();
    lock.lock();
    dead_ = true;
    changed_.notify_all();
    // Who was asked answers while nobody is there to hear it.
    changed_.wait(lock, [&] { return point_.moment != kAsked || answered_; });
    return true;
  }

  // What is recorded when it dies.
  void Remember() {
    const auto history = run_->History();
    EXPECT_TRUE(history.ok()) << history.status();
    if (!history.ok()) return;
    std::map<EventId, std::string> steps;
    for (const Event& event : *history) {
      if (const auto* scheduled = std::get_if<ActivityScheduled>(&event.body)) steps[event.id] = StepOf(*scheduled);
      if (const auto* done = std::get_if<ActivityCompleted>(&event.body)) recorded_.insert(steps[done->scheduled]);
    }
    ledger_at_death_ = ledger_.Lines().size();
    const std::lock_guard lock(mutex_);
    requests_at_death_ = requests_.size();
  }
  // "2", or "2/c4" as the ledger has it.
  std::string StepOf(const ActivityScheduled& scheduled) const {
    if (scheduled.activity_type == "Clerk/model") {
      return std::to_string(Decode<agent::ModelTask>(scheduled.input).value().step);
    }
    if (!scheduled.activity_type.starts_with("Clerk/tool/")) return "";
    const auto task = Decode<agent::ToolTask>(scheduled.input).value();
    return std::to_string(task.step) + "/" + task.call_id;
  }

  // False: this was the point, and the worker has been killed.
  bool Reached(const std::string& moment) {
    const std::lock_guard lock(mutex_);
    if (killed_) return true;
    const int nth = ++counts_[moment];
    moments_.push_back({moment, nth});
    if (moment != point_.moment || nth != point_.nth || pid_ == 0) return true;
    killed_ = true;
    kill(pid_, SIGKILL);
    return false;
  }

  void End() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    if (pid_ != 0) kill(pid_, SIGKILL);
  }

  std::string WorkerLog() const {
    std::ostringstream text;
    text << "\n" << NameOf(point_) << "; the worker's log:\n" << std::ifstream(folder_ + "/log").rdbuf();
    return text.str();
  }

  // ---- The model

  tests::StreamReply Answer(const tests::DoubleRequest& request) {
    const auto body = nlohmann::json::parse(request.body);
    int step = 1;
    for (const auto& message : body["messages"]) step += message["role"] == "assistant" ? 1 : 0;
    bool held;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back({step, request.body});
      held = step == point_.step && !killed_;
    }
    Reached("step " + std::to_string(step) + " is asked");
    return AnswerOf(Script().at(static_cast<size_t>(step) - 1), held ? point_.texts : std::string::npos);
  }
  // As server-sent events, in pieces that cut events and characters. It stops in the middle of the event behind
  // `texts` pieces of text.
  static tests::StreamReply AnswerOf(const ScriptedStep& step, size_t texts) {
    tests::StreamReply reply;
    const auto send = [&](const nlohmann::json& choice) {
      for (std::string& piece : tests::Pieces("data: " + nlohmann::json{{"choices", {choice}}}.dump() + "\n\n", 13)) {
        reply.pieces.push_back(std::move(piece));
      }
    };
    for (size_t i = 0; i <= step.texts.size(); ++i) {
      if (i == texts) reply.gate = reply.pieces.size() + 1;
      if (i < step.texts.size()) send({{"delta", {{"content", step.texts[i]}}}});
    }
    for (size_t i = 0; i < step.calls.size(); ++i) {
      const ScriptedCall& call = step.calls[i];
      const nlohmann::json function = {{"name", call.tool}, {"arguments", R"({"what":)"}};
      const nlohmann::json begin = {{"index", i}, {"id", call.id}, {"function", function}};
      const nlohmann::json rest = {{"index", i}, {"function", {{"arguments", "\"" + call.what + "\"}"}}}};
      send({{"delta", {{"tool_calls", nlohmann::json::array({begin})}}}});
      send({{"delta", {{"tool_calls", nlohmann::json::array({rest})}}}});
    }
    send({{"delta", nlohmann::json::object()}, {"finish_reason", step.calls.empty() ? "stop" : "tool_calls"}});
    reply.pieces.push_back("data: [DONE]\n\n");
    return reply;
  }

  // ---- The reader, and the person

  // What there is to see in the end. A new reader for each page, as a browser that comes back.
  std::string Follow(StreamLog& log) {
    agent::StreamView view;
    for (uint64_t seen = 0;;) {
      agent::StreamReader reader(log, agent::StreamOf(run_->run_id()), seen);
      const auto events = reader.Next(tests::kPatience);
      if (!events.ok() || events->empty()) {
        ADD_FAILURE() << "the stream has no end: " << events.status() << WorkerLog();
        return view.Text();
      }
      for (const agent::StreamEvent& event : *events) {
        EXPECT_GT(event.seq, seen);
        seen = event.seq;
        view.Apply(event);
        if (event.kind == agent::StreamEvent::Kind::kApproval) Decide(event);
        if (event.kind == agent::StreamEvent::Kind::kDone) return view.Text();
      }
      if (point_.step != 0 && view.TextOf(point_.step) == HeldText()) Reached(point_.moment);
    }
  }
  std::string HeldText() const { return TextOf(Script().at(static_cast<size_t>(point_.step) - 1), point_.texts); }

  std::string Text(StreamLog& log) {
    agent::StreamView view;
    agent::StreamReader reader(log, agent::StreamOf(run_->run_id()));
    for (;;) {
      const auto events = reader.Next(Duration(0));
      if (!events.ok() || events->empty()) return view.Text();
      for (const agent::StreamEvent& event : *events) view.Apply(event);
    }
  }

  void Decide(const agent::StreamEvent& asked) {
    if (!Reached(kAsked)) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return dead_; });
    }
    const agent::Decision yes{.key = asked.id, .digest = agent::DigestOf(nlohmann::json::parse(asked.text))};
    const Status decided = agent::Decide(*run_, yes, {.request_id = asked.id});
    EXPECT_TRUE(decided.ok()) << decided;
    const std::lock_guard lock(mutex_);
    answered_ = true;
    changed_.notify_all();
  }

  // ---- What came of it. The worker is dead.

  void Report(Outcome* outcome) {
    outcome->killed = killed_;
    outcome->ledger = ledger_.Lines();
    const std::string prefix = run_->run_id().str() + "/";
    for (size_t i = 0; i < outcome->ledger.size(); ++i) {
      std::string& key = outcome->ledger[i].key;
      EXPECT_TRUE(key.starts_with(prefix)) << key;
      key.erase(0, prefix.size());
      if (dead_ && i >= ledger_at_death_ && recorded_.contains(key)) outcome->repeated.insert(key);
    }
    for (size_t i = requests_at_death_; dead_ && i < requests_.size(); ++i) {
      const std::string step = std::to_string(requests_[i].step);
      if (recorded_.contains(step)) outcome->repeated.insert(step);
    }
    outcome->requests = std::move(requests_);
    outcome->moments = std::move(moments_);
  }

  const std::string url_, folder_;
  const Ledger ledger_;
  const Point point_;
  std::optional<marathon::Run> run_;
  int worker_ = -1;  // the supervisor's end of its socket
  std::set<std::string> recorded_;
  size_t ledger_at_death_ = 0;

  std::mutex mutex_;  // guards:
  std::condition_variable changed_;
  std::map<std::string, int> counts_;
  std::vector<Point> moments_;
  std::vector<ModelRequest> requests_;
  size_t requests_at_death_ = 0;
  pid_t pid_ = 0;  // 0: none is alive
  bool killed_ = false;
  bool dead_ = false;      // that one, and what was recorded then is known
  bool answered_ = false;  // the person has
  bool ended_ = false;

  tests::StreamServer server_{[this](const tests::DoubleRequest& request) { return Answer(request); }};
};

}  // namespace marathon::kill_test
