#include "shape.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <vector>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// A step of more words does so much that its script hardly matters.
constexpr int kMostWords = 100;

// Of shapes that are counted; then counting begins anew.
constexpr size_t kMostShapes = 1000;

// The words of a command, one after the other.
class Words {
 public:
  explicit Words(std::string_view body) : rest_(body) {}
  // As it is sent, with its length.
  std::string_view Next(std::string_view& word) {
    size_t size = 0;
    const char* const digits = rest_.data() + 1;
    const char* const end = std::from_chars(digits, rest_.data() + rest_.size(), size).ptr;
    word = {end + 2, size};
    const size_t all = static_cast<size_t>(end + 2 - rest_.data()) + size + 2;
    const std::string_view sent = rest_.substr(0, all);
    rest_.remove_prefix(all);
    return sent;
  }

 private:
  std::string_view rest_;
};

// The numbers of a plan.
class Numbers {
 public:
  explicit Numbers(std::string_view plan) : rest_(plan) {}
  int Next() {
    int number = 0;
    for (int i = 0; i < 3; ++i) number = number << 8 | static_cast<unsigned char>(rest_[static_cast<size_t>(i)]);
    rest_.remove_prefix(3);
    return number;
  }

 private:
  std::string_view rest_;
};

// Fields have names of one letter, and flags are digits.
bool BelongsToShape(std::string_view argument) {
  if (argument.size() != 1) return false;
  const char c = argument[0];
  return ('a' <= c && c <= 'z') || ('0' <= c && c <= '9');
}

// What Lua makes of its arguments.
std::string Listed(const std::vector<std::string>& values, std::string_view key) {
  std::string list(key);
  for (const std::string& value : values) list.append(", ").append(value);
  return list;
}

// Lines that answer {1, time, number} unless the check holds.
void AppendCheck(std::string_view kind, int number, const std::string& key, const std::vector<std::string>& values,
                 std::string& text) {
  const auto unless = [&](const std::string& holds) {
    fmt::format_to(std::back_inserter(text), "if not ({}) then return {{1, time, {}}} end\n", holds, number);
  };
  if (kind == "n") return unless(fmt::format("call('SCARD', {}) == tonumber({})", key, values[0]));
  if (kind != "=") {
    for (const std::string& field : values) {
      unless(fmt::format("call('HEXISTS', {}, {}) == {}", key, field, kind == "+" ? 1 : 0));
    }
    return;
  }
  for (size_t i = 0; i + 1 < values.size(); i += 2) {
    unless(fmt::format("call('HGET', {}, {}) == {}", key, values[i], values[i + 1]));
  }
}

// Empty if it has a verb that only step.lua knows.
std::string TextFor(std::string_view plan, std::string_view words) {
  std::string text;
  text.append(kRedisCommonScript).append(kRedisClockScript).append("local K, A = KEYS, ARGV\n");
  Numbers numbers(plan);
  Words rest(words);
  numbers.Next();
  const int checks = numbers.Next(), parts = checks + numbers.Next() + numbers.Next();
  int taken = 1;  // of ARGV
  for (int part = 1; part <= parts; ++part) {
    const std::string key = fmt::format("K[{}]", numbers.Next());
    std::vector<std::string> values(static_cast<size_t>(numbers.Next()));
    std::string_view name, word;
    rest.Next(name);
    for (std::string& value : values) {
      rest.Next(word);
      value = BelongsToShape(word) ? fmt::format("'{}'", word) : fmt::format("A[{}]", ++taken);
    }
    if (part <= checks) {
      AppendCheck(name, part, key, values, text);
      continue;
    }
    const bool is_verb = 'a' <= name[0] && name[0] <= 'z';
    if (is_verb && kRedisCommonScript.find(fmt::format("function verbs.{}(", name)) == std::string_view::npos) return {};
    text += is_verb ? fmt::format("verbs.{}({})\n", name, Listed(values, key))
                    : fmt::format("call('{}', {})\n", name, Listed(values, key));
  }
  return text.append("return time\n");
}

}  // namespace

std::string RedisScriptDigest(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

const RedisShapes::Script* RedisShapes::For(const RedisStep& step, RedisCommand& arguments) {
  if (step.reads() > 0) return nullptr;
  const RedisCommand words = step.Words();
  if (words.count() > kMostWords) return nullptr;
  const std::string plan = step.Plan();
  std::string shape = plan;
  arguments.Reserve(words.body().size());
  Numbers numbers(plan);
  Words rest(words.body());
  numbers.Next();
  const int parts = numbers.Next() + numbers.Next() + numbers.Next();
  for (int part = 0; part < parts; ++part) {
    std::string_view word;
    rest.Next(word);
    shape.append(word).append(1, ' ');
    numbers.Next();
    for (int left = numbers.Next(); left > 0; --left) {
      const std::string_view sent = rest.Next(word);
      const bool belongs = BelongsToShape(word);
      shape += belongs ? word[0] : '*';
      if (!belongs) arguments.AddBody(1, sent);
    }
  }
  if (shapes_.size() >= kMostShapes && !shapes_.contains(shape)) {
    std::erase_if(shapes_, [](const auto& entry) { return entry.second.script.text.empty(); });
  }
  Shape& known = shapes_[shape];
  if (known.times < kTimes && ++known.times == kTimes && scripts_ < kMostScripts) {
    known.script.text = TextFor(plan, words.body());
    known.script.digest = RedisScriptDigest(known.script.text);
    if (!known.script.text.empty()) ++scripts_;
  }
  return known.script.text.empty() ? nullptr : &known.script;
}

}  // namespace marathon::inline MARATHON_ABI::detail
