// StoreReader: what is in the store of a chaos run, when nobody else has it open.
//
// One thread at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "violations.h"
#include "marathon/backend.h"
#include "marathon/event.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/state_store.h"

namespace marathon::chaos {

struct StoredRun {
  RunSnapshot snapshot;
  History history;
  std::map<EventId, CommitId> commits;  // by the version after each

  const RunKey& key() const { return snapshot.row.key; }
  const Event* Find(EventId id) const {  // null: it is not there
    return id < 1 || id > static_cast<EventId>(history.size()) ? nullptr : &history[static_cast<size_t>(id) - 1];
  }
};

class StoreReader {
 public:
  explicit StoreReader(Violations& violations) : violations_(violations) {}
  ~StoreReader();

  // False: it cannot be opened, which is a violation. Waits for the store to be there.
  bool Open(const std::string& url);
  // All runs; what cannot be read is a violation.
  std::vector<StoredRun> ReadAll();

 private:
  template <class T, class Call>
  StatusOr<T> Await(Call&& call);
  std::vector<RunRow> ListAll();
  std::optional<StoredRun> Read(const RunKey& key);

  Violations& violations_;
  ThreadRuntime runtime_{2, 2};
  Ports ports_;
};

}  // namespace marathon::chaos
