// Big values beside the run: the history has their names. And a rate that all workers keep together.
//
//   client: Put(6 MiB) ─► names ─► Book ─┬─► Print … Print   on either worker: Acquire ─► Get ─► Put
//   client: Get(names) ◄───────────────  └─► All             20 a second, of both together
#include <marathon/marathon.h>
#include <marathon/runtime/thread_runtime.h>

#include <future>
#include <iostream>

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;
using Refs = std::vector<marathon::BlobRef>;

struct Page {
  std::string sha256;
  uint64_t size = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Page, sha256, size)
using Pages = std::vector<Page>;

inline constexpr marathon::ActivityDef<Page(Page)> kPrint{"Print"};
inline constexpr marathon::WorkflowDef<Pages(Pages)> kBook{"Book"};

marathon::Workflow<Pages> Book(marathon::WorkflowContext& ctx, Pages pages) {
  std::vector<marathon::ActivityHandle<Page>> prints;
  for (const Page& page : pages) prints.push_back(ctx.Start(kPrint, page));
  co_return co_await ctx.All(prints);
}

// The page in mirror writing, as another blob. `ctx` lives for as long as `done` does.
void Mirror(marathon::ActivityContext& ctx, const Page& page, marathon::ActivityCompletion<Page> done) {
  const marathon::BlobRef ref{page.sha256, page.size};
  ctx.blobs().Get({ref}, [&ctx, done = std::move(done)](absl::StatusOr<Texts> texts) mutable {
    if (!texts.ok()) return done.Fail(marathon::Failure{.message = texts.status().ToString()});
    const std::string text(texts->at(0).rbegin(), texts->at(0).rend());
    ctx.blobs().Put({text}, [done = std::move(done)](absl::StatusOr<Refs> refs) mutable {
      if (!refs.ok()) return done.Fail(marathon::Failure{.message = refs.status().ToString()});
      const Page printed{refs->at(0).sha256, refs->at(0).size};
      done.Complete(printed);
    });
  });
}

// Asks first when it may. It does not wait until then: it is delivered again, to either worker, and shows its permit.
void Print(marathon::ActivityContext& ctx, const Page& page, marathon::ActivityCompletion<Page> done) {
  marathon::AcquireLimit ask{.key = "press"};
  ask.units = {{.name = "pages", .amount = 1, .per_minute = 1'200, .burst = 1}};
  const int64_t epoch = ctx.info().epoch;
  const auto kept = ctx.LastHeartbeat<std::pair<int64_t, int64_t>>();
  if (kept.ok() && kept->first + 1 == epoch) ask.permit = marathon::FromMicros(kept->second);
  auto go = [&ctx, epoch, page, done = std::move(done)](absl::StatusOr<marathon::Permit> permit) mutable {
    if (!permit.ok()) return done.Fail(marathon::Failure{.message = permit.status().ToString()});
    if (permit->wait > 0ms) return done.Postpone(permit->wait, std::pair(epoch, marathon::ToMicros(permit->at)));
    Mirror(ctx, page, std::move(done));
  };
  ctx.limiter().Acquire(std::move(ask), std::move(go));
}

// Waits for what `call` is answered. Not for activities that must not block.
template <class Answer, class Call>
Answer Await(Call call) {
  auto answer = std::make_shared<std::promise<Answer>>();
  call([answer](Answer value) { answer->set_value(std::move(value)); });
  return answer->get_future().get();
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kBook, Book);
  registry.Bind(kPrint, Print);
  marathon::ThreadRuntime runtime(1, 1);
  const marathon::Ports ports = marathon::NewMemoryPorts(runtime);  // of both workers: in earnest they are processes
  auto one = marathon::Engine::Open(ports, registry);
  auto two = marathon::Engine::Open(ports, registry);
  if (!one.ok() || !two.ok()) return Complain(one.ok() ? two.status() : one.status());

  const Texts texts(6, std::string(1 << 20, 'a') + "!");  // the same bytes have the same name, and are kept once
  const auto kept = Await<absl::StatusOr<Refs>>([&](auto done) { one->blobs().Put(texts, std::move(done)); });
  if (!kept.ok()) return Complain(kept.status());
  Pages pages;
  for (const marathon::BlobRef& ref : *kept) pages.push_back({ref.sha256, ref.size});

  // Anybody may stop the press for a while: what is asked for meanwhile comes after it, one by one.
  const auto paused = Await<absl::Status>(
      [&](auto done) { two->limiter().Settle({.key = "press", .pause = 50ms}, std::move(done)); });
  if (!paused.ok()) return Complain(paused);
  const auto begun = std::chrono::steady_clock::now();
  auto run = one->Start(kBook, pages);
  if (!run.ok()) return Complain(run.status());
  const auto printed = run->Result<Pages>(10s);
  if (!printed.ok()) return Complain(printed.status());
  const bool slow = std::chrono::steady_clock::now() - begun > 200ms;  // six of them are five times 50 ms apart

  const marathon::BlobRef last{printed->back().sha256, printed->back().size};
  const auto mirrored = Await<absl::StatusOr<Texts>>([&](auto done) { two->blobs().Get({last}, std::move(done)); });
  if (!mirrored.ok()) return Complain(mirrored.status());
  const bool whole = printed->size() == 6 && mirrored->at(0) == "!" + std::string(1 << 20, 'a');
  const auto described = run->Describe();
  if (!described.ok()) return Complain(described.status());
  const bool small = described->run.history_bytes < 20'000;
  std::cout << std::boolalpha << "printed: " << whole << ", small: " << small << ", rate kept: " << slow << "\n";
  return whole && small && slow ? 0 : 1;
}
