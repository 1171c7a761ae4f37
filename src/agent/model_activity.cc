#include "src/agent/model_activity.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/agent/conversation.h"
#include "marathon/errors.h"
#include "marathon/agent/stream.h"
#include "marathon/llm/error.h"
#include "src/agent/compaction.h"
#include "src/agent/lost_attempts.h"
#include "src/agent/stream_writer.h"
#include "src/llm/fail_activity.h"
#include "src/llm/media_blobs.h"

namespace marathon::inline MARATHON_ABI::agent::internal {
namespace {

constexpr size_t kCacheBytes = 64u << 20;

// The store has not got the blob, or keeps none at all: another try helps nobody.
bool IsLost(StatusCode code) {
  return code == StatusCode::kNotFound || code == StatusCode::kDataLoss || code == StatusCode::kUnimplemented;
}

// What has come of an answer.
class Said {
 public:
  void Add(const llm::Delta& delta) {
    bytes_ += delta.text.size();
    if (delta.kind == llm::Delta::Kind::kReset) texts_.clear();
    if (delta.kind == llm::Delta::Kind::kText) texts_[delta.block] += delta.text;
  }
  int64_t Tokens() const { return static_cast<int64_t>((bytes_ + 2) / 3); }  // as EstimateTokens
  // Calls that are half, and thoughts without their signature, no provider takes back.
  llm::ChatResponse Response() const {
    llm::ChatResponse response{.stop_reason = llm::StopReason::kOther, .stop_word = "stopped"};
    for (const auto& [block, text] : texts_) {
      if (!text.empty()) response.blocks.emplace_back(llm::Text{text});
    }
    return response;
  }

 private:
  std::map<size_t, std::string> texts_;  // by block
  size_t bytes_ = 0;                     // of all kinds
};

// One step under way. Whatever it waits for keeps it alive.
class Step : public std::enable_shared_from_this<Step> {
 public:
  struct Parts {
    std::shared_ptr<const Agent> agent;
    std::shared_ptr<llm::Model> model;
    llm::DeltaListener listener;
    std::shared_ptr<HeadCache> cache;
  };

  Step(Parts parts, ActivityContext& ctx, const ModelTask& task, ActivityCompletion<ModelReply> done)
      : parts_(std::move(parts)), ctx_(ctx), task_(task), done_(std::move(done)) {}

  void Begin() {
    if (!task_.head) return Ask();
    if (auto chunks = parts_.cache->Find(task_.head->sha256)) {
      chunks_ = *std::move(chunks);
      return Ask();
    }
    next_ = task_.head;
    Load();
  }

 private:
  // Reads the chain from its newest node to its first. A store that answers at once is a loop here, no recursion.
  void Load() {
    while (next_) {
      auto turns = std::make_shared<std::atomic<int>>(0);
      ctx_.blobs().Get({*next_}, [self = shared_from_this(), turns](StatusOr<std::vector<std::string>> bytes) {
        self->Loaded(std::move(bytes));
        if (turns->exchange(1) == 1) self->Load();
      });
      if (turns->exchange(1) == 0) return;  // the answer will go on
    }
    if (ended_) return;
    std::ranges::reverse(chunks_.nodes);
    Ask();
  }

  void Loaded(StatusOr<std::vector<std::string>> bytes) {
    next_.reset();
    if (IsLost(bytes.status().code())) return Lose();
    if (!bytes.ok()) return Fail(marathon::detail::FailureOfStatus(bytes.status()));
    auto node = ConversationNode::FromBytes(bytes->front());
    if (!node.ok()) return Lose();
    next_ = std::move(node->parent);
    chunks_.Add(std::move(node->messages), bytes->front().size());
  }

  void Ask() {
    if (task_.summarize) return AskForSummary();
    llm::ChatRequest request{.model = task_.model};
    const Agent& agent = *parts_.agent;
    if (!agent.instructions.empty()) request.messages.push_back(llm::SystemMessage(agent.instructions));
    for (const auto& chunk : chunks_.nodes) {
      request.messages.insert(request.messages.end(), chunk->begin(), chunk->end());
    }
    request.messages.insert(request.messages.end(), task_.messages.begin(), task_.messages.end());
    for (const std::string& name : task_.tools) {
      const Tool* tool = FindTool(agent, name);
      // Another worker may have it.
      if (tool == nullptr) return Fail({.message = "this worker's \"" + agent.name + "\" has no tool " + name});
      request.tools.push_back(tool->definition);
    }
    request.max_tokens = agent.max_tokens;
    request.temperature = agent.temperature;
    request.output = agent.output;
    request.cache = agent.cache;
    request.extra = agent.extra;
    if (agent.stream) {
      stream_ = std::make_shared<StreamWriter>(ctx_.streams(), StreamOf(ctx_.info().key.run.run_id), task_.step,
                                               Fence());
      stream_->Begin(task_.model, task_.turn, ctx_.attempt());
    }
    Send(std::move(request));
  }

  // Nothing of it is the agent's own words: no stream, and no listener.
  void AskForSummary() {
    std::vector<llm::Message> all;
    for (const auto& chunk : chunks_.nodes) all.insert(all.end(), chunk->begin(), chunk->end());
    all.insert(all.end(), task_.messages.begin(), task_.messages.end());
    const MessageSpan span = *task_.summarize;
    if (span.empty() || span.last > all.size()) return Lose();  // the whole is not what it was
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(span.last), all.end());
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(span.first));
    task_.messages = std::move(all);
    parts_.listener = nullptr;
    Send(SummaryRequest(*parts_.agent, task_.model, task_.messages));
  }

  void Send(llm::ChatRequest request) {
    auto then = [self = shared_from_this()](std::variant<llm::ChatRequest, llm::Error> fetched) {
      if (auto* error = std::get_if<llm::Error>(&fetched)) return self->FailWith(*error);
      self->Call(std::get<llm::ChatRequest>(std::move(fetched)));
    };
    std::make_shared<llm::internal::MediaFetch>(ctx_.blobs(), std::move(request), std::move(then))->Next();
  }

  void Call(llm::ChatRequest request) {
    auto on_delta = [self = shared_from_this()](const llm::Delta& delta) {
      self->ctx_.Heartbeat().IgnoreError();  // advice only
      self->said_.Add(delta);
      if (self->stream_) self->stream_->Add(delta);
      if (self->parts_.listener) self->parts_.listener(self->ctx_.info(), delta);
    };
    auto on_result = [self = shared_from_this()](llm::ChatResult result) { self->Answered(std::move(result)); };
    llm::Pace pace = llm::internal::PaceOf(ctx_);
    pace.permit.resize(std::min(pace.permit.size(), pace.permit.find(kFreeMark)));
    reply_.attempts_lost = LostBefore(ctx_);
    parts_.model->ChatWithin(std::move(pace), std::move(request), ctx_.stop_token(), std::move(on_delta),
                             std::move(on_result));
  }

  void Answered(llm::ChatResult result) {
    if (const auto* error = std::get_if<llm::Error>(&result)) {
      const bool last_words = ctx_.canceled() && !task_.summarize && said_.Tokens() > 0;
      if (!last_words) return FailWith(*error);
      reply_.stopped = true;
      reply_.said_tokens = said_.Tokens();
      reply_.response = said_.Response();
      if (reply_.response.blocks.empty()) return Leave();
    } else {
      reply_.response = std::get<llm::ChatResponse>(std::move(result));
    }
    const bool summary = task_.summarize.has_value();
    ConversationNode node{summary ? std::nullopt : task_.head, std::move(task_.messages)};
    node.messages.push_back(llm::AsMessage(reply_.response));
    std::string bytes;
    try {
      bytes = node.ToBytes();
    } catch (const std::exception&) {
      return Fail({.non_retryable = true, .message = "the model's answer has text that is not UTF-8"});
    }
    reply_.head = RefOf(bytes);
    if (summary) return Finish();
    chunks_.Add(std::move(node.messages), bytes.size());
    parts_.cache->Put(reply_.head.sha256, std::move(chunks_), task_.head ? task_.head->sha256 : "");
    // What cannot be kept is sent once more, when it is wanted.
    ctx_.blobs().Put({std::move(bytes)}, [self = shared_from_this()](const StatusOr<std::vector<BlobRef>>&) {
      self->Finish();
    });
  }

  // The stream has all of an answer before the history does, so that whoever reads both misses nothing.
  void Finish() {
    if (!stream_) return done_.Complete(reply_);
    stream_->Finish(reply_.response, reply_.head.sha256, [self = shared_from_this()](bool written) {
      self->reply_.unseen = !written;
      self->done_.Complete(self->reply_);
    });
  }

  // It was thinking, say: nothing of it can be kept, but it has cost.
  void Leave() {
    if (!stream_) return done_.Complete(reply_);
    stream_->Abandon([self = shared_from_this()](bool) { self->done_.Complete(self->reply_); });
  }

  // A task that is sent again is an activity of its own, whose epochs say nothing of the first one's.
  uint64_t Fence() const {
    return static_cast<uint64_t>(ctx_.info().epoch) + (task_.again ? uint64_t{1} << 62 : 0);
  }

  void Lose() {
    ended_ = true;
    reply_.lost = true;
    done_.Complete(reply_);
  }
  void Fail(Failure failure) {
    ended_ = true;
    if (!stream_) return done_.Fail(std::move(failure));
    stream_->Abandon([self = shared_from_this(), failure = std::move(failure)](bool) mutable {
      self->done_.Fail(std::move(failure));
    });
  }

  void FailWith(const llm::Error& error) {
    if (!error.permit.empty()) return Postpone(error);
    const bool costs = MayHaveCost(error);
    const bool shut_down = error.error_class == llm::ErrorClass::kCanceled && ctx_.stop_token().stop_requested() &&
                           !ctx_.canceled();
    if (shut_down && costs) return ComeBack(Duration(0), WithFree("", FreeAttempts(ctx_) - 1));
    if (!costs) {  // at once, or not at all: there was no heartbeat before
      ctx_.Heartbeat(WithFree("", FreeAttempts(ctx_) + 1 - ctx_.info().deliveries)).IgnoreError();
    }
    const uint64_t seed = marathon::detail::HashOf(ctx_.idempotency_key());
    Failure failure = llm::internal::FailureOf(error, ctx_.attempt(), seed);
    if (auto details = Encode(LostAttempts{reply_.attempts_lost + (costs ? 1 : 0)}); details.ok()) {
      failure.details = *std::move(details);
    }
    Fail(std::move(failure));
  }

  // As llm::internal::KeptPermit reads it.
  void Postpone(const llm::Error& error) {
    const std::string details = WithFree(std::to_string(ctx_.info().epoch) + " " + error.permit, FreeAttempts(ctx_));
    ComeBack(error.retry_after.value_or(Duration(0)), details);
  }

  void ComeBack(Duration delay, const std::string& details) {
    if (!stream_) return done_.Postpone(delay, details);
    stream_->Abandon([self = shared_from_this(), delay, details](bool) { self->done_.Postpone(delay, details); });
  }

  Parts parts_;
  ActivityContext& ctx_;  // lives until done_ is used
  ModelTask task_;
  ActivityCompletion<ModelReply> done_;
  std::optional<BlobRef> next_;  // node to read
  std::shared_ptr<StreamWriter> stream_;
  Said said_;
  Chunks chunks_;
  ModelReply reply_;
  bool ended_ = false;
};

}  // namespace

ModelActivity::ModelActivity(std::shared_ptr<const Agent> agent, std::shared_ptr<llm::Model> model,
                             llm::DeltaListener listener)
    : agent_(std::move(agent)),
      model_(std::move(model)),
      listener_(std::move(listener)),
      cache_(std::make_shared<HeadCache>(kCacheBytes)) {}

void ModelActivity::operator()(ActivityContext& ctx, const ModelTask& task,
                               ActivityCompletion<ModelReply> done) const {
  Step::Parts parts{agent_, model_, listener_, cache_};
  std::make_shared<Step>(std::move(parts), ctx, task, std::move(done))->Begin();
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
