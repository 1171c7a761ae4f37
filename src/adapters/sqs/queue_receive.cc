// SqsQueue: parked receivers and the polls that they keep going.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "names.h"
#include "queue.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

using nlohmann::json;

constexpr int kMessagesMax = 10;  // of SQS, in one answer
// What came when nobody was parked any more waits so long for the next receiver.
constexpr Duration kHeldFor = std::chrono::seconds(1);
constexpr int64_t kRestMax = 5'000;      // ms, between polls that fail
constexpr int64_t kEarly = 100'000;      // us: an answer without messages that came so soon is early
constexpr int64_t kEarlyRestMax = 500;   // ms, between polls whose answers come early
constexpr int kFailuresTold = 5;         // in a row

bool Wants(const ReceiveRequest& request, const std::pair<TaskKind, std::string>& place) {
  const auto& names = request.task_queues;
  return request.kind == place.first &&
         std::find(names.begin(), names.end(), place.second) != names.end();
}

size_t RoomOf(const ReceiveRequest& request) {
  return static_cast<size_t>(std::max(request.max, 1));
}

}  // namespace

// ---- Receivers

void SqsQueue::Park(ReceiveRequest request, Done<std::vector<Delivery>> done) {
  if (stopped_.contains(request.session)) {
    return Answer(std::move(done), Cancelled("the session receives no more"));
  }
  receiving_.insert(request.session);
  Parked parked{std::move(request), std::move(done)};
  if (TakeWaiting(parked)) return;
  parked_.push_back(std::move(parked));
  const ReceiveRequest& kept = parked_.back().request;
  for (const std::string& name : kept.task_queues) Poll(ChannelOf(kept.kind, name));
}

// Answers with what is here already.
bool SqsQueue::TakeWaiting(Parked& parked) {
  const ReceiveRequest& request = parked.request;
  std::vector<Delivery> deliveries;
  for (const std::string& name : request.task_queues) {
    const auto local = local_.find({request.session, {request.kind, name}});
    while (local != local_.end() && !local->second.empty() &&
           deliveries.size() < RoomOf(request)) {
      deliveries.push_back({std::move(local->second.front()), std::string()});
      local->second.pop_front();
    }
    if (local != local_.end() && local->second.empty()) local_.erase(local);
    std::deque<std::pair<uint64_t, Delivery>>& held = ChannelOf(request.kind, name).held;
    while (!held.empty() && deliveries.size() < RoomOf(request)) {
      deliveries.push_back(std::move(held.front().second));
      held.pop_front();
    }
  }
  if (deliveries.empty()) return false;
  Answer(std::move(parked.done), std::move(deliveries));
  return true;
}

bool SqsQueue::IsWanted(const Channel& channel) const {
  return std::any_of(parked_.begin(), parked_.end(),
                     [&](const Parked& parked) { return Wants(parked.request, channel.place); });
}

void SqsQueue::Stop(const SessionId& session) {
  stopped_.insert(session);
  receiving_.erase(session);
  std::list<Parked> ended;
  for (auto it = parked_.begin(); it != parked_.end();) {
    const auto next = std::next(it);
    if (it->request.session == session) ended.splice(ended.end(), parked_, it);
    it = next;
  }
  std::vector<TaskHint> hints;
  for (auto it = local_.begin(); it != local_.end();) {
    if (it->first.first != session) {
      ++it;
      continue;
    }
    for (TaskHint& hint : it->second) {
      hint.preferred.clear();
      hints.push_back(std::move(hint));
    }
    it = local_.erase(it);
  }
  if (!hints.empty()) SendHere(std::move(hints), [](const Status&) {});
  if (receiving_.empty()) {  // nobody is left to take what a poll would bring
    for (auto& [place, channel] : channels_) {
      if (channel->poll != nullptr) client_->Cancel(std::exchange(channel->poll, nullptr));
      loop_.Cancel(std::exchange(channel->rest, 0));
      std::vector<Delivery> back;
      for (auto& [batch, delivery] : channel->held) back.push_back(std::move(delivery));
      channel->held.clear();
      if (!back.empty()) ChangeAll(std::move(back), /*remove=*/false, [](const Status&) {});
    }
  }
  for (Parked& parked : ended) {
    Answer(std::move(parked.done), Cancelled("the session receives no more"));
  }
}

// ---- Polls

void SqsQueue::Poll(Channel& channel) {
  if (channel.starting || channel.poll != nullptr || channel.rest != 0 || !IsWanted(channel)) return;
  channel.starting = true;
  FindUrl(channel, [this, &channel](const Status& status) {
    channel.starting = false;
    if (!status.ok()) return OnPollFailed(channel, status);
    if (IsWanted(channel)) StartPoll(channel);
  });
}

void SqsQueue::StartPoll(Channel& channel) {
  size_t room = 0;
  for (const Parked& parked : parked_) {
    if (Wants(parked.request, channel.place)) room += RoomOf(parked.request);
  }
  const json input{{"QueueUrl", channel.url},
                   {"MaxNumberOfMessages", std::min<size_t>(room, kMessagesMax)},
                   {"WaitTimeSeconds", settings_.long_poll.count() / 1000},
                   {"VisibilityTimeout", settings_.visibility.count() / 1000}};
  channel.poll_began = runtime_.MonotonicMicros();
  channel.poll = client_->Send("ReceiveMessage", input, settings_.long_poll,
                               [this, &channel](SqsClient::Reply reply) {
                                 channel.poll = nullptr;
                                 OnPolled(channel, std::move(reply));
                               });
}

void SqsQueue::OnPolled(Channel& channel, SqsClient::Reply reply) {
  if (!reply.ok()) {
    if (reply.status().code() == StatusCode::kNotFound) channel.url.clear();
    return OnPollFailed(channel, reply.status());
  }
  channel.failures = 0;
  Calm(channel, Doing::kReceive);
  const auto messages = reply->find("Messages");
  std::vector<Delivery> deliveries, rubbish;
  if (messages != reply->end() && messages->is_array()) {
    for (const json& message : *messages) {
      if (!message.is_object()) continue;
      const auto body = message.find("Body"), handle = message.find("ReceiptHandle");
      if (handle == message.end() || !handle->is_string()) continue;
      const std::string receipt = fmt::format("{}:{}", channel.number, handle->get<std::string>());
      const std::string text =
          body != message.end() && body->is_string() ? body->get<std::string>() : std::string();
      auto hint = DecodeSqsHint(text, channel.place.first, channel.place.second);
      if (hint.ok()) {
        deliveries.push_back({*std::move(hint), receipt});
      } else if (hint.status().code() == StatusCode::kInvalidArgument) {
        rubbish.push_back({TaskHint(), receipt});
      }  // else a newer worker may have it, when its time in flight is over
    }
  }
  if (!rubbish.empty()) {
    Complain(channel, Doing::kReceive,
             InvalidArgument(fmt::format(
                 "SQS queue {} had messages that are no hints of Marathon; they were removed",
                 NameOf(channel))));
    ChangeAll(std::move(rubbish), /*remove=*/true, [](const Status&) {});
  }
  const bool early = deliveries.empty() &&
                     runtime_.MonotonicMicros() - channel.poll_began < kEarly;
  channel.early = early ? channel.early + 1 : 0;
  Give(channel, std::move(deliveries));
  constexpr int kEarlyAllowed = 2;
  if (channel.early <= kEarlyAllowed) return Poll(channel);
  Rest(channel, std::min(int64_t{10} << std::min(channel.early, 10), kEarlyRestMax));
}

void SqsQueue::OnPollFailed(Channel& channel, const Status& status) {
  if (!IsTransient(status) || channel.failures >= kFailuresTold) {
    Complain(channel, Doing::kReceive, status);
  }
  Rest(channel, std::min(int64_t{50} << std::min(channel.failures++, 10), kRestMax));
}

void SqsQueue::Rest(Channel& channel, int64_t millis) {
  if (channel.rest != 0) return;
  channel.rest = loop_.After(Jittered(millis), [this, &channel] {
    channel.rest = 0;
    Poll(channel);
  });
}

// ---- Giving

void SqsQueue::Give(Channel& channel, std::vector<Delivery> deliveries) {
  size_t given = 0;
  for (auto it = parked_.begin(); it != parked_.end() && given < deliveries.size();) {
    if (!Wants(it->request, channel.place)) {
      ++it;
      continue;
    }
    std::vector<Delivery> some;
    while (given < deliveries.size() && some.size() < RoomOf(it->request)) {
      some.push_back(std::move(deliveries[given++]));
    }
    auto done = std::move(it->done);
    it = parked_.erase(it);
    Answer(std::move(done), std::move(some));
  }
  if (given == deliveries.size()) return;
  const uint64_t batch = ++last_batch_;
  for (; given < deliveries.size(); ++given) {
    channel.held.emplace_back(batch, std::move(deliveries[given]));
  }
  if (receiving_.empty()) return Return(channel, batch);
  loop_.After(kHeldFor, [this, &channel, batch] { Return(channel, batch); });
}

void SqsQueue::Return(Channel& channel, uint64_t batch) {
  std::vector<Delivery> back;
  std::erase_if(channel.held, [&](auto& one) {
    if (one.first != batch) return false;
    back.push_back(std::move(one.second));
    return true;
  });
  if (!back.empty()) ChangeAll(std::move(back), /*remove=*/false, [](const Status&) {});
}

void SqsQueue::GiveLocal(TaskHint hint) {
  const Place place{hint.kind, hint.task_queue};
  const auto wants = [&](const Parked& parked) {
    return parked.request.session == hint.preferred && Wants(parked.request, place);
  };
  const auto found = std::find_if(parked_.begin(), parked_.end(), wants);
  if (found == parked_.end()) {
    std::deque<TaskHint>& waiting = local_[{hint.preferred, place}];
    if (std::find(waiting.begin(), waiting.end(), hint) == waiting.end()) {
      waiting.push_back(std::move(hint));
    }
    return;
  }
  auto done = std::move(found->done);
  parked_.erase(found);
  std::vector<Delivery> deliveries;
  deliveries.push_back({std::move(hint), std::string()});
  Answer(std::move(done), std::move(deliveries));
}

}  // namespace marathon::inline MARATHON_ABI::detail
