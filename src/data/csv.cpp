#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/suggest.hpp"
#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"
#include "data/text.hpp"

namespace cuthresh {
namespace {

constexpr std::int64_t kAbsent = -1;

// A name or a cell with its quotes taken off; `rest` is what follows its comma. False for an
// unclosed quote or text behind a closing one.
bool take_quoted(std::string_view& rest, std::string& cell, bool& more) {
  cell.clear();
  std::size_t at = rest.find('"') + 1;
  while (true) {
    const std::size_t quote = rest.find('"', at);
    if (quote == std::string_view::npos) return false;
    cell.append(rest.substr(at, quote - at));
    at = quote + 1;
    if (at >= rest.size() || rest[at] != '"') break;
    cell += '"';  // "" inside quotes is one quote
    ++at;
  }
  const std::size_t comma = rest.find(',', at);
  const bool clean =
      text::trim(rest.substr(at, comma == std::string_view::npos ? comma : comma - at)).empty();
  more = comma != std::string_view::npos;
  rest.remove_prefix(more ? comma + 1 : rest.size());
  return clean;
}

bool starts_quoted(std::string_view rest) {
  const std::size_t first = rest.find_first_not_of(" \t");
  return first != std::string_view::npos && rest[first] == '"';
}

// Takes the text up to the next comma off `rest`.
std::string_view take_plain(std::string_view& rest, bool& more) {
  const std::size_t comma = rest.find(',');
  const std::string_view cell = text::trim(rest.substr(0, comma));
  more = comma != std::string_view::npos;
  rest.remove_prefix(more ? comma + 1 : rest.size());
  return cell;
}

std::vector<std::string> parse_header(const text::LineReader& reader, std::string_view line) {
  std::vector<std::string> names;
  for (bool more = true; more;) {
    std::string name;
    if (starts_quoted(line)) {
      const std::string_view whole = line;
      if (!take_quoted(line, name, more)) {
        reader.refuse("a column name with an unmatched quote", whole,
                      "close the quote, and write \"\" for a quote inside a name");
      }
    } else {
      name = take_plain(line, more);
    }
    if (name.empty()) {
      reader.refuse("column " + std::to_string(names.size() + 1) + " has no name", "",
                    "name every column, and leave out a row-number column (index=False in pandas)");
    }
    names.push_back(std::move(name));
  }
  return names;
}

// A file without a header would lose its first row silently. pandas numbers nameless columns 0, 1,
// 2 ..., so whole numbers in a row are taken as names.
void check_names(const text::LineReader& reader, const std::vector<std::string>& names) {
  const bool numbers = std::all_of(names.begin(), names.end(), [](const std::string& name) {
    float ignored = 0.0f;
    return text::parse_float(name, ignored) != text::NumberError::kMalformed;
  });
  std::int64_t first = 0;
  bool counted = text::parse_index(names.front(), first) && (first == 0 || first == 1);
  for (std::size_t i = 0; i < names.size() && counted; ++i) {
    counted = names[i] == std::to_string(first + static_cast<std::int64_t>(i));
  }
  if (numbers && !counted) {
    reader.refuse("expected a header line with column names and found numbers", names.front(),
                  "put the names of the columns on the first line");
  }
  std::unordered_map<std::string_view, std::size_t> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto [earlier, added] = seen.emplace(names[i], i);
    if (added) continue;
    reader.refuse("columns " + std::to_string(earlier->second + 1) + " and " +
                      std::to_string(i + 1) + " have the same name",
                  names[i], "give every column a name of its own");
  }
  if (names.size() == 1) {
    reader.refuse("only one column, and at least one input and one target are needed", names[0],
                  "separate the values by commas");
  }
}

// For each column its place among the targets, or kAbsent for an input.
std::vector<std::int64_t> place_targets(const text::LineReader& reader,
                                        const std::vector<std::string>& names,
                                        const std::vector<std::string>& targets) {
  std::vector<std::int64_t> places(names.size(), kAbsent);
  if (targets.empty()) places.back() = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto found = std::find(names.begin(), names.end(), targets[i]);
    if (found == names.end()) {
      const std::vector<std::string_view> candidates(names.begin(), names.end());
      reader.refuse(
          "no column of this name to learn", targets[i],
          text::printable(did_you_mean(targets[i], candidates, "name columns of the header line")));
    }
    std::int64_t& place = places[static_cast<std::size_t>(found - names.begin())];
    if (place != kAbsent) {
      reader.refuse("the same column to learn twice", targets[i],
                    "name it once in data.target_columns");
    }
    place = static_cast<std::int64_t>(i);
  }
  if (std::find(places.begin(), places.end(), kAbsent) == places.end()) {
    reader.refuse("every column is to be learnt, and none is left as input", "",
                  "name fewer columns in data.target_columns");
  }
  return places;
}

class RowParser {
 public:
  RowParser(const text::LineReader& reader, const std::vector<std::string>& names,
            const std::vector<std::int64_t>& places, Dataset& data)
      : reader_(reader), names_(names), places_(places), data_(data) {}

  void parse(std::string_view line) {
    const std::string_view whole = line;
    const std::size_t first_target = data_.targets.size();
    data_.targets.resize(first_target + static_cast<std::size_t>(data_.outputs));
    std::size_t column = 0;
    for (bool more = true; more; ++column) {
      if (column == names_.size()) wrong_count(whole);
      const float value = parse_cell(line, column, more);
      if (places_[column] == kAbsent) {
        data_.inputs.push_back(value);
      } else {
        data_.targets[first_target + static_cast<std::size_t>(places_[column])] = value;
      }
    }
    if (column != names_.size()) wrong_count(whole);
    ++data_.rows;
  }

 private:
  float parse_cell(std::string_view& line, std::size_t column, bool& more) {
    std::string_view cell;
    if (starts_quoted(line)) {
      const std::string_view whole = line;
      if (!take_quoted(line, quoted_, more)) {
        reader_.refuse(in(column) + "a value with an unmatched quote", whole,
                       "write plain numbers");
      }
      cell = text::trim(quoted_);
    } else {
      cell = take_plain(line, more);
    }
    float value = 0.0f;
    const text::NumberError error = text::parse_float(cell, value);
    if (error == text::NumberError::kNone) return value;
    if (cell.empty()) {
      reader_.refuse(in(column) + "the value is missing", "", "fill it in or drop the row");
    }
    reader_.refuse(in(column) + "the value " + text::describe(error), cell,
                   error == text::NumberError::kMalformed
                       ? "write numbers only, with a point for decimals"
                       : "replace it by a finite number or drop the row");
  }

  std::string in(std::size_t column) const {
    return "column \"" + text::printable(names_[column]) + "\": ";
  }

  [[noreturn]] void wrong_count(std::string_view line) const {
    const auto count = 1 + std::count(line.begin(), line.end(), ',');
    reader_.refuse(
        "expected " + std::to_string(names_.size()) + " values, as many as the header has names",
        std::to_string(count) + " values", "add or remove values, or mend the header");
  }

  const text::LineReader& reader_;
  const std::vector<std::string>& names_;
  const std::vector<std::int64_t>& places_;
  Dataset& data_;
  std::string quoted_;
};

// The next line that is not blank.
bool next_line(text::LineReader& reader, std::string_view& line) {
  while (reader.next(line)) {
    if (!text::trim(line).empty()) return true;
  }
  return false;
}

}  // namespace

Dataset read_csv(const std::string& path, const std::vector<std::string>& target_columns) {
  text::LineReader reader(path);
  std::string_view line;
  if (!next_line(reader, line)) {
    throw InputError({path, "the data file holds blank lines only", "",
                      "give a file with a header line and at least one row"});
  }
  const std::vector<std::string> names = parse_header(reader, line);
  check_names(reader, names);
  const std::vector<std::int64_t> places = place_targets(reader, names, target_columns);

  Dataset data;
  data.outputs = target_columns.empty() ? 1 : static_cast<std::int64_t>(target_columns.size());
  data.features = static_cast<std::int64_t>(names.size()) - data.outputs;
  data.source = text::file_name(path);
  RowParser parser(reader, names, places, data);
  while (next_line(reader, line)) parser.parse(line);
  if (data.rows == 0) {
    throw InputError({path, "the data file has a header line and no rows", "",
                      "give a file with at least one row"});
  }
  return data;
}

}  // namespace cuthresh
