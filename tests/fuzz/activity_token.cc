// Any text as the token of an activity that completes later: an answer that nothing is done, never a crash.
#include <cstdlib>
#include <string>

#include "marathon/marathon.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace marathon;
  static auto* const engine = new StatusOr<Engine>(Engine::Open("memory:", Registry()));
  const std::string_view token(reinterpret_cast<const char*>(data), size);
  for (const Status& status : {(*engine)->CompleteActivity(token, 1), (*engine)->FailActivity(token, Failure())}) {
    const bool refused = status.code() == StatusCode::kInvalidArgument || status.code() == StatusCode::kNotFound;
    if (!refused) std::abort();  // there is no activity
  }
  return 0;
}
