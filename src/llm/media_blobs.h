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

// The same, but what the store does not keep any more is said in words: a conversation outlives its images.
class MediaFetch : public std::enable_shared_from_this<MediaFetch> {
 public:
  using Then = Callback<void(std::variant<ChatRequest, Error>)>;
  MediaFetch(BlobStore& store, ChatRequest request, Then then)
      : store_(store), request_(std::move(request)), then_(std::move(then)) {}

  // One after another, since an answer about many does not tell which of them are gone.
  void Next() {
    const std::vector<Media*> left = BlobsIn(request_);
    if (left.empty()) return then_(std::move(request_));
    store_.Get({*left.front()->blob}, [self = shared_from_this()](StatusOr<std::vector<std::string>> bytes) {
      Media* const media = BlobsIn(self->request_).front();
      if (bytes.ok()) {
        media->bytes = std::move(bytes->front());
        media->blob.reset();
      } else if (IsTransient(bytes.status())) {
        return self->then_(BlobError(bytes.status()));
      } else {
        self->Replace(media);
      }
      self->Next();
    });
  }

 private:
  void Replace(const Media* gone) {
    const char* const words = gone->kind == MediaKind::kImage ? "[an image that is no longer kept]"
                                                              : "[a document that is no longer kept]";
    for (Message& message : request_.messages) {
      for (Block& block : message.blocks) {
        if (std::get_if<Media>(&block) == gone) {
          block = Text{words};
          return;
        }
        auto* result = std::get_if<ToolResult>(&block);
        const auto erased = result == nullptr
                                ? 0u
                                : std::erase_if(result->media, [&](const Media& media) { return &media == gone; });
        if (erased == 0) continue;
        result->text += words;
        return;
      }
    }
  }

  BlobStore& store_;
  ChatRequest request_;
  Then then_;
};

}  // namespace marathon::inline MARATHON_ABI::llm::internal
