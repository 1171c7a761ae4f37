// SqsQueue: TaskQueue over SQS queues, one for each kind of task and task queue (a channel).
//
// A parked receiver keeps one long poll going in each of its channels. What a poll brings goes to a parked
// receiver, or waits a moment for the next one, and else goes back. Hints that prefer a session which
// receives here never see SQS.
//
// Safe from any thread. Everything private is the loop's.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client.h"
#include "marathon/config.h"
#include "marathon/log_sink.h"
#include "marathon/runtime.h"
#include "marathon/task_queue.h"
#include "src/net/http_loop.h"

namespace marathon::inline MARATHON_ABI::detail {

struct SqsSettings {
  SqsAddress address;
  std::string account, prefix, name_space;
  bool create = false;
  Duration visibility{30'000};
  Duration long_poll{20'000};
  std::shared_ptr<LogSink> log;
  const Clock* clock = nullptr;
};

class SqsQueue final : public TaskQueue {
 public:
  // Makes the provider of its credentials, which lives on its loop.
  using MakeCredentials = Callback<StatusOr<std::unique_ptr<CredentialProvider>>(HttpLoop&)>;

  // The queue closes when the last copy of the pointer goes.
  static StatusOr<std::shared_ptr<SqsQueue>> Open(SqsSettings settings, MakeCredentials credentials,
                                                  Runtime& runtime);
  SqsQueue(SqsSettings settings, Runtime& runtime);

  std::string_view domain() const override { return domain_; }
  void Send(std::vector<TaskHint> hints, DoneStatus done) override;
  void Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) override;
  void Ack(std::vector<std::string> receipts, DoneStatus done) override;
  void Nack(std::vector<Delivery> deliveries, DoneStatus done) override;
  void StopReceiving(const SessionId& session) override;
  void Flush(DoneStatus done) override;

 private:
  using Place = std::pair<TaskKind, std::string>;
  enum class Doing { kSend, kReceive, kChange };
  struct Parked {
    ReceiveRequest request;
    Done<std::vector<Delivery>> done;
  };
  // Several calls that make one answer: the last one's, or the first error.
  struct Joint {
    DoneStatus done;
    size_t left = 1;
    Status error;
  };
  using JointPtr = std::shared_ptr<Joint>;
  // One entry of a batch of deletions or of visibility changes.
  struct Change {
    std::string handle;
    JointPtr joint;
  };
  struct Channel {
    Place place;
    uint32_t number = 0;
    std::string url;  // empty: not known yet
    std::vector<Callback<void(Status)>> awaiting_url;
    bool starting = false;  // its poll waits for the URL
    SqsClient::CallPtr poll;
    HttpLoop::Id rest = 0;  // until the next poll, after a failure
    int failures = 0;       // of polls, in a row
    std::optional<int64_t> sends_fail_since;  // of the runtime's monotonic clock
    int early = 0;          // empty answers long before their time, in a row
    int64_t poll_began = 0;  // of the runtime's monotonic clock
    std::deque<std::pair<uint64_t, Delivery>> held;  // by what they came in
    std::deque<Change> deletions, returns;
    bool deleting = false, returning = false;
  };

  void Close();

  // ---- Sending (queue_send.cc)
  void SendHere(std::vector<TaskHint> hints, DoneStatus done);
  void SendBatch(Channel& channel, std::vector<TaskHint> hints, JointPtr joint);
  void OnSendFailed(Channel& channel, const Status& status);
  static JointPtr NewJoint(DoneStatus done);
  static void Finish(const JointPtr& joint, const Status& status);
  void ChangeAll(std::vector<Delivery> deliveries, bool remove, DoneStatus done);
  void StartChanges(Channel& channel, bool remove);
  void OnChanged(Channel& channel, bool remove, std::vector<Change> batch, int tries,
                 SqsClient::Reply reply);
  void SendChanges(Channel& channel, bool remove, std::vector<Change> batch, int tries);

  // ---- Receiving (queue_receive.cc)
  void Park(ReceiveRequest request, Done<std::vector<Delivery>> done);
  bool TakeWaiting(Parked& parked);
  bool IsWanted(const Channel& channel) const;
  void Poll(Channel& channel);
  void StartPoll(Channel& channel);
  void OnPolled(Channel& channel, SqsClient::Reply reply);
  void OnPollFailed(Channel& channel, const Status& status);
  void Rest(Channel& channel, int64_t millis);
  void Give(Channel& channel, std::vector<Delivery> deliveries);
  void GiveLocal(TaskHint hint);
  void Return(Channel& channel, uint64_t batch);
  void Stop(const SessionId& session);

  // ---- Queues (queue.cc)
  Channel& ChannelOf(TaskKind kind, const std::string& task_queue);
  void FindUrl(Channel& channel, Callback<void(Status)> done);
  void CreateQueue(Channel& channel);
  void OnUrl(Channel& channel, SqsClient::Reply reply);
  std::string NameOf(const Channel& channel) const;
  void Complain(const Channel& channel, Doing doing, const Status& status);
  void Calm(const Channel& channel, Doing doing);
  Duration Jittered(int64_t millis) const;
  // A call that Flush waits for: any but polls.
  void Call(std::string operation, const nlohmann::json& input,
            Callback<void(SqsClient::Reply)> done);
  void TellFlushed();
  // On a thread of the runtime: engine and workflow code do not belong on this one.
  void Answer(Done<std::vector<Delivery>>&& done, StatusOr<std::vector<Delivery>> result);

  const SqsSettings settings_;
  const std::string domain_;
  Runtime& runtime_;
  std::unique_ptr<SqsClient> client_;
  std::map<Place, std::unique_ptr<Channel>> channels_;
  std::vector<Channel*> by_number_;
  std::list<Parked> parked_;
  std::map<std::pair<SessionId, Place>, std::deque<TaskHint>> local_;  // for sessions that are busy
  std::set<SessionId> receiving_, stopped_;
  int calls_ = 0;  // under way, but for polls
  std::vector<DoneStatus> flushes_;
  uint64_t last_batch_ = 0;
  std::map<std::pair<uint32_t, Doing>, std::string> complaints_;  // of what fails in which channel, the last one
  HttpLoop loop_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
