// SimBlobs: simulated activities that keep blobs, and others that read them (I16).
//
// Not safe from several threads: the world has one.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/activity.h"
#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/registry.h"
#include "marathon/status.h"
#include "marathon/testing/invariants.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

class SimBlobs {
 public:
  SimBlobs(SimWorld& world, Invariants& invariants, std::shared_ptr<BlobStore> store)
      : world_(world), invariants_(invariants), random_(world.Fork("blobs")), store_(std::move(store)) {}

  void Bind(Registry& registry, SimProcess& process);
  // Once nobody has used one for longer than they are kept.
  void CheckSwept();

 private:
  using Blobs = std::vector<std::string>;
  using Refs = std::vector<BlobRef>;

  Refs Put(const SimWork& work);
  // Puts them, perhaps twice, and says where they are.
  void Keep(SimProcess& process, ActivityContext& ctx, const SimWork& work, ActivityCompletion<std::string> done);
  void Fetch(SimProcess& process, const std::string& names, ActivityCompletion<std::string> done);
  void Report(std::string_view what) { invariants_.Report("I16", {}, what); }

  SimWorld& world_;
  Invariants& invariants_;
  SeededRandom random_;
  const std::shared_ptr<BlobStore> store_;
  std::set<std::string> kept_;  // their digests
};

inline void SimBlobs::Bind(Registry& registry, SimProcess& process) {
  registry.Bind(kSimKeep, [this, &process](ActivityContext& ctx, const int64_t& input,
                                           ActivityCompletion<std::string> done) {
    Keep(process, ctx, SimWork::Unpack(input), std::move(done));
  });
  registry.Bind(kSimFetch, [this, &process](ActivityContext&, const std::string& names,
                                            ActivityCompletion<std::string> done) {
    Fetch(process, names, std::move(done));
  });
}

inline SimBlobs::Refs SimBlobs::Put(const SimWork& work) {
  Refs kept;
  SimUses<"BlobStore.Put">();
  store_->Put({SimBlob(work, 0), SimBlob(work, 1)}, [&](const StatusOr<Refs>& refs) {
    if (!refs.ok() || refs->size() != 2) return Report(fmt::format("a put got: {}", MessageOf(refs.status())));
    kept = *refs;
    for (const BlobRef& ref : kept) kept_.insert(ref.sha256);
  });
  return kept;
}

inline void SimBlobs::Keep(SimProcess& process, ActivityContext& ctx, const SimWork& work,
                           ActivityCompletion<std::string> done) {
  const bool fails = ctx.attempt() <= work.fails;
  for (int left = random_.Below(4) == 0 ? 2 : 1; left > 0; --left) {
    world_.After(process.runtime.actor(), random_.Between(0, 1'000) * 1'000, "keep", [this, work] {
      Put(work);
    });
  }
  world_.After(process.runtime.actor(), random_.Between(0, 1'000) * 1'000, "kept",
               [this, work, fails, done = std::move(done)]() mutable {
    std::string names;
    for (const BlobRef& ref : Put(work)) names += fmt::format("{}{} ", ref.sha256, ref.size);
    if (fails) return done.Fail(Failure{.message = "fails by plan"});
    done.Complete(names);
  });
}

inline void SimBlobs::Fetch(SimProcess& process, const std::string& names, ActivityCompletion<std::string> done) {
  constexpr size_t kDigest = 64;
  Refs refs;
  for (size_t at = 0; at < names.size(); at = names.find(' ', at) + 1) {
    refs.push_back({names.substr(at, kDigest), std::stoull(names.substr(at + kDigest))});
  }
  world_.After(process.runtime.actor(), random_.Between(0, 1'000) * 1'000, "fetch",
               [this, refs, done = std::move(done)]() mutable {
    SimUses<"BlobStore.Get">();
    store_->Get(refs, [&](const StatusOr<Blobs>& blobs) {
      if (!blobs.ok()) return Report(fmt::format("a get got: {}", MessageOf(blobs.status())));
      done.Complete(fmt::format("{}", fmt::join(*blobs, "")));
    });
  });
}

inline void SimBlobs::CheckSwept() {
  SimUses<"BlobStore.Sweep">();
  store_->Sweep(10'000, [&](const StatusOr<int64_t>& forgotten) {
    if (forgotten.ok() && *forgotten == static_cast<int64_t>(kept_.size())) return;
    Report(fmt::format("{} blobs of {} are swept", forgotten.value_or(-1), kept_.size()));
  });
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
