#pragma once

#include "marathon/event_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <type_traits>
#include <utility>

#include "marathon/detail/event_fields.h"
#include "marathon/detail/layout.h"
#include "marathon/detail/sealed.h"
#include "marathon/detail/wire.h"

namespace marathon::inline MARATHON_ABI {
namespace detail {

// An event body in its frame: type, length, fields.
template <class Sink>
void PutBody(Sink& sink, const EventBody& body) {
  std::visit(
      [&](const auto& event) {
        const size_t length = SizeOf(event);
        sink.Varint(static_cast<uint64_t>(Layout<std::decay_t<decltype(event)>>::type));
        sink.Varint(length);
        if constexpr (std::is_same_v<Sink, Sizer>) {
          sink.Skip(length);
        } else {
          Put(sink, event);
        }
      },
      body);
}

// Reads a framed body; `name` says which in messages, and is only called for one.
template <class Name>
Status GetBody(Reader& reader, EventBody& body, Name&& name) {
  const uint64_t type = reader.Varint();
  const uint64_t length = reader.Varint();
  Reader fields(reader.Bytes(length));
  if (!reader.ok()) return DataLoss(fmt::format("{}: its frame {}", name(), reader.error()));
  const bool known = AnyEventType([&]<class T>(std::in_place_type_t<T>) {
    if (static_cast<uint64_t>(Layout<T>::type) != type) return false;
    Get(fields, body.emplace<T>());  // bytes that remain are fields of a newer Marathon
    return true;
  });
  if (!known) {
    return DataLoss(
        fmt::format("{}: unknown event type {}, written by a newer Marathon; upgrade this worker",
                    name(), type));
  }
  if (!fields.ok()) {
    return DataLoss(fmt::format("{}: {} {} at byte {} of {}", name(), ToString(TypeOf(body)),
                                fields.error(), fields.error_offset(), length));
  }
  return absl::OkStatus();
}

// Appends a record's events to `history`. On failure some may have been appended.
MARATHON_INLINE Status GetRecord(std::string_view bytes, CommitId& commit_id, History& history) {
  auto content = Unseal(kEventFormatVersion, bytes, "record");
  if (!content.ok()) return content.status();
  Reader reader(*content);
  commit_id = reader.Fixed64();
  const uint64_t first = reader.Varint();
  const uint64_t count = reader.Varint();
  if (!reader.ok()) return DataLoss(fmt::format("record: its head {}", reader.error()));
  constexpr size_t kSmallestEvent = 2;
  if (count > reader.remaining() / kSmallestEvent) {
    return DataLoss(fmt::format("record: claims {} events in {} bytes", count, reader.remaining()));
  }
  constexpr uint64_t kLargestId = uint64_t{1} << 62;
  if (first > kLargestId || (first == 0 && count > 0)) {
    return DataLoss(fmt::format("record: its first event has the impossible id {}", first));
  }
  const size_t needed = history.size() + count;  // reserved at least twofold, as push_back would
  if (needed > history.capacity()) history.reserve(std::max(needed, 2 * history.capacity()));
  for (uint64_t id = first; id < first + count; ++id) {
    Event& event = history.emplace_back();
    event.id = static_cast<EventId>(id);
    Status status = GetBody(reader, event.body, [&] { return fmt::format("event {}", id); });
    if (!status.ok()) return status;
  }
  if (reader.remaining() > 0) {
    return DataLoss(fmt::format("record: {} bytes follow its last event", reader.remaining()));
  }
  return absl::OkStatus();
}

}  // namespace detail

MARATHON_INLINE std::string EncodeEvents(CommitId commit_id, std::span<const Event> events) {
  const uint64_t first = events.empty() ? 0 : static_cast<uint64_t>(events.front().id);
  const auto put = [&](auto& sink) {
    sink.Fixed64(commit_id);
    sink.Varint(first);
    sink.Varint(events.size());
    for (const Event& event : events) {
      assert(event.id == events.front().id + (&event - events.data()));
      detail::PutBody(sink, event.body);
    }
  };
  detail::Sizer sizer;
  put(sizer);
  std::string bytes(detail::kSealBytes + sizer.size(), '\0');
  detail::Writer writer(bytes.data() + detail::kSealBytes);
  put(writer);
  assert(writer.position() == bytes.data() + bytes.size());
  detail::Seal(kEventFormatVersion, bytes);
  return bytes;
}

MARATHON_INLINE StatusOr<Record> DecodeRecord(std::string_view bytes) {
  Record record;
  Status status = detail::GetRecord(bytes, record.commit_id, record.events);
  if (!status.ok()) return status;
  return record;
}

MARATHON_INLINE Status AppendRecord(std::string_view bytes, History& history) {
  const size_t size = history.size();
  const EventId next = history.empty() ? 1 : history.back().id + 1;
  CommitId commit_id = 0;
  Status status = detail::GetRecord(bytes, commit_id, history);
  if (status.ok() && history.size() > size && history[size].id != next) {
    status = DataLoss(fmt::format("record: begins with event {} where event {} should follow",
                                  history[size].id, next));
  }
  if (!status.ok()) history.resize(size);
  return status;
}

MARATHON_INLINE std::string EncodeBody(const EventBody& body) {
  detail::Sizer sizer;
  detail::PutBody(sizer, body);
  std::string bytes(detail::kSealBytes + sizer.size(), '\0');
  detail::Writer writer(bytes.data() + detail::kSealBytes);
  detail::PutBody(writer, body);
  detail::Seal(kEventFormatVersion, bytes);
  return bytes;
}

MARATHON_INLINE StatusOr<EventBody> DecodeBody(std::string_view bytes) {
  auto content = detail::Unseal(kEventFormatVersion, bytes, "message");
  if (!content.ok()) return content.status();
  detail::Reader reader(*content);
  EventBody body;
  Status status = detail::GetBody(reader, body, [] { return "message"; });
  if (!status.ok()) return status;
  if (reader.remaining() > 0) {
    return DataLoss(fmt::format("message: {} bytes follow its event", reader.remaining()));
  }
  return body;
}

}  // namespace marathon::inline MARATHON_ABI
