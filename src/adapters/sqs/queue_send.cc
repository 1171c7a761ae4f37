// SqsQueue: hints on their way out, and what is said of those that came in.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>

#include "names.h"
#include "queue.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

using nlohmann::json;

constexpr size_t kBatch = 10;  // of SQS
constexpr int64_t kSendsFailTold = 2'000'000;  // us
constexpr int kTriesMax = 4;   // of a deletion or a return; after that, its time in flight ends by itself

// Of a batch's reply: entry numbers that failed, with the reply's entry.
std::vector<std::pair<size_t, const json*>> FailedOf(const json& reply, size_t count) {
  std::vector<std::pair<size_t, const json*>> failed;
  const auto list = reply.find("Failed");
  if (list == reply.end() || !list->is_array()) return failed;
  for (const json& entry : *list) {
    const std::string id = entry.is_object() ? entry.value("Id", json("")).dump() : "";
    size_t number = count;  // a string: "7" in quotes
    if (id.size() > 2) std::from_chars(id.data() + 1, id.data() + id.size() - 1, number);
    if (number < count) failed.emplace_back(number, &entry);
  }
  return failed;
}

std::string EntryText(const json& entry, const char* name) {
  const auto found = entry.find(name);
  return found != entry.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool IsSendersFault(const json& entry) {
  const auto found = entry.find("SenderFault");
  return found != entry.end() && found->is_boolean() && found->get<bool>();
}

}  // namespace

auto SqsQueue::NewJoint(DoneStatus done) -> JointPtr {
  auto joint = std::make_shared<Joint>();
  joint->done = std::move(done);
  return joint;
}

void SqsQueue::Finish(const JointPtr& joint, const Status& status) {
  if (!status.ok()) joint->error = status;
  if (--joint->left == 0) joint->done(joint->error);
}

// ---- Hints

void SqsQueue::SendHere(std::vector<TaskHint> hints, DoneStatus done) {
  const JointPtr joint = NewJoint(std::move(done));
  std::map<Place, std::vector<TaskHint>> by_place;
  for (TaskHint& hint : hints) {
    if (receiving_.contains(hint.preferred)) {
      GiveLocal(std::move(hint));
    } else {
      by_place[{hint.kind, hint.task_queue}].push_back(std::move(hint));
    }
  }
  for (auto& [place, found] : by_place) {
    Channel& channel = ChannelOf(place.first, place.second);
    ++joint->left;
    FindUrl(channel, [this, &channel, joint, some = std::move(found)](Status status) mutable {
      if (!status.ok()) {
        OnSendFailed(channel, status);
        return Finish(joint, status);
      }
      for (size_t at = 0; at < some.size(); at += kBatch) {
        const auto from = some.begin() + static_cast<ptrdiff_t>(at);
        const auto to = some.begin() + static_cast<ptrdiff_t>(std::min(at + kBatch, some.size()));
        ++joint->left;
        SendBatch(channel, {std::make_move_iterator(from), std::make_move_iterator(to)}, joint);
      }
      Finish(joint, Status());
    });
  }
  Finish(joint, Status());
}

void SqsQueue::SendBatch(Channel& channel, std::vector<TaskHint> hints, JointPtr joint) {
  json entries = json::array();
  for (size_t i = 0; i < hints.size(); ++i) {
    entries.push_back({{"Id", fmt::format("{}", i)}, {"MessageBody", EncodeSqsHint(hints[i])}});
  }
  const json input{{"QueueUrl", channel.url}, {"Entries", std::move(entries)}};
  Call("SendMessageBatch", input,
       [this, &channel, joint = std::move(joint), count = hints.size()](SqsClient::Reply reply) {
         if (!reply.ok()) {
           if (reply.status().code() == StatusCode::kNotFound) channel.url.clear();
           OnSendFailed(channel, reply.status());
           return Finish(joint, reply.status());
         }
         channel.sends_fail_since.reset();
         const auto failed = FailedOf(*reply, count);
         if (failed.empty()) Calm(channel, Doing::kSend);
         Status status;
         for (const auto& [number, entry] : failed) {
           const Status error = Unavailable(fmt::format("SQS takes a hint not: {}: {}",
                                                        EntryText(*entry, "Code"),
                                                        EntryText(*entry, "Message")));
           // What is our own fault is so at the next try, too.
           if (IsSendersFault(*entry)) {
             Complain(channel, Doing::kSend, error);
           } else {
             status = error;
           }
         }
         Finish(joint, status);
       });
}

// A moment of trouble is nothing to tell. What stays is told by whoever sends, too: it may receive nothing.
void SqsQueue::OnSendFailed(Channel& channel, const Status& status) {
  const int64_t now = runtime_.MonotonicMicros();
  if (!channel.sends_fail_since.has_value()) channel.sends_fail_since = now;
  if (!IsTransient(status) || now - *channel.sends_fail_since >= kSendsFailTold) {
    Complain(channel, Doing::kSend, status);
  }
}

// ---- Deletions and returns

// Takes messages off their queues, or lets others have them at once.
void SqsQueue::ChangeAll(std::vector<Delivery> deliveries, bool remove, DoneStatus done) {
  const JointPtr joint = NewJoint(std::move(done));
  std::set<Channel*> channels;
  for (const Delivery& delivery : deliveries) {
    const std::string& receipt = delivery.receipt;
    size_t number = by_number_.size();
    const auto [end, error] =
        std::from_chars(receipt.data(), receipt.data() + receipt.size(), number);
    if (error != std::errc() || number >= by_number_.size() || *end != ':') continue;
    Channel& channel = *by_number_[number];
    ++joint->left;
    (remove ? channel.deletions : channel.returns).push_back({std::string(end + 1), joint});
    channels.insert(&channel);
  }
  for (Channel* channel : channels) StartChanges(*channel, remove);
  Finish(joint, Status());
}

// One call at a time: what comes meanwhile goes together.
void SqsQueue::StartChanges(Channel& channel, bool remove) {
  bool& busy = remove ? channel.deleting : channel.returning;
  std::deque<Change>& waiting = remove ? channel.deletions : channel.returns;
  if (busy || waiting.empty()) return;
  busy = true;
  std::vector<Change> batch;
  while (!waiting.empty() && batch.size() < kBatch) {
    batch.push_back(std::move(waiting.front()));
    waiting.pop_front();
  }
  SendChanges(channel, remove, std::move(batch), 0);
}

void SqsQueue::SendChanges(Channel& channel, bool remove, std::vector<Change> batch, int tries) {
  json entries = json::array();
  for (size_t i = 0; i < batch.size(); ++i) {
    json entry{{"Id", fmt::format("{}", i)}, {"ReceiptHandle", batch[i].handle}};
    if (!remove) entry["VisibilityTimeout"] = 0;
    entries.push_back(std::move(entry));
  }
  const json input{{"QueueUrl", channel.url}, {"Entries", std::move(entries)}};
  Call(remove ? "DeleteMessageBatch" : "ChangeMessageVisibilityBatch", input,
       [this, &channel, remove, batch = std::move(batch), tries](SqsClient::Reply reply) mutable {
         OnChanged(channel, remove, std::move(batch), tries, std::move(reply));
       });
}

// A receipt that is too old, or of a message that is gone, is no error: its message is in other hands.
void SqsQueue::OnChanged(Channel& channel, bool remove, std::vector<Change> batch, int tries,
                         SqsClient::Reply reply) {
  std::vector<Status> ends(batch.size(), reply.status());
  if (reply.ok()) {
    for (const auto& [number, entry] : FailedOf(*reply, batch.size())) {
      if (IsSendersFault(*entry)) continue;
      ends[number] = Unavailable(fmt::format("SQS does not {} a message: {}: {}", remove ? "delete" : "give back",
                                             EntryText(*entry, "Code"), EntryText(*entry, "Message")));
    }
  }
  ++tries;
  std::vector<Change> again;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (IsTransient(ends[i]) && tries < kTriesMax) {
      again.push_back(std::move(batch[i]));
    } else {
      Finish(batch[i].joint, ends[i]);
    }
  }
  if (!again.empty()) {
    ++calls_;
    loop_.After(Jittered(int64_t{100} << tries), [this, &channel, remove, again = std::move(again),
                                                  tries]() mutable {
      --calls_;
      SendChanges(channel, remove, std::move(again), tries);
    });
    return;
  }
  if (reply.ok()) Calm(channel, Doing::kChange);
  if (!reply.ok() && !IsTransient(reply.status())) Complain(channel, Doing::kChange, reply.status());
  (remove ? channel.deleting : channel.returning) = false;
  StartChanges(channel, remove);
}

}  // namespace marathon::inline MARATHON_ABI::detail
