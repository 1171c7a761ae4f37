// Extractive summaries: the sentences of a text that have most in common with its other sentences
// (TextRank, Mihalcea and Tarau 2004, with the longest common subsequence as likeness).
// Pure functions.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace text_rank {

// The text without line breaks, cut behind each full stop; titles, tables and code are left out.
inline std::vector<std::string> Sentences(std::string_view text) {
  std::vector<std::string> sentences;
  std::string current;
  const auto cut = [&] {
    if (current.size() > 40) sentences.push_back(current);
    current.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const bool space = std::isspace(static_cast<unsigned char>(text[i])) != 0;
    if (text[i] == '\n' && i + 1 < text.size() && text[i + 1] == '\n') {
      current.clear();  // a paragraph that ends without a full stop
    } else if (!space) {
      current += text[i];
    } else if (!current.empty() && current.back() == '.') {
      cut();
    } else if (!current.empty() && current.back() != ' ') {
      current += ' ';
    }
  }
  if (!current.empty() && current.back() == '.') cut();
  return sentences;
}

// How much two sentences share: letters in the same order, against their lengths. 0 to 1.
inline double Likeness(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  for (const char letter : a) {
    int diagonal = 0;
    for (size_t j = 0; j < b.size(); ++j) {
      const int up = row[j + 1];
      row[j + 1] = letter == b[j] ? diagonal + 1 : std::max(up, row[j]);
      diagonal = up;
    }
  }
  return 2.0 * row.back() / static_cast<double>(a.size() + b.size());
}

// The `count` most central sentences, in the order of the text.
inline std::vector<std::string> Summary(const std::vector<std::string>& sentences, size_t count) {
  const size_t n = sentences.size();
  std::vector<std::vector<double>> like(n, std::vector<double>(n));
  std::vector<double> total(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) {
      like[i][j] = like[j][i] = Likeness(sentences[i], sentences[j]);
      total[i] += like[i][j];
      total[j] += like[i][j];
    }
  }
  std::vector<double> rank(n, 1);
  for (int round = 0; round < 30; ++round) {
    std::vector<double> next(n, 0.15);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        if (total[j] > 0) next[i] += 0.85 * rank[j] * like[i][j] / total[j];
      }
    }
    rank = next;
  }
  std::vector<size_t> best(n);
  for (size_t i = 0; i < n; ++i) best[i] = i;
  std::sort(best.begin(), best.end(), [&](size_t a, size_t b) {
    return rank[a] != rank[b] ? rank[a] > rank[b] : a < b;
  });
  best.resize(std::min(count, n));
  std::sort(best.begin(), best.end());
  std::vector<std::string> summary;
  for (const size_t i : best) summary.push_back(sentences[i]);
  return summary;
}

}  // namespace text_rank
