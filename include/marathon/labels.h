// Labels: small texts by which a run shows itself. Its attributes, by which List finds it, and its memo, which is only
// shown. They are kept in the run's row, which each of its turns writes, and follow it along its chain.
//
//   engine.Start("Checkout", order, {.memo = {{"for", "Ada Lovelace"}}, .attributes = {{"customer", "c-7"}}});
//   ctx.SetAttributes({{"stage", "paid"}});                           // in the workflow
//   engine.List({.attributes = {{"customer", "c-7"}, {"stage", "paid"}}});
//
// Values and pure functions; no thread rule.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI {

// Names and their texts. A name is there once; where the library gives them, by ascending name.
using Labels = std::vector<std::pair<std::string, std::string>>;

struct RunLabels {
  Labels memo;
  Labels attributes;

  bool empty() const { return memo.empty() && attributes.empty(); }
  friend bool operator==(const RunLabels&, const RunLabels&) = default;
};

// The text of `name`; empty: there is none.
std::string_view LabelOf(const Labels& labels, std::string_view name);

namespace detail {

// Sets each of `changes`, in order; an empty text takes the name away.
void SetLabels(Labels& labels, const Labels& changes);
// Whether all of `wanted` are among `labels`.
bool HasLabels(const Labels& labels, const Labels& wanted);
// kInvalidArgument: a name or a text is none, or a name is there twice; kResourceExhausted: over kMaxLabels or
// kMaxLabelsBytes. `what` they are, for the message: "attribute".
Status CheckLabels(std::string_view what, const Labels& labels);

}  // namespace detail
}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/labels-inl.h"
#endif
