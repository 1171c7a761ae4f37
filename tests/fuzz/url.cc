// Any text as the URL of a backend: an answer, never a crash, and no message shows what stands for a password.
#include <cstdlib>
#include <memory>
#include <string>

#include "marathon/adapters/memory.h"
#include "marathon/runtime/thread_runtime.h"
#include "marathon/store/open_ports.h"

namespace {

using namespace marathon;

// Whether a message gives the password away. One that the URL has elsewhere, or that any text may have, says nothing.
bool Tells(std::string_view text, std::string_view password, std::string_view message) {
  const size_t first = text.find(password);
  const bool telling = password.size() >= 12 && first != text.npos && text.find(password, first + 1) == text.npos;
  return telling && message.find(password) != message.npos;
}

void CheckUrl(std::string_view text) {
  const auto url = ParseBackendUrl(text);
  if (!url.ok()) return;
  const std::string shown = ToString(*url);
  const Status known = url->CheckParameters({"namespace"});
  Duration patience{0};
  const Status number = url->ReadMillis("patience", Duration(1), Duration(1'000), &patience);
  if (number.ok() && url->Find("patience") && (patience < Duration(1) || patience > Duration(1'000))) std::abort();
  for (const std::string_view message : {std::string_view(shown), MessageOf(known), MessageOf(number)}) {
    if (Tells(text, url->password, message)) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckUrl(text);
  ThreadRuntime runtime(1, 1);  // starts no thread before there is work
  const auto ports = OpenPorts(text, {std::make_shared<const Backend>(MemoryBackend())}, runtime);
  if (ports.ok() && (!ports->store || !ports->queue)) std::abort();
  return 0;
}
