#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cuthresh {

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other (the
/// restricted Damerau-Levenshtein distance); letters of either case are equal, and so are '-' and
/// '_'.
std::int64_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, the first of equals; nothing when none is near enough to be a
/// misspelling (more than 2 edits and more than a third of the longer word).
std::optional<std::string_view> nearest(std::string_view word,
                                        const std::vector<std::string_view>& candidates);

/// `did you mean "tanh"?`, or `otherwise` when nothing is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& candidates,
                         const std::string& otherwise);

}  // namespace cuthresh
