// What the tests of the wire codecs share.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "src/llm/wire.h"

namespace marathon::llm::internal {

using EncodeFn = std::variant<std::string, Error>(const ChatRequest&, const Endpoint&);
using NewReaderFn = std::unique_ptr<ResponseReader>(Model::OnDelta);

inline nlohmann::json EncodedBy(EncodeFn encode, const ChatRequest& request, Endpoint endpoint) {
  const auto body = encode(request, endpoint);
  const auto* text = std::get_if<std::string>(&body);
  if (text != nullptr) return nlohmann::json::parse(*text);
  ADD_FAILURE() << std::get<Error>(body).message;
  return {};
}

inline Error RefusedBy(EncodeFn encode, const ChatRequest& request) {
  const auto body = encode(request, Endpoint());
  const auto* error = std::get_if<Error>(&body);
  EXPECT_NE(error, nullptr) << "it is accepted";
  return error != nullptr ? *error : Error();
}

struct Answer {
  ChatResponse response;
  std::vector<Delta> deltas;
  std::optional<Error> error;
  bool complete = false;
};

template <class Body>
Answer ReadBy(NewReaderFn new_reader, Body&& body) {
  Answer answer;
  const auto reader = new_reader([&](const Delta& delta) { answer.deltas.push_back(delta); });
  body(*reader, &answer);
  answer.complete = reader->complete();
  answer.response = reader->Take();
  return answer;
}
// Up to the first error.
inline Answer ReadEvents(NewReaderFn new_reader, const std::vector<std::string>& events) {
  return ReadBy(new_reader, [&](ResponseReader& reader, Answer* answer) {
    for (const std::string& data : events) {
      if (!answer->error) answer->error = reader.OnEvent({.type = {}, .data = data});
    }
  });
}
inline Answer ReadBody(NewReaderFn new_reader, const std::string& body) {
  return ReadBy(new_reader, [&](ResponseReader& reader, Answer* answer) {
    answer->error = reader.OnBody(body);
  });
}

}  // namespace marathon::llm::internal
