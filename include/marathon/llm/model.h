// Model: something that answers chat requests, asynchronously. A Client asks a provider over HTTP, a
// ScriptedModel a script.
//
// Safe from any thread.
#pragma once

#include <stop_token>
#include <utility>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/pace.h"

namespace marathon::inline MARATHON_ABI::llm {

class Model {
 public:
  using OnDelta = Callback<void(const Delta&)>;
  using OnResult = Callback<void(ChatResult)>;

  virtual ~Model() = default;

  // `on_delta`: called with each piece of the answer as it comes; may be empty.
  // `done`: called once, after the last piece, perhaps before Chat returns. `stop` ends the call with
  // kCanceled. Both are called on a thread of the model's, where they must neither block, since other calls wait,
  // nor throw.
  // There is no second try: whoever calls decides.
  virtual void Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) = 0;

  // The same within the limits that workers share. A call that would have to wait long is not made, and ends with an
  // error that has a permit. A model that knows of no limits just answers; one made of others hands `pace` on.
  virtual void ChatWithin(Pace pace, ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) {
    static_cast<void>(pace);
    Chat(std::move(request), std::move(stop), std::move(on_delta), std::move(done));
  }
};

}  // namespace marathon::inline MARATHON_ABI::llm
