// A deploy while runs are open. What began on a build ends on it; when that build goes, an operator moves what is left.
//
//   import-1 ──► build one ───────────────────── next ──► build one
//   import-2 ──────────────► build two ───────── next ──► build two
//   import-3 ──► build one … its workers go … operator: Pin("two") … next ──► build two
#include <marathon/marathon.h>
#include <marathon/runtime/thread_runtime.h>

#include <iostream>
#include <string>

using namespace std::chrono_literals;

// The code of two builds. Between builds it may change in any way: no run of one meets the other's.
marathon::Workflow<std::string> ImportOfOne(marathon::WorkflowContext& ctx) {
  co_await ctx.Receive<bool>("next");
  co_return "ended by build one";
}
marathon::Workflow<std::string> ImportOfTwo(marathon::WorkflowContext& ctx) {
  co_await ctx.Receive<bool>("next");
  co_return "ended by build two";
}

template <class Import>
marathon::Registry CodeOf(Import import) {
  marathon::Registry registry;
  registry.Bind("Import", import, {.versioning = marathon::Versioning::kPinned});
  return registry;
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  // Two workers over one store. In earnest they are processes, and an executable has its build id from its linker.
  marathon::ThreadRuntime runtime(1, 1);
  const marathon::Ports ports = marathon::NewMemoryPorts(runtime);
  auto one = marathon::Engine::Open(ports, CodeOf(ImportOfOne), {.build_id = "one"});
  auto two = marathon::Engine::Open(ports, CodeOf(ImportOfTwo), {.build_id = "two"});
  if (!one.ok()) return Complain(one.status());
  if (!two.ok()) return Complain(two.status());
  for (const char* id : {"import-1", "import-2", "import-3"}) {
    auto& worker = std::string(id) == "import-2" ? two : one;
    const auto run = worker->Start("Import", {.workflow_id = id});
    if (!run.ok()) return Complain(run.status());
  }
  // Whoever sends a signal does not take the turn of what is another's.
  const auto finish = [&](const std::string& id) -> absl::Status {
    const marathon::Run run = two->Find(id);
    if (absl::Status sent = run.Signal("next", true); !sent.ok()) return sent;
    const auto result = run.Result<std::string>(10s);
    if (result.ok()) std::cout << id << " " << *result << "\n";
    return result.status();
  };
  for (const char* id : {"import-1", "import-2"}) {
    if (absl::Status status = finish(id); !status.ok()) return Complain(status);
  }

  one->Shutdown().IgnoreError();
  const auto left = two->List({.status = marathon::RunStatus::kRunning, .pinned_to = "one"});
  if (!left.ok()) return Complain(left.status());
  for (const marathon::RunRow& row : left->runs) {
    std::cout << row.key.workflow_id.view() << " waits for build " << *row.pinned << "\n";
    const marathon::Run run = two->Find(row.key.workflow_id);
    if (absl::Status moved = run.Pin("two"); !moved.ok()) return Complain(moved);
  }
  if (absl::Status status = finish("import-3"); !status.ok()) return Complain(status);
}
