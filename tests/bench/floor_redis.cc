// The floor beside Redis: each turn as one transaction (MULTI), a group of runs in one pipeline, and nothing
// else.
#include <hiredis/hiredis.h>
#include <marathon/event_codec.h>

#include <string>
#include <vector>

#include "../redis_server.h"
#include "bench.h"
#include "floor_rows.h"

namespace bench {
namespace {

using marathon::Event;
using marathon::EventType;
using marathon::History;

class RedisLoop {
 public:
  RedisLoop(marathon::tests::RedisServer& server, const History& sample, const Convert& convert)
      : context_(server.Connect()), rows_(sample), convert_(convert) {
    if (context_ == nullptr) Die("the floor's server is not there");
  }

  // So many runs, a turn of each in one pipeline.
  void RunGroup(int group) {
    const int64_t first = next_;
    next_ += group;
    for (size_t turn = 0; turn < rows_.turns.size(); ++turn) {
      for (int64_t run = first; run < next_; ++run) PutMessages(turn, run);
      Flush();
      for (int64_t run = first; run < next_; ++run) Commit(turn, run);
      Flush();
    }
  }

 private:
  void Add(const std::vector<std::string>& words) {
    std::vector<const char*> argv;
    std::vector<size_t> sizes;
    for (const std::string& word : words) {
      argv.push_back(word.data());
      sizes.push_back(word.size());
    }
    redisAppendCommandArgv(context_.get(), static_cast<int>(argv.size()), argv.data(), sizes.data());
    ++sent_;
  }
  void Flush() {
    for (; sent_ > 0; --sent_) {
      void* reply = nullptr;
      if (redisGetReply(context_.get(), &reply) != REDIS_OK ||
          static_cast<redisReply*>(reply)->type == REDIS_REPLY_ERROR) {
        Die("the floor's server refuses a command");
      }
      freeReplyObject(reply);
    }
  }

  // What comes from outside is written before the turn that takes it.
  void PutMessages(size_t turn, int64_t run) {
    for (const Event& event : rows_.turns[turn]) {
      const EventType type = marathon::TypeOf(event.body);
      if (type != EventType::kTimerFired && type != EventType::kSignalReceived) continue;
      Add({"MULTI"});
      Add({"XADD", Key("i", run), std::to_string(event.id) + "-0", "b",
           marathon::EncodeBody(event.body)});
      Add({"HSET", Key("r", run), "r", rows_.run});
      Add({"EXEC"});
    }
  }

  void Commit(size_t turn, int64_t run) {
    const History& events = rows_.turns[turn];
    ConvertAll(events, convert_);
    Add({"MULTI"});
    Add({"XADD", Key("h", run), std::to_string(events.back().id) + "-0", "r",
         marathon::EncodeRecord(1, events)});
    Add({"HSET", Key("r", run), "r", rows_.run});
    if (turn == 0) Add({"HSET", Key("w", run), "n", std::string(36, 'i'), "q", std::string(36, 'i')});
    for (const Event& event : events) Item(run, event);
    Add({"EXEC"});
  }

  void Item(int64_t run, const Event& event) {
    if (std::holds_alternative<marathon::ActivityScheduled>(event.body)) {
      Add({"HSET", Key("a", run), std::to_string(event.id), rows_.activity});
      Add({"ZADD", "due", "1", Key("a", run)});
    } else if (std::holds_alternative<marathon::TimerStarted>(event.body)) {
      Add({"ZADD", "due", "1", Key("t", run)});
    } else if (const auto* done = std::get_if<marathon::ActivityCompleted>(&event.body)) {
      Add({"HDEL", Key("a", run), std::to_string(done->scheduled)});
      Add({"ZREM", "due", Key("a", run)});
    } else if (std::holds_alternative<marathon::TimerFired>(event.body)) {
      Add({"ZREM", "due", Key("t", run)});
      Add({"DEL", Key("i", run)});
    } else if (std::holds_alternative<marathon::SignalReceived>(event.body)) {
      Add({"DEL", Key("i", run)});
    }
  }

  static std::string Key(const char* kind, int64_t run) {
    return std::string("floor:") + kind + ":" + std::to_string(run) + std::string(28, 'i');
  }

  std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
  const FloorRows rows_;
  const Convert& convert_;
  int64_t next_ = 1;
  int sent_ = 0;
};

}  // namespace

double RedisFloor(marathon::tests::RedisServer& server, int group, const History& sample,
                  const Convert& convert, double seconds) {
  RedisLoop loop(server, sample, convert);
  return RateOf(seconds, [&] {
    loop.RunGroup(group);
    return int64_t{group};
  });
}

}  // namespace bench
