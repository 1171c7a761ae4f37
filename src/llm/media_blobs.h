// The bytes of images and documents that a request names by blobs.
//
// Functions; safe from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/error.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

// Those that stand for blobs.
inline std::vector<Media*> BlobsIn(ChatRequest& request) {
  std::vector<Media*> blobs;
  const auto add = [&](Media& media) {
    // Another source beside it is the request builder's to refuse.
    if (media.blob && media.url.empty() && media.file_id.empty() && media.bytes.empty()) blobs.push_back(&media);
  };
  for (Message& message : request.messages) {
    for (Block& block : message.blocks) {
      if (auto* media = std::get_if<Media>(&block)) add(*media);
      if (auto* result = std::get_if<ToolResult>(&block)) {
        for (Media& media : result->media) add(media);
      }
    }
  }
  return blobs;
}

inline Error BlobError(const Status& status) {
  const bool passes = IsTransient(status);
  return MakeError(passes ? ErrorClass::kTransient : ErrorClass::kBadRequest,
                   "an image or a document of the request: " + std::string(MessageOf(status)));
}

// Gives them their bytes: `then` gets the request, or why it has not all of them. Perhaps before this returns.
inline void FetchMedia(BlobStore& store, ChatRequest request,
                       Callback<void(std::variant<ChatRequest, Error>)> then) {
  std::vector<BlobRef> refs;
  for (const Media* media : BlobsIn(request)) refs.push_back(*media->blob);
  if (refs.empty()) return then(std::move(request));
  store.Get(std::move(refs), [request = std::move(request),
                              then = std::move(then)](StatusOr<std::vector<std::string>> bytes) mutable {
    if (!bytes.ok()) return then(BlobError(bytes.status()));
    size_t next = 0;
    for (Media* media : BlobsIn(request)) {
      media->bytes = std::move((*bytes)[next++]);
      media->blob.reset();
    }
    then(std::move(request));
  });
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
