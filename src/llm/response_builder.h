// ResponseBuilder puts a response together from its pieces, and tells them on.
//
// One thread at a time.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/model.h"

namespace marathon::inline MARATHON_ABI::llm::internal {

class ResponseBuilder {
 public:
  static constexpr size_t kNone = ~size_t{0};

  explicit ResponseBuilder(Model::OnDelta on_delta) : on_delta_(std::move(on_delta)) {}

  // `block`: where to append; kNone opens a block and says which. An empty piece does nothing.
  void AppendText(size_t& block, std::string_view piece);
  void AppendReasoning(size_t& block, std::string_view piece, std::string_view field = {});

  // An id that is empty, or taken, becomes another.
  size_t OpenToolCall(std::string id, std::string name);
  void AppendArguments(size_t block, std::string_view piece);
  // Of a call whose name comes late.
  void SetName(size_t block, std::string name);

  // Without a delta.
  size_t Open(Block block);

  template <class T>
  T* Find(size_t block) {
    return block < response.blocks.size() ? std::get_if<T>(&response.blocks[block]) : nullptr;
  }
  bool empty() const { return response.blocks.empty(); }
  ChatResponse Take();

  ChatResponse response;

 private:
  void Tell(Delta::Kind kind, size_t block, std::string_view text, std::string_view id = {});

  Model::OnDelta on_delta_;
  std::set<std::string> ids_;
};

}  // namespace marathon::inline MARATHON_ABI::llm::internal
