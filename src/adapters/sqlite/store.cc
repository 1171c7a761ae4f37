// SqliteStore: the calls of StateStore. Sessions and other processes are in store_sessions.cc.
#include "store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <utility>

#include "database.h"
#include "marathon/store/blob_rules.h"
#include "operation.h"

namespace marathon::inline MARATHON_ABI::detail {

StatusOr<std::shared_ptr<SqliteStore>> SqliteStore::Open(const std::string& path,
                                                         const std::string& name_space,
                                                         const SqliteOptions& options,
                                                         Runtime& runtime) {
  auto connection = OpenSqliteDatabase(path, options);
  if (!connection.ok()) return connection.status();
  const StatusOr<int64_t> ns = SqliteNamespace(**connection, name_space);
  if (!ns.ok()) return ns.status();
  std::shared_ptr<SqliteStore> store(
      new SqliteStore(path, name_space, *ns, *std::move(connection), options, runtime));
  store->commits_->SetOwner(store);
  if (!options.user_schema.empty()) {
    Status made = store->guard_->RunScript(options.user_schema, "SqliteOptions::user_schema");
    if (!made.ok()) return made;
  }
  return store;
}

SqliteStore::SqliteStore(std::string path, const std::string& name_space, int64_t ns,
                         std::unique_ptr<SqliteConnection> connection,
                         const SqliteOptions& options, Runtime& runtime)
    : path_(std::move(path)),
      domain_(fmt::format("sqlite:{}?namespace={}", path_, name_space)),
      ns_(ns),
      pid_(getpid()),
      options_(options),
      runtime_(runtime),
      connection_(std::move(connection)),
      tables_(std::make_unique<SqliteTables>(*connection_, ns, options.closed_bytes)),
      blob_table_(std::make_unique<SqliteBlobTable>(*connection_, ns, options.blob_keep)),
      stream_table_(std::make_unique<SqliteStreamTable>(*connection_, ns, options.stream_keep)),
      limit_table_(std::make_unique<SqliteLimitTable>(*connection_, ns)),
      place_table_(std::make_unique<SqlitePlaceTable>(*connection_, ns)),
      guard_(std::make_unique<SqliteGuard>(*connection_, runtime)),
      checkpointer_(
          std::make_unique<WalCheckpointer>(&runtime, connection_.get(), path_, options.full_sync)),
      commits_(std::make_shared<GroupCommit>(&runtime, connection_.get(),
                                             static_cast<SqliteTransactionHooks*>(this))) {
  scanned_.log = tables_->LastLogRow();
  scanned_.erased = tables_->RunsErased();
  opened_runs_ = tables_->LastRun();
  static_cast<void>(connection_->TakeError());  // the first transaction will tell
}

SqliteStore::~SqliteStore() {
  if (getpid() != pid_) {
    // A child after fork(): the file, its locks and the threads are the parent's. Nothing is touched.
    for (auto& [session, lock] : locks_) lock.Abandon();
    new std::shared_ptr<GroupCommit>(std::move(commits_));
    static_cast<void>(checkpointer_.release());
    static_cast<void>(tables_.release());
    static_cast<void>(blob_table_.release());
    static_cast<void>(stream_table_.release());
    static_cast<void>(limit_table_.release());
    static_cast<void>(place_table_.release());
    static_cast<void>(guard_.release());
    static_cast<void>(connection_.release());
    return;
  }
  AlarmId alarm = 0;
  {
    std::lock_guard lock(mutex_);
    alarm = std::exchange(alarm_, 0);
  }
  if (alarm != 0) runtime_.CancelAlarm(alarm);
  commits_->Close();
}

Status SqliteStore::CheckProcess() const {
  if (getpid() == pid_) return Status();
  return FailedPrecondition("an SQLite store must not be used after fork(): open it in the child");
}

void SqliteStore::OnBegin() {
  now_ = std::max(now_, runtime_.Now());  // a clock that is set back stands still here
  tables_->OnBegin(now_);
}

// ---- Runs

void SqliteStore::Start(StartRequest request, Done<StartReply> done) {
  Enqueue<StatusOr<StartReply>>(
      Access::kWrite,
      [request = std::move(request)](Transaction& tx) {
        return tx.protocol().Start(StartRequest(request));
      },
      std::move(done));
}

void SqliteStore::Put(PutRequest request, Done<PutReply> done) {
  Enqueue<StatusOr<PutReply>>(
      Access::kWrite,
      [request = std::move(request)](Transaction& tx) {
        return tx.protocol().Put(PutRequest(request));
      },
      std::move(done));
}

void SqliteStore::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  Enqueue<StatusOr<RunSnapshot>>(
      Access::kWrite,
      [request = std::move(request)](Transaction& tx) { return tx.protocol().TakeTurn(request); },
      std::move(done));
}

void SqliteStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  Enqueue<StatusOr<CommitReply>>(
      Access::kWrite,
      [commit = std::move(commit)](Transaction& tx) {
        return tx.protocol().Commit(TurnCommit(commit));
      },
      std::move(done));
}

void SqliteStore::Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [run = std::move(run), version, info = std::move(info)](Transaction& tx) {
        return tx.protocol().Block(run, version, BlockInfo(info));
      },
      std::move(done));
}

void SqliteStore::Unblock(RunKey run, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [run = std::move(run)](Transaction& tx) { return tx.protocol().Unblock(run); },
      std::move(done));
}

// ---- What operators do

void SqliteStore::Pause(RunKey run, std::string reason, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [run = std::move(run), reason = std::move(reason)](Transaction& tx) {
        return tx.protocol().Pause(run, std::string(reason));
      },
      std::move(done));
}

void SqliteStore::Resume(RunKey run, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [run = std::move(run)](Transaction& tx) { return tx.protocol().Resume(run); },
      std::move(done));
}

void SqliteStore::Pin(RunKey run, std::string build_id, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [run = std::move(run), build_id = std::move(build_id)](Transaction& tx) {
        return tx.protocol().Pin(run, std::string(build_id));
      },
      std::move(done));
}

void SqliteStore::RetryActivity(ActivityKey key, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [key = std::move(key)](Transaction& tx) { return tx.protocol().RetryActivity(key); },
      std::move(done));
}

void SqliteStore::Delete(RunKey run, DoneStatus done) {
  Enqueue<Status>(
      Access::kWrite,
      [run = std::move(run)](Transaction& tx) { return tx.protocol().Delete(run); },
      std::move(done));
}

// ---- Activities

void SqliteStore::ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                                  Done<std::vector<ActivityRow>> done) {
  Enqueue<StatusOr<std::vector<ActivityRow>>>(
      Access::kWrite,
      [session = std::move(session), requests = std::move(requests)](
          Transaction& tx) -> StatusOr<std::vector<ActivityRow>> {
        SqliteProtocol protocol = tx.protocol();
        if (Status status = protocol.SessionKnown(session); !status.ok()) return status;
        std::vector<ActivityRow> won;
        for (const ClaimRequest& request : requests) {
          if (auto row = protocol.Claim(session, request)) won.push_back(*std::move(row));
        }
        return won;
      },
      std::move(done));
}

void SqliteStore::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  Enqueue<StatusOr<AttemptReply>>(
      Access::kWrite,
      [end = std::move(end)](Transaction& tx) {
        return tx.protocol().EndAttempt(AttemptEnd(end));
      },
      std::move(done));
}

void SqliteStore::Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) {
  Enqueue<StatusOr<HeartbeatReply>>(
      Access::kWrite,
      [request = std::move(request)](Transaction& tx) {
        return tx.protocol().Heartbeat(HeartbeatRequest(request));
      },
      std::move(done));
}

// ---- Time

void SqliteStore::PollDue(DueRequest request, Done<DueReply> done) {
  hub_.BeginPoll();
  Enqueue<StatusOr<DueReply>>(
      Access::kWrite,
      [request = std::move(request)](Transaction& tx) -> StatusOr<DueReply> {
        DueReply reply;
        tx.protocol().PollDue(request, reply);
        tx.sessions().PollDue(request, reply);
        return reply;
      },
      std::move(done));
}

// ---- Blobs that runs hold

// Bytes are compared with their names when the transaction is over: that takes a while.
void SqliteStore::ReadBlobs(std::string, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) {
  using Bytes = StatusOr<std::vector<std::string>>;
  if (Status status = CheckRefs(refs); !status.ok()) return done(std::move(status));
  Enqueue<Bytes>(
      Access::kRead, [refs](Transaction& tx) { return tx.tables.ReadBlobs(refs); },
      [refs, done = std::move(done)](Bytes bytes) mutable {
        for (size_t i = 0; bytes.ok() && i < refs.size(); ++i) {
          if (Status status = CheckBlob(refs[i], (*bytes)[i]); !status.ok()) bytes = std::move(status);
        }
        done(std::move(bytes));
      });
}

// ---- Reading

void SqliteStore::Read(ReadRequest request, Done<RunSnapshot> done) {
  Enqueue<StatusOr<RunSnapshot>>(
      Access::kRead,
      [request = std::move(request)](Transaction& tx) { return tx.protocol().Read(request); },
      std::move(done));
}

void SqliteStore::List(ListRequest request, Done<ListReply> done) {
  int64_t below = std::numeric_limits<int64_t>::max();
  if (const std::string& token = request.page_token; !token.empty()) {
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), below);
    if (error != std::errc() || end != token.data() + token.size()) {
      return done(InvalidArgument("the page token is not one that List returned"));
    }
  }
  ListBelow(std::move(request), below, ListReply(), std::move(done));
}

// A filter may fit few runs of many: looking at all of them at once would keep every commit waiting.
void SqliteStore::ListBelow(ListRequest request, int64_t below, ListReply reply,
                            Done<ListReply> done) {
  constexpr int kRunsAtOnce = 2'000;
  const int limit = std::max(request.limit, 1) - static_cast<int>(reply.runs.size());
  using Page = StatusOr<SqliteTables::RunPage>;
  Enqueue<Page>(
      Access::kRead,
      [request, below, limit](Transaction& tx) -> Page {
        return tx.tables.ListRuns(request, below, limit, kRunsAtOnce);
      },
      [this, request, limit, reply = std::move(reply),
       done = std::move(done)](Page page) mutable {
        if (!page.ok()) return done(page.status());
        const int found = static_cast<int>(page->runs.size());
        reply.count += page->count;
        std::move(page->runs.begin(), page->runs.end(), std::back_inserter(reply.runs));
        if (page->next != 0 && found < limit) {
          return ListBelow(std::move(request), page->next, std::move(reply), std::move(done));
        }
        if (page->next != 0) reply.next_page_token = fmt::format("{}", page->next);
        done(std::move(reply));
      });
}

uint64_t SqliteStore::Await(AwaitRequest request, Done<RunSnapshot> done) {
  if (Status status = CheckProcess(); !status.ok()) {
    done(std::move(status));
    return 0;
  }
  const uint64_t name = hub_.AddAwaiter(request, std::move(done));
  LookForAnswer(name, std::move(request));
  return name;
}

// Answers an awaiter that has nothing to wait for. It was added before, so no end slips between.
void SqliteStore::LookForAnswer(uint64_t awaiter, AwaitRequest request) {
  using Answer = StatusOr<std::optional<RunSnapshot>>;
  const bool newest = request.run.run_id.empty();
  auto body = [request, newest](Transaction& tx) -> Answer {
    if (newest) return tx.protocol().Read({.run = request.run});  // which one is it?
    return tx.protocol().ReadAwaited(request);
  };
  Enqueue<Answer>(Access::kRead, std::move(body), [this, awaiter, request, newest](Answer answer) mutable {
    if (answer.ok() && !answer->has_value()) return KeepLooking();
    if (answer.ok() && newest) {  // of now, whatever comes later
      request.run = (*answer)->row.key;
      hub_.MoveAwaiter(awaiter, request.run);
      return LookForAnswer(awaiter, std::move(request));
    }
    Done<RunSnapshot> done = hub_.TakeAwaiter(awaiter);
    if (!done) return;
    if (answer.ok()) {
      done(**std::move(answer));
    } else {
      done(answer.status());
    }
  });
}

void SqliteStore::CancelAwait(uint64_t name) { hub_.TakeAwaiter(name); }

}  // namespace marathon::inline MARATHON_ABI::detail
