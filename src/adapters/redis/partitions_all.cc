// RedisPartitions: the calls that go to all partitions, and the task queue.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "gather.h"
#include "partitions.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

Status StatusOf(const Status& status) { return status; }
template <class T>
Status StatusOf(const StatusOr<T>& reply) {
  return reply.status();
}

template <class Result>
Status FirstError(const std::vector<Result>& results) {
  for (const Result& result : results) {
    if (!result.ok()) return StatusOf(result);
  }
  return {};
}

template <class T>
void Append(std::vector<T>&& from, std::vector<T>& to) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
}

// What a page token says of a partition that has no more.
constexpr std::string_view kExhausted = "-";

}  // namespace

template <class Result, class Call>
void RedisPartitions::OnAll(Call call, Callback<void(std::vector<Result>)> done) {
  const Gather<Result> gather(stores_.size(), std::move(done));
  for (size_t i = 0; i < stores_.size(); ++i) call(*stores_[i], gather.Place(i));
}

// ---- Sessions: one is open when it is in all partitions, and has ended when it has in one

void RedisPartitions::OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher,
                                  Done<Time> done) {
  const auto open = [row](RedisStore& store, Done<Time> one) {
    store.OpenSession(row, {}, std::move(one));
  };
  OnAll<StatusOr<Time>>(open,
                        [this, id = row.id, watcher = std::move(watcher),
                         done = std::move(done)](std::vector<StatusOr<Time>> replies) mutable {
                          if (Status error = FirstError(replies); !error.ok()) {
                            for (size_t i = 0; i < replies.size(); ++i) {
                              if (replies[i].ok())
                                stores_[i]->CloseSession(id, [](const Status&) {});
                            }
                            return done(std::move(error));
                          }
                          shared_.hub.AddWatcher(id, std::move(watcher));
                          Time now{};
                          for (const StatusOr<Time>& reply : replies) now = std::max(now, *reply);
                          done(now);
                        });
}

void RedisPartitions::RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) {
  using Reply = StatusOr<std::vector<ActivityKey>>;
  const auto renew = [request](RedisStore& store, Done<std::vector<ActivityKey>> one) {
    store.RenewSession(request, std::move(one));
  };
  OnAll<Reply>(renew, [this, id = request.session,
                       done = std::move(done)](std::vector<Reply> replies) mutable {
    const auto ended = std::find_if(replies.begin(), replies.end(), [](const Reply& reply) {
      return reply.status().code() == StatusCode::kFailedPrecondition;
    });
    if (ended != replies.end()) {
      for (size_t i = 0; i < replies.size(); ++i) {
        if (replies[i].ok()) stores_[i]->CloseSession(id, [](const Status&) {});
      }
      return done(ended->status());
    }
    if (Status error = FirstError(replies); !error.ok()) return done(std::move(error));
    std::vector<ActivityKey> canceled;
    for (Reply& reply : replies) Append(*std::move(reply), canceled);
    done(std::move(canceled));
  });
}

void RedisPartitions::CloseSession(SessionId session, DoneStatus done) {
  const auto close = [session](RedisStore& store, DoneStatus one) {
    store.CloseSession(session, std::move(one));
  };
  OnAll<Status>(close, [done = std::move(done)](std::vector<Status> replies) mutable {
    done(FirstError(replies));
  });
}

// Servers' clocks differ: where it has not expired yet, it ends when its owner finds it gone
// elsewhere.
void RedisPartitions::ExpireSession(SessionId session, DoneStatus done) {
  const auto expire = [session](RedisStore& store, DoneStatus one) {
    store.ExpireSession(session, std::move(one));
  };
  OnAll<Status>(expire, [done = std::move(done)](std::vector<Status> replies) mutable {
    const auto renewed = [](const Status& reply) { return reply.code() == StatusCode::kAborted; };
    Status all = replies.front();
    if (!std::all_of(replies.begin(), replies.end(), renewed)) {
      std::erase_if(replies, renewed);
      all = FirstError(replies);
    }
    done(std::move(all));
  });
}

// ---- Activities of many runs

void RedisPartitions::ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                                      Done<std::vector<ActivityRow>> done) {
  using Reply = StatusOr<std::vector<ActivityRow>>;
  std::map<RedisStore*, std::vector<ClaimRequest>> parts;
  std::vector<ActivityKey> order;
  for (ClaimRequest& request : requests) {
    order.push_back(request.key);
    parts[&Of(request.key.run.workflow_id)].push_back(std::move(request));
  }
  if (parts.empty()) return done(std::vector<ActivityRow>());
  const Gather<Reply> gather(parts.size(), [order = std::move(order), done = std::move(done)](
                                               std::vector<Reply> replies) mutable {
    std::map<ActivityKey, ActivityRow> won;
    for (Reply& reply : replies) {
      if (!reply.ok()) continue;
      for (ActivityRow& row : *reply) {
        ActivityKey key = row.key;
        won.emplace(std::move(key), std::move(row));
      }
    }
    if (Status error = FirstError(replies); !error.ok()) {
      const bool in_doubt = std::any_of(replies.begin(), replies.end(), [](const Reply& reply) {
        return reply.status().code() == StatusCode::kUnknown;
      });
      // As in a partition: what was won, and what perhaps was, the caller is to look at.
      if (won.empty() && !in_doubt) return done(std::move(error));
      return done(Unknown(MessageOf(error)));
    }
    std::vector<ActivityRow> rows;
    for (const ActivityKey& key : order) {
      if (auto row = won.extract(key)) rows.push_back(std::move(row.mapped()));
    }
    done(std::move(rows));
  });
  size_t i = 0;
  for (auto& [store, claims] : parts) {
    store->ClaimActivities(session, std::move(claims), gather.Place(i++));
  }
}

// ---- Time

// What some partitions answer counts, though others do not; these are asked again in a while.
void RedisPartitions::PollDue(DueRequest request, Done<DueReply> done) {
  using Reply = StatusOr<DueReply>;
  const auto poll = [request](RedisStore& store, Done<DueReply> one) {
    store.PollDue(request, std::move(one));
  };
  OnAll<Reply>(poll, [done = std::move(done)](std::vector<Reply> replies) mutable {
    DueReply all;
    std::set<SessionId> sessions;
    bool any = false;
    for (Reply& reply : replies) {
      if (!reply.ok()) continue;
      any = true;
      all.now = std::max(all.now, reply->now);
      all.next_due = std::min(all.next_due, reply->next_due);
      Append(std::move(reply->ready), all.ready);
      Append(std::move(reply->expired_activities), all.expired_activities);
      Append(std::move(reply->expired_runs), all.expired_runs);
      Append(std::move(reply->claimable), all.claimable);
      for (SessionId& id : reply->expired_sessions) sessions.insert(std::move(id));
    }
    Status error = FirstError(replies);
    if (!any) return done(std::move(error));
    all.expired_sessions.assign(sessions.begin(), sessions.end());
    if (!error.ok()) all.next_due = std::min(all.next_due, all.now + kDueAfterError);
    done(std::move(all));
  });
}

// ---- List: pages of all partitions, merged by start

struct RedisPartitions::MergedList {
  // Takes the newest rows of all partitions' pages, up to the limit.
  void Take(std::vector<StatusOr<ListReply>>& pages);

  ListRequest request;
  std::vector<std::string> tokens;  // of each partition: where its next row is
  std::vector<size_t> taken;        // how many rows came from it
  ListReply reply;
};

void RedisPartitions::MergedList::Take(std::vector<StatusOr<ListReply>>& pages) {
  const size_t limit = static_cast<size_t>(std::max(request.limit, 1));
  taken.assign(pages.size(), 0);
  const auto next = [&](size_t i) -> RunRow& { return pages[i]->runs[taken[i]]; };
  while (reply.runs.size() < limit) {
    size_t newest = pages.size();
    for (size_t i = 0; i < pages.size(); ++i) {
      if (taken[i] == pages[i]->runs.size()) continue;
      if (newest == pages.size() || next(i).start_time > next(newest).start_time) newest = i;
    }
    if (newest == pages.size()) break;
    reply.runs.push_back(std::move(next(newest)));
    ++taken[newest];
  }
}

namespace {

std::string JoinTokens(const std::vector<std::string>& tokens) {
  const bool over = std::all_of(tokens.begin(), tokens.end(),
                                [](const std::string& token) { return token == kExhausted; });
  return over ? std::string() : fmt::format("{}", fmt::join(tokens, ","));
}

std::vector<std::string> SplitTokens(std::string_view text, size_t count) {
  std::vector<std::string> tokens;
  if (text.empty()) return std::vector<std::string>(count);
  for (size_t at = 0; at != text.npos;) {
    const size_t comma = text.find(',', at);
    tokens.emplace_back(text.substr(at, comma == text.npos ? comma : comma - at));
    at = comma == text.npos ? comma : comma + 1;
  }
  return tokens;
}

}  // namespace

void RedisPartitions::Count(ListRequest request, Done<ListReply> done) {
  using Reply = StatusOr<ListReply>;
  const auto count = [request](RedisStore& store, Done<ListReply> one) {
    store.List(request, std::move(one));
  };
  OnAll<Reply>(count, [done = std::move(done)](std::vector<Reply> replies) mutable {
    if (Status error = FirstError(replies); !error.ok()) return done(std::move(error));
    ListReply all;
    for (const Reply& reply : replies) all.count += reply->count;
    done(std::move(all));
  });
}

void RedisPartitions::List(ListRequest request, Done<ListReply> done) {
  if (request.count_only) return Count(std::move(request), std::move(done));
  auto list = std::make_shared<MergedList>();
  list->tokens = SplitTokens(request.page_token, stores_.size());
  list->request = std::move(request);
  const auto valid = [](const std::string& token) {
    return token == kExhausted || token.find_first_not_of("0123456789") == token.npos;
  };
  if (list->tokens.size() != stores_.size() ||
      !std::all_of(list->tokens.begin(), list->tokens.end(), valid)) {
    return done(InvalidArgument("the page token is not one that List returned"));
  }
  ListFrom(list, /*limits=*/{}, [this, list, done = std::move(done)](auto replies) mutable {
    if (Status error = FirstError(replies); !error.ok()) return done(std::move(error));
    list->Take(replies);
    // Where only some rows of a partition were taken, the page ends behind those.
    std::vector<int> again(replies.size(), 0);
    for (size_t i = 0; i < replies.size(); ++i) {
      if (list->taken[i] < replies[i]->runs.size()) again[i] = static_cast<int>(list->taken[i]);
    }
    ListFrom(list, again,
             [list, again, first = std::move(replies), done = std::move(done)](auto ends) mutable {
               if (Status error = FirstError(ends); !error.ok()) return done(std::move(error));
               for (size_t i = 0; i < ends.size(); ++i) {
                 const bool all = list->taken[i] == first[i]->runs.size();
                 if (!all && again[i] == 0) continue;  // none was taken
                 const std::string& next = (all ? first : ends)[i]->next_page_token;
                 list->tokens[i] = next.empty() ? kExhausted : next;
               }
               list->reply.next_page_token = JoinTokens(list->tokens);
               done(std::move(list->reply));
             });
  });
}

// A page of each partition from where `list` stands: of its limit, or of `limits`, where 0 means
// none.
void RedisPartitions::ListFrom(const std::shared_ptr<MergedList>& list, std::vector<int> limits,
                               Callback<void(std::vector<StatusOr<ListReply>>)> done) {
  const Gather<StatusOr<ListReply>> gather(stores_.size(), std::move(done));
  for (size_t i = 0; i < stores_.size(); ++i) {
    ListRequest request = list->request;
    request.page_token = list->tokens[i];
    if (!limits.empty()) request.limit = limits[i];
    auto place = gather.Place(i);
    if (request.page_token == kExhausted || request.limit == 0) {
      place(ListReply());
    } else {
      stores_[i]->List(std::move(request), std::move(place));
    }
  }
}

// ---- TaskQueue

void RedisPartitions::SendHints(std::vector<TaskHint> hints, DoneStatus done, bool given_back) {
  std::map<RedisStore*, std::vector<TaskHint>> parts;
  for (TaskHint& hint : hints) parts[&Of(hint.run.workflow_id)].push_back(std::move(hint));
  if (parts.empty()) return done(Status());
  const Gather<Status> gather(
      parts.size(),
      [done = std::move(done)](std::vector<Status> replies) mutable { done(FirstError(replies)); });
  size_t i = 0;
  for (auto& [store, part] : parts) store->SendHints(std::move(part), gather.Place(i++), given_back);
}

// Activities' were the first of those that wait, and are so again, the last of them first; turns' go behind, and stand
// before them here. By hand: std::stable_partition is deprecated in parts, as clang sees libstdc++ 12.
void RedisPartitions::GiveBack(std::vector<TaskHint> hints, DoneStatus done) {
  std::vector<TaskHint> sorted;
  sorted.reserve(hints.size());
  for (TaskHint& hint : hints) {
    if (hint.kind == TaskKind::kTurn) sorted.push_back(std::move(hint));
  }
  for (auto hint = hints.rbegin(); hint != hints.rend(); ++hint) {
    if (hint->kind != TaskKind::kTurn) sorted.push_back(std::move(*hint));
  }
  SendHints(std::move(sorted), std::move(done), /*given_back=*/true);
}

void RedisPartitions::Send(std::vector<TaskHint> hints, DoneStatus done) {
  shared_.loop.Post([this, hints = std::move(hints), done = std::move(done)]() mutable {
    SendHints(std::move(hints), std::move(done));
  });
}

void RedisPartitions::Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) {
  shared_.hub.Receive(ReceiveRequest(request), std::move(done));
  shared_.loop.Post([this, request = std::move(request)] {
    for (const auto& store : stores_) store->Fetch(request);
  });
}

// A delivered hint is off the queue at once: the store publishes again what nobody claims.
void RedisPartitions::Ack(std::vector<std::string>, DoneStatus done) { done(Status()); }

void RedisPartitions::Nack(std::vector<Delivery> deliveries, DoneStatus done) {
  std::vector<TaskHint> hints;
  for (Delivery& delivery : deliveries) hints.push_back(std::move(delivery.hint));
  shared_.loop.Post([this, hints = std::move(hints), done = std::move(done)]() mutable {
    GiveBack(std::move(hints), std::move(done));
  });
}

void RedisPartitions::StopReceiving(const SessionId& session) {
  shared_.hub.StopReceiving(session);
  shared_.loop.Post([this, session] {
    for (const auto& store : stores_) store->StopFetching(session);
    // What was fetched for it, others may have.
    GiveBack(shared_.hub.TakeWaiting(), [](const Status&) {});
  });
}

// ---- For tests

void RedisPartitions::Sync(DoneStatus done) {
  shared_.loop.Post([this, done = std::move(done)]() mutable {
    OnAll<Status>([](RedisStore& store, DoneStatus one) { store.Sync(std::move(one)); },
                  [done = std::move(done)](std::vector<Status> replies) mutable {
                    done(FirstError(replies));
                  });
  });
}

int64_t RedisPartitions::due_visited() const {
  int64_t all = 0;
  for (const auto& store : stores_) all += store->due_visited();
  return all;
}

}  // namespace marathon::inline MARATHON_ABI::detail
