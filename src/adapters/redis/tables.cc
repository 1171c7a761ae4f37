// RedisTables: attempts, runs, records and messages. The rest is in tables_items.cc.
#include "tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <concepts>
#include <utility>

#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/store/protocol_rules.h"
#include "marathon/store/row_codec.h"
#include "tables_ask.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

std::string StreamId(std::integral auto number) { return std::to_string(number) + "-0"; }

std::string ReadyIn(const RunRow& run) { return IsReady(run) ? run.owner : std::string(); }

}  // namespace

std::string RedisWriter::NewStamp() {
  char number[17] = {'.'};
  char* const end = std::to_chars(number + 1, number + sizeof number, ++stamps, 16).ptr;
  std::string stamp;
  stamp.reserve(id.size() + 1 + random.size() + sizeof number);
  stamp += id;
  stamp += '.';
  stamp += random;
  return stamp.append(number, end);
}

// ---- Attempts

void RedisTables::Begin() {
  error_ = Status();
  guess_no_run_ = false;
  reads_ = writes_ = RedisStep();
  asked_.clear();
  expected_.clear();
  runs_.clear();
  items_.clear();
  sessions_.clear();
  newest_.reset();
  ended_sessions_.clear();
}

void RedisTables::Expect(RedisStep::Check check, std::string key, std::string field,
                         std::string value, const Answer* answer) {
  Expectation expectation{check, std::move(key), std::move(field), std::move(value)};
  const bool covered =
      (answer != nullptr && answer->step == steps_) || confirmed_.contains(expectation);
  expected_[std::move(expectation)] |= covered;
}

void RedisTables::Fail(std::string_view what, const Status& status) {
  if (error_.ok()) error_ = DataLoss(fmt::format("{}: {}", what, MessageOf(status)));
}

std::optional<RedisStep> RedisTables::End() {
  if (asked_.empty()) {
    for (auto& [key, run] : runs_) WriteRun(run);
    for (auto& [key, item] : items_) WriteItem(item);
    const bool covered = std::all_of(expected_.begin(), expected_.end(),
                                     [](const auto& entry) { return entry.second; });
    if (writes_.writes() == 0 && covered) return std::nullopt;
  }
  RedisStep step = asked_.empty() ? std::move(writes_) : std::move(reads_);
  for (const auto& [one, covered] : expected_) step.Expect(one.check, one.key, one.field, one.value);
  return step;
}

void RedisTables::AddAnswers(const RedisReply& replies) {
  ++steps_;
  confirmed_.clear();
  for (const auto& [one, covered] : expected_) confirmed_.insert(one);
  for (size_t i = 0; i < asked_.size(); ++i) answers_[asked_[i]] = Answer{replies[i], steps_};
}

void RedisTables::Forget() {
  known_.Clear();
  answers_.clear();
  confirmed_.clear();
  ++steps_;
  guessing_ = false;
}

void RedisTables::Keep() {
  if (newest_) known_.newest = std::move(newest_);
  for (auto& [key, run] : runs_) {
    if (run.status == RunStatus::kRunning) {
      known_.runs[key.run_id] = {std::move(static_cast<RunRow&>(run)), std::move(run.stamp), run.due, run.no_timers};
    } else {  // nobody asks again
      known_.Forget(key);
      if (known_.newest == key.run_id) known_.newest.reset();
    }
  }
  for (auto& [key, item] : items_) {
    if (item.erased) {
      known_.activities.erase(key);
    } else {
      known_.activities[key] = {std::move(item.row), std::move(item.stamp), item.due};
    }
  }
}

// ---- Runs

RedisTables::Run* RedisTables::BlankRun() {
  blank_run_ = Run();
  return &blank_run_;
}

RedisTables::Run* RedisTables::AddRun(const RunKey& key, Stamped<RunRow> stored,
                                      const Answer* answer) {
  Run& run = runs_[key];
  static_cast<RunRow&>(run) = std::move(stored.row);
  run.name = RedisName(key);
  run.stamp = std::move(stored.stamp);
  run.due = run.stored_due = stored.due;
  run.stored_ready = ReadyIn(run);
  run.stored_version = run.version;
  run.no_timers = stored.no_timers;
  if (run.labels) run.indexed = run.labels->attributes;
  Expect(RedisStep::Check::kEquals, keys_.Run(run.name), "s", run.stamp, answer);
  return &run;
}

RedisTables::Run* RedisTables::FindRun(const RunKey& key) {
  if (const auto found = runs_.find(key); found != runs_.end()) {
    return found->second.erased ? nullptr : &found->second;
  }
  const auto known = known_.runs.find(key.run_id);
  if (known != known_.runs.end() && known->second.row.key == key) {
    return AddRun(key, known->second, nullptr);
  }
  const std::string name = RedisName(key);
  if (guess_no_run_ && !known_.newest) {
    Expect(RedisStep::Check::kAbsent, keys_.Run(name), "s", "", nullptr);
    return nullptr;
  }
  const Answer* answer = Ask("HMGET", keys_.Run(name), "s", "r", "d");
  if (answer == nullptr) return BlankRun();
  const RedisReply& reply = answer->reply;
  if (reply[0].is_nil()) {
    Expect(RedisStep::Check::kAbsent, keys_.Run(name), "s", "", answer);
    return nullptr;
  }
  StatusOr<RunRow> row = DecodeRow<RunRow>(reply[1].text());
  if (!row.ok()) {
    Fail(Name(key), row.status());
    return BlankRun();
  }
  return AddRun(key, {*std::move(row), std::string(reply[0].text()), FromMicros(reply[2].number())},
                answer);
}

RedisTables::Run* RedisTables::FindNewestRun(const std::string& workflow_id) {
  if (newest_) return FindRun({workflow_id, *newest_});
  const std::string key = keys_.Workflow(workflow_id);
  if (known_.newest) {
    Expect(RedisStep::Check::kEquals, key, "n", *known_.newest, nullptr);
    return FindRun({workflow_id, *known_.newest});
  }
  if (guess_no_run_) {
    Expect(RedisStep::Check::kAbsent, key, "n", "", nullptr);
    return nullptr;
  }
  const Answer* answer = Ask("HGET", key, "n");
  if (answer == nullptr) return BlankRun();
  if (answer->reply.is_nil()) {
    Expect(RedisStep::Check::kAbsent, key, "n", "", answer);
    return nullptr;
  }
  newest_ = std::string(answer->reply.text());
  Expect(RedisStep::Check::kEquals, key, "n", *newest_, answer);
  return FindRun({workflow_id, *newest_});
}

RedisTables::Run* RedisTables::FindRunByRequest(const std::string& workflow_id,
                                                const Id& request_id) {
  const std::string key = keys_.Workflow(workflow_id);
  const std::string field = "q" + request_id;
  if (guess_no_run_ && !known_.newest && !newest_) {
    Expect(RedisStep::Check::kAbsent, key, field, "", nullptr);
    return nullptr;
  }
  const Answer* answer = Ask("HGET", key, field);
  if (answer == nullptr) return BlankRun();
  if (answer->reply.is_nil()) {
    Expect(RedisStep::Check::kAbsent, key, field, "", answer);
    return nullptr;
  }
  const std::string run_id(answer->reply.text());
  Expect(RedisStep::Check::kEquals, key, field, run_id, answer);
  return FindRun({workflow_id, run_id});
}

RedisTables::Run& RedisTables::InsertRun(RunRow row) {
  Run& run = runs_[row.key];
  static_cast<RunRow&>(run) = std::move(row);
  run.name = RedisName(run.key);
  run.no_timers = true;
  Expect(RedisStep::Check::kAbsent, keys_.Run(run.name), "s", "", nullptr);
  const std::string workflow = keys_.Workflow(run.key.workflow_id);
  if (run.request_id.empty()) {
    writes_.Write("HSET", workflow, "n", run.key.run_id);
  } else {
    writes_.Write("HSET", workflow, "n", run.key.run_id, "q" + run.request_id, run.key.run_id);
  }
  writes_.Write("enter", keys_.runs, writes_.Key(keys_.run_counter), run.name);
  newest_ = run.key.run_id;
  return run;
}

bool RedisTables::NoteEndOf(const RunKey& key) {
  const auto found = runs_.find(key);
  if (found == runs_.end() || !found->second.stamp.empty() || !IsOpen(found->second)) return false;
  return found->second.note_end = true;
}

void RedisTables::UpdateRun(Run& run, Time due) {
  run.due = due;
  run.dirty = true;
}

void RedisTables::EraseRun(Run& run) {
  run.erased = true;
  for (const std::string& key :
       {keys_.Run(run.name), keys_.Activities(run.name), keys_.History(run.name),
        keys_.Inbox(run.name), keys_.DedupeKeys(run.name), keys_.Answers(run.name)}) {
    writes_.Write("DEL", key);
  }
  EraseTimers(run);
  if (run.has_blobs) ReleaseBlobs(run);
  IndexAttributes(run, {});
  const std::string workflow = keys_.Workflow(run.key.workflow_id);
  writes_.Write("unname", workflow, "n", run.key.run_id);
  writes_.Write("unname", workflow, "q" + run.request_id, run.key.run_id);
  writes_.Write("ZREM", keys_.runs, run.name);
  Drop(keys_, {DueEntry::What::kRun, run.key}, writes_);
  if (!IsOpen(run)) Drop(keys_, Closed(run), writes_);
}

// A closed run among all that are, with what it counts for: its history, and about its other keys.
DueEntry RedisTables::Closed(const Run& run) {
  return {DueEntry::What::kExcess, run.key, 1024 + run.history_bytes};
}

// At the end of an attempt that is complete.
void RedisTables::WriteRun(Run& run) {
  if (!run.dirty || run.erased) return;
  run.stamp = writer_.NewStamp();
  if (run.note_end) {  // as step.lua's `await` does
    writes_.Write("HSET", keys_.Run(run.name), "s", run.stamp, "r", EncodeRow(run), "d", ToMicros(run.due), "w",
                  " " + writer_.id + " ");
  } else {
    writes_.Write("HSET", keys_.Run(run.name), "s", run.stamp, "r", EncodeRow(run), "d", ToMicros(run.due));
  }
  WriteDue(keys_.due, RedisName(DueEntry{DueEntry::What::kRun, run.key}), run.stored_due, run.due);
  if (writer_.closed_bytes > 0 && !IsOpen(run) && run.due != kNever) {
    const DueEntry closed = Closed(run);
    writes_.Write("keep", keys_.closed, writes_.Key(keys_.closed_bytes), RedisName(closed), ToMicros(run.close_time),
                  closed.id, writer_.closed_bytes, keys_.due_channel);
  }
  const std::string ready = ReadyIn(run);
  MoveMember(run.name, run.stored_ready.empty() ? "" : keys_.Ready(run.stored_ready),
             ready.empty() ? "" : keys_.Ready(ready));
  if (run.labels || !run.indexed.empty()) {
    IndexAttributes(run, run.labels ? run.labels->attributes : Labels());
  }
}

// Has the run found by these and no others.
void RedisTables::IndexAttributes(Run& run, const Labels& attributes) {
  for (const auto& label : run.indexed) {
    if (HasLabels(attributes, {label})) continue;
    writes_.Write("ZREM", keys_.Attribute(label.first, label.second), run.name);
  }
  for (const auto& label : attributes) {
    if (HasLabels(run.indexed, {label})) continue;
    writes_.Write("file", keys_.Attribute(label.first, label.second), writes_.Key(keys_.runs), run.name);
  }
}

void RedisTables::WriteDue(const std::string& index, const std::string& member, Time stored,
                           Time due) {
  if (stored == due) return;
  if (due == kNever) {
    writes_.Gather("ZREM", index, {}, member);
  } else {
    writes_.Gather("due", index, RedisCommand(keys_.due_channel, writer_.id), ToMicros(due), member);
  }
}

// From one set to another; an empty key is none.
void RedisTables::MoveMember(const std::string& member, const std::string& from,
                             const std::string& to) {
  if (from == to) return;
  if (!from.empty()) writes_.Gather("SREM", from, {}, member);
  if (!to.empty()) writes_.Gather("SADD", to, {}, member);
}

std::vector<RunKey> RedisTables::ReadyRunsOf(const std::string& session) {
  if (!ready_) return {};
  const Run* run = FindRun(*ready_);
  if (run != nullptr && ReadyIn(*run) == session) return {*ready_};
  writes_.Write("SREM", keys_.Ready(session), RedisName(*ready_));
  return {};
}

// ---- Records

void RedisTables::AppendRecord(Run& run, EventId version, CommitId commit_id, std::string record) {
  writes_.Write("XADD", keys_.History(run.name), StreamId(version), "c", commit_id, "r", record);
  run.last_record = std::move(record);
}

CommitId RedisTables::CommitAt(const Run& run, EventId version) {
  const std::string id = StreamId(version);
  const Answer* answer = Ask("XRANGE", keys_.History(run.name), id, id);
  if (answer == nullptr) return 0;
  return answer->reply[0][1][1].unsigned_number();
}

bool RedisTables::ReadRecords(const Run& run, EventId after, size_t max_bytes,
                              std::vector<std::string>& out) {
  if (after < run.stored_version) {
    const Answer* answer =
        Ask("page", keys_.History(run.name), StreamId(after), run.stored_version - after, max_bytes);
    if (answer == nullptr) return false;
    for (size_t i = 1; i + 2 < answer->reply.size(); i += 3) {
      out.emplace_back(answer->reply[i + 2].text());
    }
    if (answer->reply[0].number() != 0) return true;
  }
  if (!run.last_record || after >= run.version) return false;
  if (!out.empty()) return true;  // by itself, in the next page
  out.push_back(*run.last_record);
  return false;
}

std::string RedisTables::LastRecord(const Run& run) {
  if (run.last_record) return *run.last_record;
  const Answer* answer = Ask("XREVRANGE", keys_.History(run.name), "+", "-", "COUNT", 1);
  if (answer == nullptr) return {};
  return std::string(answer->reply[0][1][3].text());
}

void RedisTables::GuessClosed(const RunKey& key) {
  if (known_.runs.contains(key.run_id)) return;  // open, when it was last seen
  Ask("XREVRANGE", keys_.History(RedisName(key)), "+", "-", "COUNT", 1);
}

// ---- Blobs that runs hold

void RedisTables::HoldBlobs(Run& run, const std::vector<NamedBlob>& blobs) {
  const std::string held = keys_.BlobsHeld(run.name);
  for (const auto& [ref, bytes] : blobs) {
    writes_.Write("hold", keys_.HeldBlob(ref.sha256), writes_.Key(keys_.BlobHolders(ref.sha256)), writes_.Key(held),
                  run.name, ref.sha256, bytes);
    run.new_blobs.insert(ref.sha256);
  }
}

void RedisTables::ReleaseBlobs(const Run& run) {
  const std::string held = keys_.BlobsHeld(run.name);
  const Answer* answer = Ask("SMEMBERS", held);
  if (answer == nullptr) return;
  std::set<std::string> digests = run.new_blobs;
  for (size_t i = 0; i < answer->reply.size(); ++i) digests.emplace(answer->reply[i].text());
  for (const std::string& sha256 : digests) {
    writes_.Write("unhold", keys_.HeldBlob(sha256), writes_.Key(keys_.BlobHolders(sha256)), run.name,
                  limits::kBlobGrace.count());
  }
  writes_.Write("DEL", held);
}

// ---- Messages

void RedisTables::AppendMessage(Run& run, Message message) {
  writes_.Write("XADD", keys_.Inbox(run.name), StreamId(message.seq), "k", message.dedupe_key, "b",
                EncodeBody(message.body));
}

void RedisTables::ReadInbox(const Run& run, uint64_t after, int limit,
                            std::vector<Message>& out) {
  if (run.inbox_size == 0) return;
  const Answer* answer = 
      Ask("page", keys_.Inbox(run.name), StreamId(after), limit, limits::kTurnMaxBytes);
  if (answer == nullptr) return;
  const RedisReply& page = answer->reply;
  for (size_t i = 1; i + 2 < page.size(); i += 3) {
    StatusOr<EventBody> body = DecodeBody(page[i + 2].text());
    if (!body.ok()) return Fail(fmt::format("a message of {}", Name(run.key)), body.status());
    const std::string_view id = page[i].text();
    Message& message = out.emplace_back();
    message.seq = RedisNumber(id.substr(0, id.find('-')));
    message.dedupe_key = page[i + 1].text();
    message.body = *std::move(body);
  }
}

// Messages are numbered without gaps and go from the front, so nobody need count them.
int64_t RedisTables::EraseMessages(Run& run, uint64_t up_to) {
  const uint64_t before = run.inbox_last - static_cast<uint64_t>(run.inbox_size);
  const uint64_t last = std::min(up_to, run.inbox_last);
  if (last <= before) return 0;
  if (last == run.inbox_last) {
    writes_.Write("DEL", keys_.Inbox(run.name));
  } else {
    writes_.Write("XTRIM", keys_.Inbox(run.name), "MINID", StreamId(last + 1));
  }
  return static_cast<int64_t>(last - before);
}

// ---- Dedupe keys

bool RedisTables::HasKey(const Run& run, const std::string& key) {
  if (run.new_keys.contains(key)) return true;
  const Answer* answer = Ask("has_key", keys_.DedupeKeys(run.name), key, ToMicros(run.keys_before),
                             run.keys_kept);
  return answer != nullptr && answer->reply.number() != 0;
}

void RedisTables::AddKey(Run& run, const std::string& key, Time seen) {
  run.new_keys.insert(key);
  writes_.Write("ZADD", keys_.DedupeKeys(run.name), ToMicros(seen), key);
}

void RedisTables::TrimKeys(Run& run, Time before, size_t keep) {
  run.keys_before = before;
  run.keys_kept = static_cast<int64_t>(keep);
  writes_.Write("trim", keys_.DedupeKeys(run.name), ToMicros(before), keep,
                writes_.Key(keys_.Answers(run.name)));
}

void RedisTables::MoveKeys(Run& from, Run& to) {
  writes_.Write("move_keys", keys_.DedupeKeys(from.name),
                writes_.Key(keys_.DedupeKeys(to.name)));
  writes_.Write("move_keys", keys_.Answers(from.name), writes_.Key(keys_.Answers(to.name)));
}

void RedisTables::SetAnswer(Run& run, const std::string& key, const std::string& answer, Time seen) {
  AddKey(run, key, seen);
  run.new_answers[key] = answer;
  writes_.Write("HSET", keys_.Answers(run.name), key, answer);
}

std::optional<std::string> RedisTables::AnswerTo(const Run& run, const std::string& key) {
  if (const auto found = run.new_answers.find(key); found != run.new_answers.end()) {
    return found->second;
  }
  const Answer* answer = Ask("HGET", keys_.Answers(run.name), key);
  if (answer == nullptr || answer->reply.is_nil()) return std::nullopt;
  return std::string(answer->reply.text());
}

void RedisTables::ReplaceAnswers(Run& run, const std::string& from, const std::string& to,
                                 Time seen) {
  writes_.Write("replace", keys_.Answers(run.name), writes_.Key(keys_.DedupeKeys(run.name)), from, to,
                ToMicros(seen));
}

}  // namespace marathon::inline MARATHON_ABI::detail
