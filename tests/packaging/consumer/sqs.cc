// Where no service is, sending is a typed error.
#include <marathon/adapters/sqs.h>
#include <marathon/runtime/thread_runtime.h>

#include <future>

int main() {
  marathon::ThreadRuntime runtime(1, 1);
  const auto url = marathon::ParseBackendUrl("sqs://eu-west-1/123456789012/app?endpoint=http%3A%2F%2F127.0.0.1%3A1");
  const marathon::SqsOptions options{.access_key_id = "id", .secret_access_key = "secret", .log = nullptr};
  const marathon::Ports ports = marathon::SqsBackend(options).open(url.value(), runtime).value();
  std::promise<marathon::Status> sent;
  ports.queue->Send({{.task_queue = "q", .run = {"w", "r"}}}, [&](marathon::Status status) { sent.set_value(status); });
  return sent.get_future().get().code() == marathon::StatusCode::kUnavailable ? 0 : 1;
}
