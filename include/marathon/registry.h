// Registry: which code runs under which name. A program builds one in main() and gives it to
// Engine::Open, which copies it; nothing registers itself.
//
//   marathon::Registry registry;
//   registry.Bind(kCharge, Charge);          // an ActivityDef and any callable of its types
//   registry.Bind("Checkout", Checkout);     // a workflow: any callable that returns Workflow<T>
//   registry.Bind(kAsk, Ask, {.max_concurrent = 4, .max_per_second = 10});  // no more than that on this worker
//   registry.Bind("Import", Import, {.versioning = marathon::Versioning::kPinned});  // ends on the build it began on
//   registry.Use(marathon::SqliteBackend()); // adds the scheme "sqlite:"
//
// Callables are kept by value and invoked const and concurrently. Mistakes (a name bound twice, a bad
// name) are reported by Engine::Open. Names that begin with "marathon." are the library's own.
//
// Thread rule: one thread at a time, until it is given away.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/detail/callables.h"
#include "marathon/workflow.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI {

struct Backend;

// How much of one type of activity a worker runs; 0: no limit. What is over it waits, without a thread, and
// other types go on meanwhile; other workers may take it.
struct ActivityLimits {
  int max_concurrent = 0;      // attempts at a time
  double max_per_second = 0;   // attempts that begin in a second, evenly spaced
};

// Which builds (EngineOptions::build_id) take the turns of a run.
enum class Versioning : uint8_t {
  kAutoUpgrade,  // any that has its workflow, from one turn to the next
  kPinned,       // only that which took its first turn, until an operator moves it (Run::Pin)
};

// How a workflow's runs are kept.
struct WorkflowOptions {
  Versioning versioning = Versioning::kAutoUpgrade;
};

class Registry {
 public:
  template <class Signature, class Fn>
  void Bind(const ActivityDef<Signature>& def, Fn fn, ActivityLimits limits = {}) {
    detail::CheckActivity<Signature, Fn>();
    AddActivity(def.name, detail::MakeActivity<Signature>(std::move(fn)));
    Limit(def.name, limits);
  }
  template <class Signature, class Fn>
  void Bind(const WorkflowDef<Signature>& def, Fn fn, WorkflowOptions options = {}) {
    detail::CheckWorkflow<Signature, Fn>();
    AddWorkflow(def.name, detail::MakeWorkflow<Signature>(std::move(fn)), options);
  }
  // By name: the types are the callable's own. It is a workflow if it returns Workflow<T>.
  template <class Fn>
  void Bind(std::string_view name, Fn fn) {
    Bind(name, std::move(fn), ActivityLimits());
  }
  template <class Fn>
  void Bind(std::string_view name, Fn fn, ActivityLimits limits) {
    using Traits = detail::CallableTraits<Fn>;
    if constexpr (Traits::kIsWorkflow) {
      Bind(name, std::move(fn), WorkflowOptions());
    } else {
      AddActivity(name, detail::MakeActivity<typename Traits::Signature>(std::move(fn)));
    }
    Limit(name, limits, Traits::kIsWorkflow);
  }
  template <class Fn>
  void Bind(std::string_view name, Fn fn, WorkflowOptions options) {
    using Traits = detail::CallableTraits<Fn>;
    static_assert(Traits::kIsWorkflow, "only a workflow has WorkflowOptions: this callable does not return Workflow<T>");
    AddWorkflow(name, detail::MakeWorkflow<typename Traits::Signature>(std::move(fn)), options);
  }

  // Adds a URL scheme for Engine::Open. "memory:" is built in.
  template <std::same_as<Backend> B>
  void Use(B backend) {
    backends_.push_back(std::make_shared<const Backend>(std::move(backend)));
  }

  // ---- For the engine

  const detail::WorkflowFactory* FindWorkflow(std::string_view name) const;
  const detail::ActivityEntry* FindActivity(std::string_view name) const;
  bool IsPinned(std::string_view workflow) const;
  bool has_pinned() const { return !pinned_.empty(); }
  // Of those types that have any.
  const std::map<std::string, ActivityLimits, std::less<>>& activity_limits() const { return limits_; }
  const std::vector<std::shared_ptr<const Backend>>& backends() const { return backends_; }
  // Whether the program bound any; what the library brings does not count.
  bool has_workflows() const { return has_workflows_; }
  bool has_activities() const { return has_activities_; }
  bool has_activities(bool asynchronous) const;
  // An activity that writes in the transactions of another kind of store than `kind` (Transactions::kind); null:
  // there is none, or something stands in for all of them.
  const std::string* FindTransactionalElsewhere(std::string_view kind) const;
  std::string WorkflowNames() const;  // for messages
  // What the library brings.
  void AddBuiltIn(std::string_view name, detail::WorkflowFactory factory);
  void AddBuiltIn(std::string_view name, detail::ActivityEntry entry);
  // Every activity, bound or not, runs as `entry` from here on, but for those that the library brings; its
  // context says which one it stands for. The testing kit puts its doubles in so.
  void InterceptActivities(detail::ActivityEntry entry);
  // What was wrong with the calls so far; empty: nothing.
  const std::string& mistakes() const { return mistakes_; }
  // What a component of the library finds wrong with what it binds; Engine::Open reports it.
  void AddMistake(std::string_view mistake);

 private:
  void AddWorkflow(std::string_view name, detail::WorkflowFactory factory, WorkflowOptions options);
  void AddActivity(std::string_view name, detail::ActivityEntry entry);
  void CheckName(std::string_view what, std::string_view name, bool is_new);
  void Limit(std::string_view name, const ActivityLimits& limits, bool workflow = false);

  std::map<std::string, detail::WorkflowFactory, std::less<>> workflows_;
  std::map<std::string, detail::ActivityEntry, std::less<>> activities_;
  std::map<std::string, ActivityLimits, std::less<>> limits_;
  std::set<std::string, std::less<>> pinned_;
  std::optional<detail::ActivityEntry> interceptor_;
  std::vector<std::shared_ptr<const Backend>> backends_;
  bool has_workflows_ = false;
  bool has_activities_ = false;
  bool has_asynchronous_ = false;
  bool has_blocking_ = false;
  std::string mistakes_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/registry-inl.h"
#endif
