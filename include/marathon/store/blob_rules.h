// What every BlobStore checks, wherever it keeps the bytes.
//
// Pure functions.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/detail/sha256.h"
#include "marathon/limits.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

// The names of `blobs`; kInvalidArgument: one is too big.
inline StatusOr<std::vector<BlobRef>> NameBlobs(const std::vector<std::string>& blobs) {
  std::vector<BlobRef> refs;
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (blobs[i].size() > limits::kBlobMaxBytes) {
      return InvalidArgument(fmt::format("blob {} of {} has {} bytes; at most {} are kept as one", i + 1,
                                         blobs.size(), blobs[i].size(), limits::kBlobMaxBytes));
    }
  }
  for (const std::string& blob : blobs) refs.push_back({Sha256Hex(blob), blob.size()});
  return refs;
}

inline Status CheckRefs(const std::vector<BlobRef>& refs) {
  for (const BlobRef& ref : refs) {
    if (IsSha256Hex(ref.sha256)) continue;
    return InvalidArgument(fmt::format(
        "\"{}\" names no blob: a name is 64 hexadecimal digits in lower case", ref.sha256.substr(0, 80)));
  }
  return {};
}

inline Status NoSuchBlob(const BlobRef& ref) {
  return NotFound(fmt::format("there is no blob {}; it has been forgotten, or was never put", ref.sha256));
}

inline Status CheckBlobSize(const BlobRef& ref, std::string_view bytes) {
  if (bytes.size() == ref.size) return {};
  return DataLoss(fmt::format("blob {} has {} bytes, and not {}", ref.sha256, bytes.size(), ref.size));
}

inline Status CheckBlob(const BlobRef& ref, std::string_view bytes) {
  if (Status status = CheckBlobSize(ref, bytes); !status.ok()) return status;
  if (Sha256Hex(bytes) == ref.sha256) return {};
  return DataLoss(fmt::format("blob {}: its bytes are damaged", ref.sha256));
}

}  // namespace marathon::inline MARATHON_ABI::detail
