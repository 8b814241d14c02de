#pragma once

// What a path leaves behind, as text.

#include <string>

#include "cuthresh/path.hpp"

namespace cuthresh {

/// path.json (schema "cuthresh/path/1"): the points, and `key`, which says what they belong to.
std::string path_json(const PathResult& result, const std::string& key);
/// The points of a path.json; empty where its key is another. Throws InputError when `text` is no
/// path.json; `name` stands for it in the message.
std::optional<PathResult> read_path_json(const std::string& text, const std::string& name,
                                         const std::string& key);
/// A line a point under a header.
std::string path_csv(const PathResult& result);
/// Error over the number of nonzeros.
std::string path_svg(const PathResult& result);

}  // namespace cuthresh
