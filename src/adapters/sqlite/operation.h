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
    ends_.clear();
    Transaction transaction{*store_->tables_, store_->now_, effects_, store_->options_.resend};
    reply_.emplace(body_(transaction));
    for (const RunKey& run : effects_.closed) {
      if (!store_->hub_.IsAwaited(run)) continue;
      auto end = transaction.protocol().ReadClosed(run);
      if (end.ok() && end->has_value()) ends_.push_back(**std::move(end));
    }
  }

  void Finish(Status status) override {
    if (!status.ok()) return done_(std::move(status));
    const std::vector<RunKey> closed = std::move(effects_.closed);
    store_->hub_.Publish(std::move(effects_));
    for (const RunKey& run : closed) store_->AnswerAwaiters(run, ends_);
    done_(*std::move(reply_));
  }

 private:
  SqliteStore* const store_;
  const Access access_;
  Body body_;
  Callback<void(Reply)> done_;
  std::optional<Reply> reply_;
  Effects effects_;
  std::vector<RunSnapshot> ends_;  // of runs that somebody awaits
};

template <class Reply, class Body>
void SqliteStore::Enqueue(Access access, Body body, Callback<void(Reply)> done) {
  if (Status status = CheckProcess(); !status.ok()) return done(std::move(status));
  commits_->Enqueue(std::make_unique<Operation<Reply, Body>>(this, access, std::move(body),
                                                             std::move(done)));
}

}  // namespace marathon::inline MARATHON_ABI::detail
