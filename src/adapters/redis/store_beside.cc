// RedisStore: blobs, streams, limits and places. They need no row machine: each call is one verb of the script.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/limits.h"
#include "marathon/store/blob_rules.h"
#include "marathon/store/limit_rules.h"
#include "marathon/store/stream_rules.h"
#include "operation.h"
#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// Streams that are listened to at least, before those that nobody reads are given up.
constexpr size_t kStreamsMin = 1'000;

FramePage PageOf(const RedisReply& bounds, const RedisReply& entries) {
  FramePage page;
  page.first = std::max<uint64_t>(bounds[0].unsigned_number(), 1);
  page.last = bounds[1].unsigned_number();
  for (size_t i = 1; i + 2 < entries.size(); i += 3) {
    page.frames.push_back({RedisNumber(entries[i].text()), std::string(entries[i + 2].text())});
  }
  return page;
}

std::vector<std::string> TextsOf(const RedisReply& array, size_t from) {
  std::vector<std::string> texts;
  for (size_t i = from; i < array.size(); ++i) texts.emplace_back(array[i].text());
  return texts;
}

}  // namespace

// ---- Blobs

// Most that are put again are there: their bytes need not travel.
void RedisStore::PutBlob(const BlobRef& ref, std::string bytes, DoneStatus done) {
  loop_.Post([this, key = keys_.Blob(ref.sha256), bytes = std::move(bytes), done = std::move(done)]() mutable {
    const int64_t keep = shared_.options.blob_keep.count();
    RedisStep use;
    use.Read("PEXPIRE", key, keep);
    script_.Send(std::move(use), std::nullopt,
                 [this, key, keep, bytes = std::move(bytes),
                  done = std::move(done)](const StatusOr<RedisStepReply>& used) mutable {
                   if (!used.ok() || used->replies[0].number() == 1) return done(used.status());
                   RedisStep put;
                   put.Write("SET", key, bytes, "PX", keep);
                   script_.Send(std::move(put), std::nullopt,
                                [done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                                  done(reply.status());
                                });
                 });
  });
}

void RedisStore::GetBlob(const BlobRef& ref, Done<std::string> done) {
  loop_.Post([this, ref, done = std::move(done)]() mutable {
    RedisStep step;
    step.Read("GETEX", keys_.Blob(ref.sha256), "PX", shared_.options.blob_keep.count());
    script_.Send(std::move(step), std::nullopt,
                 [ref, done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   if (!reply.ok()) return done(reply.status());
                   const RedisReply bytes = reply->replies[0];
                   if (bytes.is_nil()) return done(NoSuchBlob(ref));
                   done(std::string(bytes.text()));
                 });
  });
}

// … that runs of this partition hold. Bytes are compared with their names on the turn lane: that takes a while.
void RedisStore::ReadBlobs(std::string, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) {
  if (Status status = CheckRefs(refs); !status.ok()) return done(std::move(status));
  if (refs.empty()) return done(std::vector<std::string>());
  Done<std::vector<std::string>> checked = [refs, done = std::move(done)](
                                               StatusOr<std::vector<std::string>> bytes) mutable {
    for (size_t i = 0; bytes.ok() && i < refs.size(); ++i) {
      if (Status status = CheckBlob(refs[i], (*bytes)[i]); !status.ok()) bytes = std::move(status);
    }
    done(std::move(bytes));
  };
  loop_.Post([this, refs = std::move(refs), done = OnTurnLane(std::move(checked))]() mutable {
    RedisStep step;
    for (const BlobRef& ref : refs) step.Read("GET", keys_.HeldBlob(ref.sha256));
    script_.Send(std::move(step), std::nullopt,
                 [refs = std::move(refs), done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   if (!reply.ok()) return done(reply.status());
                   std::vector<std::string> blobs;
                   for (size_t i = 0; i < refs.size(); ++i) {
                     const RedisReply bytes = reply->replies[i];
                     if (bytes.is_nil()) return done(NoSuchBlob(refs[i]));
                     blobs.emplace_back(bytes.text());
                   }
                   done(std::move(blobs));
                 });
  });
}

// ---- Streams

void RedisStore::Append(AppendFrames request, Done<uint64_t> done) {
  loop_.Post([this, request = std::move(request), done = OnTurnLane(std::move(done))]() mutable {
    RedisStep step;
    step.Change("append", keys_.Stream(request.stream), request.frames,
                   step.Key(keys_.Frames(request.stream)), keys_.FrameChannel(request.stream),
                   shared_.options.stream_keep.count(), request.step, fmt::format("{:020}", request.fence),
                   request.written, request.replaces_from, request.replaces_to);
    request.frames.clear();
    script_.Send(std::move(step), std::nullopt,
                 [request = std::move(request), done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   if (!reply.ok()) return done(reply.status());
                   const RedisReply answer = reply->replies[0];
                   if (answer[0].number() == 1) return done(FencedOut(request));
                   if (answer[0].number() == 2) return done(LeavesAGap(request, answer[1].unsigned_number()));
                   if (answer[0].number() == 3) return done(IsNotTheNewest(request, answer[1].unsigned_number()));
                   done(answer[1].unsigned_number());
                 });
  });
}

void RedisStore::Trim(const std::string& stream, uint64_t seq, DoneStatus done) {
  loop_.Post([this, stream, seq, done = std::move(done)]() mutable {
    RedisStep step;
    step.Write("trim_frames", keys_.Stream(stream), step.Key(keys_.Frames(stream)), seq);
    script_.Send(std::move(step), std::nullopt,
                 [done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   done(reply.status());
                 });
  });
}

void RedisStore::AnswerReader(StreamReaders::Reader reader) {
  loop_.Post([this, reader = std::move(reader)] {
    if (reader.second.wait) ListenToFrames(reader.second.stream);
    LookForFrames(reader);
  });
}

// What came before the subscription began is looked for when it has.
void RedisStore::ListenToFrames(const std::string& stream) {
  if (!streams_.insert(stream).second) return;
  if (streams_.size() > std::max(streams_max_, kStreamsMin)) {
    std::erase_if(streams_, [&](const std::string& one) {
      if (one == stream || !shared_.readers.Of(one).empty()) return false;
      listeners_.erase(keys_.FrameChannel(one));
      subscriber_.SendForPushes(RedisCommand("UNSUBSCRIBE", keys_.FrameChannel(one)), 1);
      return true;
    });
    streams_max_ = 2 * streams_.size();
  }
  Listen(keys_.FrameChannel(stream), [this, stream](const auto&) {
    for (const auto& reader : shared_.readers.Of(stream)) LookForFrames(reader);
  });
}

void RedisStore::LookForFrames(const StreamReaders::Reader& reader) {
  const auto& [name, request] = reader;
  RedisStep step;
  step.Read("HMGET", keys_.Stream(request.stream), "first", "last");
  step.Read("page", keys_.Frames(request.stream), request.after, std::max(request.max, 1),
            limits::kFramePageBytes);
  script_.Send(std::move(step), std::nullopt, [this, name, request](const StatusOr<RedisStepReply>& reply) {
    using Page = StatusOr<FramePage>;
    Page page = reply.ok() ? Page(PageOf(reply->replies[0], reply->replies[1])) : reply.status();
    if (page.ok() && !IsAnswered(request, *page)) return;
    if (Done<FramePage> done = shared_.readers.Take(name)) OnTurnLane(std::move(done))(std::move(page));
  });
}

// ---- Limits (scripts/limiter.lua)

std::string RedisStore::LimitTime() const {
  return clock_.is_servers() ? std::string() : std::to_string(ToMicros(clock_.Now()));
}

void RedisStore::Acquire(AcquireLimit request, Done<Permit> done) {
  loop_.Post([this, request = std::move(request), done = OnTurnLane(std::move(done))]() mutable {
    std::vector<std::string> units;
    for (const LimitUnit& unit : request.units) {
      LimitBucket bucket;
      if (unit.per_minute > 0) Reshape(bucket, unit);
      units.push_back(unit.name);
      for (const int64_t number : {unit.amount, bucket.size, bucket.span}) units.push_back(std::to_string(number));
    }
    RedisStep step;
    step.Change("acquire", keys_.Limit(request.key), units, LimitTime(), ToMicros(request.permit));
    script_.Send(std::move(step), std::nullopt,
                 [request = std::move(request), done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   if (!reply.ok()) return done(reply.status());
                   const RedisReply answer = reply->replies[0];
                   if (answer[0].number() == 1) return done(TooLongAWait(request));
                   done(PermitFor(FromMicros(answer[1].number()), FromMicros(answer[2].number())));
                 });
  });
}

void RedisStore::Settle(SettleLimit request, DoneStatus done) {
  loop_.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    const auto micros = [](Duration time) {
      return std::to_string(std::min(time, limits::kLimitMaxWait).count() * 1000);
    };
    std::vector<std::string> said;
    for (const LimitAmount& unused : request.unused) {
      said.insert(said.end(), {unused.unit, std::to_string(unused.amount)});
    }
    for (const LimitReport& report : request.reports) {
      said.insert(said.end(), {report.unit, std::to_string(report.limit), std::to_string(report.remaining),
                               micros(report.full_in)});
    }
    RedisStep step;
    step.Change("settle", keys_.Limit(request.key), said, LimitTime(), micros(request.pause), request.unused.size());
    script_.Send(std::move(step), std::nullopt,
                 [done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   done(reply.status());
                 });
  });
}

void RedisStore::ClearLimit(const std::string& key, DoneStatus done) {
  loop_.Post([this, key, done = std::move(done)]() mutable {
    RedisStep step;
    step.Write("DEL", keys_.Limit(key));
    script_.Send(std::move(step), std::nullopt,
                 [done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   done(reply.status());
                 });
  });
}

// ---- Places (scripts/places.lua)

void RedisStore::EnterAPlace(EnterPlace request, Done<EnterReply> done) {
  loop_.Post([this, request = std::move(request), done = OnTurnLane(std::move(done))]() mutable {
    const std::string& key = request.key;
    RedisStep step;
    step.Change("enter_place", keys_.Places(key), {}, LimitTime(), step.Key(keys_.PlacesHeld(key)),
                step.Key(keys_.PlacesPassed(key)), step.Key(keys_.PlacesAwaited(key)), request.holder, request.epoch,
                request.max, request.priority);
    script_.Send(std::move(step), std::nullopt,
                 [done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   if (!reply.ok()) return done(reply.status());
                   const RedisReply answer = reply->replies[0];
                   EnterReply entered{.granted = answer[0].number() == 1, .passed = TextsOf(answer, 3)};
                   const std::string_view suspect = answer[1].text();
                   if (!suspect.empty()) entered.suspect = PlaceHolder{std::string(suspect), answer[2].number()};
                   done(std::move(entered));
                 });
  });
}

void RedisStore::LeaveAPlace(LeavePlace request, Done<LeaveReply> done) {
  loop_.Post([this, request = std::move(request), done = OnTurnLane(std::move(done))]() mutable {
    const std::string& key = request.key;
    RedisStep step;
    step.Change("leave_place", keys_.Places(key), {}, LimitTime(), step.Key(keys_.PlacesHeld(key)),
                step.Key(keys_.PlacesPassed(key)), step.Key(keys_.PlacesAwaited(key)), request.holder, request.epoch);
    script_.Send(std::move(step), std::nullopt,
                 [done = std::move(done)](const StatusOr<RedisStepReply>& reply) mutable {
                   if (!reply.ok()) return done(reply.status());
                   done(LeaveReply{TextsOf(reply->replies[0], 0)});
                 });
  });
}

}  // namespace marathon::inline MARATHON_ABI::detail
