// RedisStore: what goes over many runs, PollDue and List. Each begins with a look at an index and then
// asks run by run, so an entry of the index may be out of date by then; the rows decide.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <utility>

#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"
#include "marathon/store/row_codec.h"
#include "operation.h"
#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- PollDue

class RedisStore::DuePoll : public std::enable_shared_from_this<DuePoll> {
 public:
  DuePoll(RedisStore* store, DueRequest request, Done<DueReply> done)
      : store_(store), request_(std::move(request)), done_(std::move(done)) {}

  void Begin() {
    const RedisKeys& keys = store_->keys_;
    RedisStep step;
    const int64_t now = ToMicros(store_->Now());
    for (const std::string& index : {keys.due, keys.due_sessions}) {
      step.Read("ZRANGE", index, "-inf", now, "BYSCORE", "LIMIT", 0, request_.limit);
    }
    AddHeads(step);
    if (const int64_t most = store_->writer_.closed_bytes; most > 0) {
      step.Read("excess", keys.closed, step.Key(keys.closed_bytes), most, request_.limit);
    }
    store_->script_.Send(std::move(step), std::nullopt,
                         [self = shared_from_this()](const StatusOr<RedisStepReply>& reply) {
                           if (!reply.ok()) return self->done_(reply.status());
                           self->Start(reply->replies);
                         });
  }

 private:
  // What one run or session had to tell.
  struct Part {
    DueReply reply;
    std::vector<SessionId> ended;
    Status status;
  };

  void AddHeads(RedisStep& step) const {
    const RedisKeys& keys = store_->keys_;
    step.Read("ZRANGE", keys.due, 0, 0, "WITHSCORES");
    step.Read("ZRANGE", keys.due_sessions, 0, 0, "WITHSCORES");
  }

  void Start(const RedisReply& found) {
    std::vector<RunKey> order;
    std::map<RunKey, std::vector<DueEntry>> runs;
    const auto add = [&](const RedisReply& names) {
      for (size_t i = 0; i < names.size(); ++i) {
        const auto entry = ParseDueName(names[i].text());
        if (!entry) continue;
        std::vector<DueEntry>& entries = runs[entry->run];
        if (entries.empty()) order.push_back(entry->run);
        entries.push_back(*entry);
      }
    };
    add(found[0]);
    if (found.size() > 4) {
      add(found[4]);
      more_excess_ = std::cmp_greater_equal(found[4].size(), request_.limit);
    }
    store_->due_visited_ += static_cast<int64_t>(found[0].size() + found[1].size() +
                                                 found[2].size() / 2 + found[3].size() / 2);
    parts_.resize(order.size() + found[1].size());
    left_ = parts_.size();
    if (left_ == 0) return Finish(found[2], found[3]);
    for (size_t i = 0; i < order.size(); ++i) PollRun(i, order[i], std::move(runs[order[i]]));
    for (size_t i = 0; i < found[1].size(); ++i) {
      PollSession(order.size() + i, SessionId(found[1][i].text()));
    }
  }

  void PollRun(size_t part, const RunKey& run, std::vector<DueEntry> entries) {
    store_->Enqueue<Status>(
        RedisLanes::OfWorkflow(run.workflow_id), Together::kNo,
        [self = shared_from_this(), part, entries](RedisTransaction& tx) {
          self->parts_[part].reply = DueReply();
          tx.tables.SetDue(entries);
          tx.protocol().PollDue(self->request_, self->parts_[part].reply);
          return Status();
        },
        [self = shared_from_this(), part, entries](Status status) {
          if (status.code() == StatusCode::kDataLoss) self->SetAside(entries);
          self->Done(part, std::move(status));
        });
  }

  void PollSession(size_t part, const SessionId& session) {
    store_->Enqueue<Status>(
        RedisLanes::OfSession(session), Together::kNo,
        [self = shared_from_this(), part, session](RedisTransaction& tx) {
          self->parts_[part].reply = DueReply();
          tx.tables.SetDueSessions({session});
          tx.sessions().PollDue(self->request_, self->parts_[part].reply);
          self->parts_[part].ended = tx.tables.ended_sessions();
          for (const SessionId& ended : self->parts_[part].ended) {
            tx.tables.writes().Write("ZADD", self->store_->keys_.due_sessions,
                                     ToMicros(AddSaturated(tx.now, limits::kDueAgain)), ended);
          }
          return Status();
        },
        [self = shared_from_this(), part](Status status) { self->Done(part, std::move(status)); });
  }

  // A damaged row goes out of the index, so that the others go on.
  void SetAside(const std::vector<DueEntry>& entries) {
    RedisStep step;
    for (const DueEntry& entry : entries) {
      RedisTables::Drop(store_->keys_, entry, step);
    }
    store_->script_.Send(std::move(step), std::nullopt, [](const StatusOr<RedisStepReply>&) {});
  }

  void Done(size_t part, Status status) {
    parts_[part].status = std::move(status);
    if (--left_ > 0) return;
    RedisStep step;
    AddHeads(step);
    store_->script_.Send(std::move(step), std::nullopt,
                         [self = shared_from_this()](const StatusOr<RedisStepReply>& reply) {
                           if (!reply.ok()) return self->Finish({}, {}, reply.status());
                           self->Finish(reply->replies[0], reply->replies[1]);
                         });
  }

  // `error`: of what has been left out.
  void Finish(const RedisReply& runs, const RedisReply& sessions, Status error = {}) {
    DueReply reply;
    bool any = parts_.empty();
    for (Part& part : parts_) {
      if (!part.status.ok() && part.status.code() != StatusCode::kDataLoss) {
        error = part.status;
        continue;
      }
      any = true;
      if (!part.status.ok()) continue;
      Append(part.reply.ready, reply.ready);
      Append(part.reply.expired_activities, reply.expired_activities);
      Append(part.reply.expired_runs, reply.expired_runs);
      Append(part.reply.claimable, reply.claimable);
      Append(part.reply.expired_sessions, reply.expired_sessions);
      Append(part.ended, reply.expired_sessions);
    }
    if (!any) return done_(std::move(error));
    reply.now = store_->shared_.clock->Now();
    for (const RedisReply* head : {&runs, &sessions}) {
      if (head->size() > 1) reply.next_due = std::min(reply.next_due, store_->InCommonTime((*head)[1].time()));
    }
    if (more_excess_) reply.next_due = reply.now;
    // What failed is still due, and first: asked at once, it would be asked without a pause.
    if (!error.ok()) reply.next_due = reply.now + kDueAfterError;
    done_(std::move(reply));
  }

  template <class T>
  static void Append(std::vector<T>& from, std::vector<T>& to) {
    std::move(from.begin(), from.end(), std::back_inserter(to));
  }

  RedisStore* const store_;
  const DueRequest request_;
  marathon::Done<DueReply> done_;
  std::vector<Part> parts_;
  size_t left_ = 0;
  bool more_excess_ = false;
};

void RedisStore::PollDue(DueRequest request, Done<DueReply> done) {
  hub_.BeginPoll();
  loop_.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    std::make_shared<DuePoll>(this, std::move(request), std::move(done))->Begin();
  });
}

// ---- List

class RedisStore::ListPage : public std::enable_shared_from_this<ListPage> {
 public:
  ListPage(RedisStore* store, ListRequest request, Done<ListReply> done)
      : store_(store), request_(std::move(request)), done_(std::move(done)) {}

  // Runs below a number, newest first; 0: from the newest.
  void Look(int64_t below) {
    const std::string from = below == 0 ? "+inf" : fmt::format("({}", below);
    const Labels& wanted = request_.attributes;
    const RedisKeys& keys = store_->keys_;
    RedisStep step;
    step.Read("ZRANGE", wanted.empty() ? keys.runs : keys.Attribute(wanted[0].first, wanted[0].second), from, "-inf", "BYSCORE", "REV", "LIMIT", 0, kRunsAtOnce,
              "WITHSCORES");
    store_->script_.Send(std::move(step), std::nullopt,
                         [self = shared_from_this()](const StatusOr<RedisStepReply>& reply) {
                           if (!reply.ok()) return self->done_(reply.status());
                           self->ReadRows(reply->replies[0]);
                         });
  }

 private:
  static constexpr int kRunsAtOnce = 200;

  void ReadRows(const RedisReply& found) {
    numbers_.clear();
    RedisStep step;
    for (size_t i = 0; i + 1 < found.size(); i += 2) {
      numbers_.push_back(found[i + 1].number());
      step.Read("HGET", store_->keys_.Run(found[i].text()), "r");
    }
    if (numbers_.empty()) return done_(std::move(reply_));
    store_->script_.Send(std::move(step), std::nullopt,
                         [self = shared_from_this()](const StatusOr<RedisStepReply>& reply) {
                           if (!reply.ok()) return self->done_(reply.status());
                           self->Filter(reply->replies);
                         });
  }

  void Filter(const RedisReply& rows) {
    const size_t limit = static_cast<size_t>(std::max(request_.limit, 1));
    for (size_t i = 0; i < numbers_.size(); ++i) {
      if (reply_.runs.size() == limit) {
        reply_.next_page_token = fmt::format("{}", numbers_[i] + 1);
        return done_(std::move(reply_));
      }
      auto row = DecodeRow<RunRow>(rows[i].text());  // a damaged one is nobody's to list
      if (!row.ok() || !Fits(request_, *row)) continue;
      if (request_.count_only) {
        ++reply_.count;
      } else {
        reply_.runs.push_back(*std::move(row));
      }
    }
    Look(numbers_.back());
  }

  RedisStore* const store_;
  const ListRequest request_;
  Done<ListReply> done_;
  std::vector<int64_t> numbers_;
  ListReply reply_;
};

void RedisStore::List(ListRequest request, Done<ListReply> done) {
  int64_t below = 0;
  if (const std::string& token = request.page_token; !token.empty()) {
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), below);
    if (error != std::errc() || end != token.data() + token.size() || below <= 0) {
      return done(InvalidArgument("the page token is not one that List returned"));
    }
  }
  loop_.Post([this, below, request = std::move(request), done = std::move(done)]() mutable {
    std::make_shared<ListPage>(this, std::move(request), std::move(done))->Look(below);
  });
}

}  // namespace marathon::inline MARATHON_ABI::detail
