#include "store_reader.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "backend.h"
#include "marathon/event_codec.h"

namespace marathon::chaos {

StoreReader::~StoreReader() {
  ports_ = {};
  runtime_.Stop();
}

template <class T, class Call>
StatusOr<T> StoreReader::Await(Call&& call) {
  for (;;) {
    StatusOr<T> answer = absl::UnknownError("");
    const std::shared_ptr<OneShot> ready = runtime_.NewOneShot();
    call(Done<T>([&answer, ready](StatusOr<T> value) {  // which must outlive its own Set()
      answer = std::move(value);
      ready->Set();
    }));
    ready->Wait(OneShot::kForever);
    if (answer.ok() || !IsTransient(answer.status())) return answer;
    runtime_.NewOneShot()->Wait(Duration(50));
  }
}

bool StoreReader::Open(const std::string& url) {
  const StatusOr<BackendUrl> parsed = ParseBackendUrl(url);
  for (const Backend& backend : KnownSchemes()) {
    if (!parsed.ok() || backend.scheme != parsed->scheme) continue;
    StatusOr<Ports> ports = backend.open(*parsed, runtime_);
    while (!ports.ok() && IsTransient(ports.status())) {
      runtime_.NewOneShot()->Wait(Duration(50));
      ports = backend.open(*parsed, runtime_);
    }
    if (!ports.ok()) violations_.Add("store", ports.status().ToString());
    if (ports.ok()) ports_ = *std::move(ports);
    return ports.ok();
  }
  violations_.Add("store", fmt::format("{} cannot be opened", url));
  return false;
}

std::vector<RunRow> StoreReader::ListAll() {
  std::vector<RunRow> rows;
  ListRequest request;
  do {
    const auto page = Await<ListReply>(
        [&](Done<ListReply> done) { ports_.store->List(request, std::move(done)); });
    if (!page.ok()) {
      violations_.Add("store", page.status().ToString());
      break;
    }
    rows.insert(rows.end(), page->runs.begin(), page->runs.end());
    request.page_token = page->next_page_token;
  } while (!request.page_token.empty());
  return rows;
}

std::optional<StoredRun> StoreReader::Read(const RunKey& key) {
  StoredRun run;
  ReadRequest request;
  request.run = key;
  request.records = request.inbox = request.activities = true;
  for (bool more = true; more;) {
    auto page = Await<RunSnapshot>(
        [&](Done<RunSnapshot> done) { ports_.store->Read(request, std::move(done)); });
    Status status = page.status();
    for (size_t i = 0; status.ok() && i < page->records.size(); ++i) {
      const StatusOr<Record> record = DecodeRecord(page->records[i]);
      if (record.ok() && !record->events.empty()) {
        run.commits[record->events.back().id] = record->commit_id;
      }
      status = AppendRecord(page->records[i], run.history);
    }
    if (!status.ok()) {
      violations_.Add("history", fmt::format("{}, run {}: {}", key.workflow_id, key.run_id, status.ToString()));
      return std::nullopt;
    }
    more = page->more_records;
    if (!run.history.empty()) request.after_version = run.history.back().id;
    run.snapshot = *std::move(page);
  }
  return run;
}

std::vector<StoredRun> StoreReader::ReadAll() {
  std::vector<StoredRun> runs;
  for (const RunRow& row : ListAll()) {
    if (std::optional<StoredRun> run = Read(row.key)) runs.push_back(*std::move(run));
  }
  return runs;
}

}  // namespace marathon::chaos
