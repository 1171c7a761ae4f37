#include "stream_table.h"

#include <algorithm>
#include <vector>

#include "kept_until.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

std::optional<SqliteStreamTable::Stream> SqliteStreamTable::Find(const std::string& name) {
  SqliteCursor cursor = find_.Query(ns_, SqliteBlob{name});
  if (!cursor.Next()) return std::nullopt;
  return Stream{cursor.Int(0), static_cast<uint64_t>(cursor.Int(1)),
                static_cast<uint64_t>(cursor.Int(2)), FromMicros(cursor.Int(3))};
}

StepMark SqliteStreamTable::FindStep(const Stream& stream, const std::string& step) {
  SqliteCursor cursor = find_step_.Query(stream.id, SqliteBlob{step});
  if (!cursor.Next()) return {};
  return {static_cast<uint64_t>(cursor.Int(0)), static_cast<uint64_t>(cursor.Int(1)),
          static_cast<uint64_t>(cursor.Int(2))};
}

StatusOr<uint64_t> SqliteStreamTable::Append(const AppendFrames& request, Time now) {
  std::optional<Stream> stream = Find(request.stream);
  StepMark mark = stream ? FindStep(*stream, request.step) : StepMark();
  const StatusOr<size_t> there = AdmitFrames(request, mark);
  if (!there.ok()) return there.status();
  const bool replaces = Replaces(request, *there);
  const uint64_t newest = stream ? stream->last : 0;
  if (replaces && newest != request.replaces_to) return IsNotTheNewest(request, newest);
  if (!stream) {
    const uint64_t before = NumbersBefore(now);
    insert_.Run(ns_, SqliteBlob{request.stream}, before + 1, before, ToMicros(now));
    stream = Stream{sqlite3_last_insert_rowid(db_.handle()), before + 1, before, now};
  }
  if (replaces) replace_.Run(stream->id, request.replaces_from);
  for (size_t i = *there; i < request.frames.size(); ++i) {
    mark.last = ++stream->last;
    append_.Run(stream->id, stream->last, SqliteBlob{request.frames[i]});
  }
  set_step_.Run(stream->id, SqliteBlob{request.step}, mark.fence, mark.written, mark.last);
  update_.Run(stream->id, stream->first, stream->last,
              ToMicros(KeptUntil(now, stream->kept_until, keep_)));
  return mark.last;
}

FramePage SqliteStreamTable::Read(const ReadFrames& request) {
  FramePage page;
  const std::optional<Stream> stream = Find(request.stream);
  if (!stream) return page;
  page.first = stream->first;
  page.last = stream->last;
  if (request.after >= page.last) return page;
  SqliteCursor cursor = read_.Query(stream->id, request.after);
  size_t bytes = 0;
  while (cursor.Next()) {
    bytes += cursor.Bytes(1).size();
    if (!page.frames.empty() && (static_cast<int>(page.frames.size()) >= request.max ||
                                 bytes > limits::kFramePageBytes)) {
      break;
    }
    page.frames.push_back({static_cast<uint64_t>(cursor.Int(0)), cursor.String(1)});
  }
  return page;
}

void SqliteStreamTable::Trim(const std::string& name, uint64_t seq) {
  const std::optional<Stream> stream = Find(name);
  if (!stream || seq < stream->first) return;
  const uint64_t last = std::min(seq, stream->last);
  trim_.Run(stream->id, last);
  update_.Run(stream->id, last + 1, stream->last, ToMicros(stream->kept_until));
}

int64_t SqliteStreamTable::Sweep(int limit, Time now) {
  std::vector<int64_t> ids;
  {
    SqliteCursor cursor = overdue_.Query(ns_, ToMicros(now), limit);
    while (cursor.Next()) ids.push_back(cursor.Int(0));
  }
  for (const int64_t id : ids) {
    erase_frames_.Run(id);
    erase_steps_.Run(id);
    erase_.Run(id);
  }
  return static_cast<int64_t>(ids.size());
}

}  // namespace marathon::inline MARATHON_ABI::detail
