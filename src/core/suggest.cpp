#include "core/suggest.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace cuthresh {
namespace {

char fold(char c) {
  if (c == '-') return '_';
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::int64_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table of distances between prefixes: a swap looks two rows back.
  std::vector<std::int64_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = static_cast<std::int64_t>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<std::int64_t>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = fold(a[i - 1]) == fold(b[j - 1]);
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      const bool swapped =
          i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, row);
  }
  return previous[b.size()];
}

std::optional<std::string_view> nearest(std::string_view word,
                                        const std::vector<std::string_view>& candidates) {
  // Keys and column names are short; a pasted megabyte must not cost a table of that size for every
  // candidate.
  if (word.size() > 64) return std::nullopt;
  std::optional<std::string_view> best;
  std::int64_t best_distance = 0;
  for (const std::string_view candidate : candidates) {
    const std::int64_t distance = edit_distance(word, candidate);
    const auto longer = static_cast<std::int64_t>(std::max(word.size(), candidate.size()));
    // All letters replaced is no misspelling, however short the word.
    if (distance > std::max<std::int64_t>(2, longer / 3) || distance >= longer) continue;
    if (!best || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& candidates,
                         const std::string& otherwise) {
  const auto near = nearest(word, candidates);
  return near ? "did you mean \"" + std::string(*near) + "\"?" : otherwise;
}

}  // namespace cuthresh
