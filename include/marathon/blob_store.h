// BlobStore keeps bytes under the name of their digest, for what is too big to stand in histories or to be
// sent again and again: images, documents, long conversations.
//
//   store.Put({bytes}, [](StatusOr<std::vector<BlobRef>> refs) { … });
//
// The same bytes are kept once, and verified when they are read. A blob lives for at least the store's patience
// (a URL's blob_keep=, limits::kBlobKeep unless said otherwise) after it was last put or read, so what needs one
// for longer must be able to make it again.
//
// Thread rule: safe to call from any thread. `done` is called once, on any thread, perhaps before the call
// returns, and holds no lock; it must not block. A failed call may be repeated: to put a blob twice is to put it
// once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI {

struct BlobRef {
  std::string sha256;  // of the bytes, 64 hexadecimal digits in lower case
  uint64_t size = 0;   // in bytes

  friend bool operator==(const BlobRef&, const BlobRef&) = default;
};

// A blob with its name.
struct NamedBlob {
  BlobRef ref;
  std::string bytes;
};

class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // Keeps them, and answers with their names, in order. Those that are there already begin a new life.
  // kInvalidArgument: one is over limits::kBlobMaxBytes; nothing is kept.
  virtual void Put(std::vector<std::string> blobs, Done<std::vector<BlobRef>> done) = 0;

  // Answers with all of them, in order, which begin a new life. kNotFound names the first that is not there;
  // kDataLoss the first whose bytes do not match; kInvalidArgument: a ref is none.
  virtual void Get(std::vector<BlobRef> refs, Done<std::vector<std::string>> done) = 0;

  // Forgets up to `limit` blobs that nobody has put or read for the store's patience, and answers how many they
  // were. Whoever opens the store need not call it: puts do a little of it.
  virtual void Sweep(int limit, Done<int64_t> done) = 0;
};

}  // namespace marathon::inline MARATHON_ABI
