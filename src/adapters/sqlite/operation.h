// SqliteStore::Operation: one call, from its request to its reply.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {

// `Reply` is Status or a StatusOr; `Body` makes one of a Transaction.
template <class Reply, class Body>
class SqliteStore::Operation final : public SqliteOperation {
 public:
  Operation(SqliteStore* store, Access access, Body body, Callback<void(Reply)> done)
      : store_(store), access_(access), body_(std::move(body)), done_(std::move(done)) {}

  bool writes() const override { return access_ == Access::kWrite; }

  void Apply() override {
    effects_ = Effects();
    effects_.events_awaited = store_->hub_.AwaitsEvents();
    awaited_.clear();
    Transaction transaction{*store_->tables_,      *store_->blob_table_, *store_->stream_table_,
                            *store_->limit_table_, *store_->place_table_, store_->now_, effects_,
                            {store_->options_.resend, store_->options_.closed_keep}};
    reply_.emplace(body_(transaction));
    for (const std::vector<RunKey>* runs : {&effects_.closed, &effects_.answered}) {
      for (const RunKey& run : *runs) AnswerAwaited(transaction, run);
    }
  }

  void Finish(Status status) override {
    if (!status.ok()) return done_(std::move(status));
    store_->hub_.Publish(std::move(effects_));
    for (const Awaited& awaited : awaited_) store_->hub_.AnswerAwaiters(awaited);
    done_(*std::move(reply_));
  }

 private:
  void AnswerAwaited(Transaction& transaction, const RunKey& run) {
    for (AwaitRequest& request : store_->hub_.AwaitedOf(run)) {
      auto read = transaction.protocol().ReadAwaited(request);
      if (!read.ok()) {
        awaited_.push_back({std::move(request), read.status()});
      } else if (read->has_value()) {
        awaited_.push_back({std::move(request), **std::move(read)});
      }
    }
  }

  SqliteStore* const store_;
  const Access access_;
  Body body_;
  Callback<void(Reply)> done_;
  std::optional<Reply> reply_;
  Effects effects_;
  std::vector<Awaited> awaited_;  // what came true with this operation
};

template <class Reply, class Body>
void SqliteStore::RunAlone(Body body, Callback<void(Reply)> done) {
  if (Status status = CheckProcess(); !status.ok()) return done(std::move(status));
  commits_->RunAlone(
      std::make_unique<Operation<Reply, Body>>(this, Access::kWrite, std::move(body), std::move(done)));
}

template <class Reply, class Body>
void SqliteStore::Enqueue(Access access, Body body, Callback<void(Reply)> done) {
  if (Status status = CheckProcess(); !status.ok()) return done(std::move(status));
  commits_->Enqueue(std::make_unique<Operation<Reply, Body>>(this, access, std::move(body),
                                                             std::move(done)));
}

}  // namespace marathon::inline MARATHON_ABI::detail
