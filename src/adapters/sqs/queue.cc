// SqsQueue: its life, and the SQS queues behind it. Hints go out in queue_send.cc and come in in
// queue_receive.cc.
#include "queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>

#include "marathon/limits.h"
#include "names.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

using nlohmann::json;

constexpr Duration kCallPatience = std::chrono::seconds(5);

int64_t SecondsOf(Duration duration) { return duration.count() / 1000; }

}  // namespace

// ---- Life

SqsQueue::SqsQueue(SqsSettings settings, Runtime& runtime)
    : settings_(std::move(settings)),
      domain_(fmt::format("sqs:{}/{}/{}/{}", settings_.address.endpoint, settings_.account,
                          settings_.prefix, settings_.name_space)),
      runtime_(runtime) {}

StatusOr<std::shared_ptr<SqsQueue>> SqsQueue::Open(SqsSettings settings,
                                                   MakeCredentials make_credentials,
                                                   Runtime& runtime) {
  auto queue = std::make_shared<SqsQueue>(std::move(settings), runtime);
  auto credentials = make_credentials(queue->loop_);
  if (!credentials.ok()) return credentials.status();
  const Clock* clock = queue->settings_.clock;
  queue->client_ = std::make_unique<SqsClient>(
      queue->loop_, queue->settings_.address, *std::move(credentials),
      clock != nullptr ? *clock : HttpLoop::WallClock());
  SqsQueue* const raw = queue.get();
  queue->loop_.Start(queue);
  return std::shared_ptr<SqsQueue>(raw, [queue](SqsQueue*) { queue->Close(); });
}

void SqsQueue::Close() {
  loop_.Post([this] {
    for (auto& [place, channel] : channels_) {
      if (channel->poll != nullptr) client_->Cancel(channel->poll);
      channel->poll = nullptr;
    }
    for (Parked& parked : std::exchange(parked_, {})) {
      parked.done(Cancelled("the queue is closed"));
    }
  });
  loop_.Stop();
}

void SqsQueue::TellFlushed() {
  if (calls_ > 0) return;
  for (DoneStatus& done : std::exchange(flushes_, {})) done(Status());
}

void SqsQueue::Call(std::string operation, const json& input,
                    Callback<void(SqsClient::Reply)> done) {
  ++calls_;
  client_->Send(std::move(operation), input, kCallPatience,
                [this, done = std::move(done)](SqsClient::Reply reply) mutable {
                  done(std::move(reply));
                  --calls_;
                  TellFlushed();
                });
}

void SqsQueue::Answer(Done<std::vector<Delivery>>&& done, StatusOr<std::vector<Delivery>> result) {
  runtime_.Post(Lane::kTurn, [done = std::move(done), result = std::move(result)]() mutable {
    done(std::move(result));
  });
}

Duration SqsQueue::Jittered(int64_t millis) const {
  return Duration(millis / 2 + static_cast<int64_t>(runtime_.Random() %
                                                    static_cast<uint64_t>(millis / 2 + 1)));
}

// Once for each new trouble, however many have it.
void SqsQueue::Complain(const Channel& channel, Doing doing, const Status& status) {
  std::string complaint(MessageOf(status));
  const bool told = std::any_of(complaints_.begin(), complaints_.end(),
                                [&](const auto& one) { return one.second == complaint; });
  if (!told && settings_.log != nullptr) settings_.log->Log(LogLevel::kWarning, complaint);
  complaints_[{channel.number, doing}] = std::move(complaint);
}

void SqsQueue::Calm(const Channel& channel, Doing doing) { complaints_.erase({channel.number, doing}); }

// ---- The SQS queues

std::string SqsQueue::NameOf(const Channel& channel) const {
  return SqsQueueName(settings_.prefix, settings_.name_space, channel.place.first,
                      channel.place.second);
}

auto SqsQueue::ChannelOf(TaskKind kind, const std::string& task_queue) -> Channel& {
  std::unique_ptr<Channel>& channel = channels_[{kind, task_queue}];
  if (channel == nullptr) {
    channel = std::make_unique<Channel>();
    channel->place = {kind, task_queue};
    channel->number = static_cast<uint32_t>(by_number_.size());
    by_number_.push_back(channel.get());
  }
  return *channel;
}

void SqsQueue::FindUrl(Channel& channel, Callback<void(Status)> done) {
  if (!channel.url.empty()) return done(Status());
  channel.awaiting_url.push_back(std::move(done));
  if (channel.awaiting_url.size() > 1) return;
  const json input{{"QueueName", NameOf(channel)}, {"QueueOwnerAWSAccountId", settings_.account}};
  Call("GetQueueUrl", input, [this, &channel](SqsClient::Reply reply) {
    if (reply.status().code() != StatusCode::kNotFound) return OnUrl(channel, std::move(reply));
    if (settings_.create) return CreateQueue(channel);
    OnUrl(channel, FailedPrecondition(fmt::format(
                       "there is no SQS queue {}: create it, or let Marathon, by create=true in the "
                       "URL",
                       NameOf(channel))));
  });
}

// Hints are worth nothing once their store has published them again for the last time in a while.
void SqsQueue::CreateQueue(Channel& channel) {
  const auto number = [](int64_t value) { return fmt::format("{}", value); };
  const json input{
      {"QueueName", NameOf(channel)},
      {"Attributes",
       {{"MessageRetentionPeriod", number(SecondsOf(limits::kResendMax))},
        {"ReceiveMessageWaitTimeSeconds", number(SecondsOf(settings_.long_poll))},
        {"VisibilityTimeout", number(SecondsOf(settings_.visibility))}}}};
  Call("CreateQueue", input, [this, &channel](SqsClient::Reply reply) {
    OnUrl(channel, std::move(reply));
  });
}

void SqsQueue::OnUrl(Channel& channel, SqsClient::Reply reply) {
  Status status = reply.status();
  if (reply.ok()) {
    const auto url = reply->find("QueueUrl");
    if (url != reply->end() && url->is_string()) channel.url = url->get<std::string>();
    if (channel.url.empty()) status = Unknown("SQS answers with no queue URL");
  }
  for (auto& done : std::exchange(channel.awaiting_url, {})) done(status);
}

// ---- TaskQueue, from any thread

void SqsQueue::Send(std::vector<TaskHint> hints, DoneStatus done) {
  loop_.Post([this, hints = std::move(hints), done = std::move(done)]() mutable {
    SendHere(std::move(hints), std::move(done));
  });
}

void SqsQueue::Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) {
  loop_.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    Park(std::move(request), std::move(done));
  });
}

void SqsQueue::Ack(std::vector<std::string> receipts, DoneStatus done) {
  std::vector<Delivery> deliveries;
  for (std::string& receipt : receipts) deliveries.push_back({TaskHint(), std::move(receipt)});
  loop_.Post([this, deliveries = std::move(deliveries), done = std::move(done)]() mutable {
    ChangeAll(std::move(deliveries), /*remove=*/true, std::move(done));
  });
}

// A hint that SQS never saw is sent there now.
void SqsQueue::Nack(std::vector<Delivery> deliveries, DoneStatus done) {
  loop_.Post([this, deliveries = std::move(deliveries), done = std::move(done)]() mutable {
    std::vector<TaskHint> local;
    for (Delivery& delivery : deliveries) {
      if (!delivery.receipt.empty()) continue;
      local.push_back(std::move(delivery.hint));
      local.back().preferred.clear();
    }
    if (!local.empty()) SendHere(std::move(local), [](const Status&) {});
    ChangeAll(std::move(deliveries), /*remove=*/false, std::move(done));
  });
}

void SqsQueue::Flush(DoneStatus done) {
  loop_.Post([this, done = std::move(done)]() mutable {
    flushes_.push_back(std::move(done));
    TellFlushed();
  });
}

// Waits for the loop: what is answered later could find its receiver's runtime gone.
void SqsQueue::StopReceiving(const SessionId& session) {
  if (loop_.IsThisThread()) return Stop(session);
  auto stopped = std::make_shared<std::promise<void>>();
  const std::future<void> over = stopped->get_future();
  loop_.Post([this, session, stopped = std::move(stopped)] {
    Stop(session);
    stopped->set_value();
  });
  over.wait();  // also over when the loop has ended, and the work with it
}

}  // namespace marathon::inline MARATHON_ABI::detail
