#include "data/text.hpp"

#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "cuthresh/error.hpp"
#include "io/input_file.hpp"

namespace cuthresh::text {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// std::from_chars reports an underflow as out of range, exactly like an overflow, and leaves no
// value.
NumberError resolve_range(const char* begin, const char* end, float& value) {
  long double wide = 0.0L;
  const auto result = std::from_chars(begin, end, wide);
  // Past 1e±4932 too: the exponent's sign decides.
  const bool tiny =
      result.ec == std::errc()
          ? std::fabs(wide) < 1.0L
          : std::string_view(begin, static_cast<std::size_t>(end - begin)).find_first_of("eE") !=
                    std::string_view::npos &&
                std::string_view(begin, static_cast<std::size_t>(end - begin)).find("-", 1) !=
                    std::string_view::npos;
  if (!tiny) return NumberError::kTooLarge;
  value = result.ec == std::errc() ? static_cast<float>(wide) : (*begin == '-' ? -0.0f : 0.0f);
  return NumberError::kNone;
}

}  // namespace

LineReader::LineReader(const std::string& path)
    : path_(path), bytes_(read_whole_file(path, "data file")) {
  if (bytes_.compare(0, kByteOrderMark.size(), kByteOrderMark) == 0) at_ = kByteOrderMark.size();
  if (at_ == bytes_.size()) {
    throw InputError({path_, "the data file is empty", "", "give a file with at least one row"});
  }
}

bool LineReader::next(std::string_view& line) {
  if (at_ >= bytes_.size()) return false;
  const char* begin = bytes_.data() + at_;
  const std::size_t left = bytes_.size() - at_;
  const auto* newline = static_cast<const char*>(std::memchr(begin, '\n', left));
  std::size_t length = newline == nullptr ? left : static_cast<std::size_t>(newline - begin);
  at_ += newline == nullptr ? length : length + 1;
  if (length > 0 && begin[length - 1] == '\r') --length;
  line = {begin, length};
  ++line_number_;
  return true;
}

void LineReader::refuse(const std::string& what, std::string_view token,
                        const std::string& remedy) const {
  const bool cut = at_ >= bytes_.size() && bytes_.back() != '\n';
  throw InputError({path_ + ":" + std::to_string(line_number_),
                    cut ? what + " (the file ends inside this line)" : what, printable(token),
                    cut ? "the file may be cut short: get it again, or " + remedy : remedy});
}

NumberError parse_float(std::string_view token, float& value) {
  const char* begin = token.data();
  const char* end = begin + token.size();
  if (begin != end && *begin == '+') {
    ++begin;
    if (begin != end && *begin == '-') return NumberError::kMalformed;
  }
  const auto result = std::from_chars(begin, end, value);
  if (result.ptr != end || result.ec == std::errc::invalid_argument) {
    return NumberError::kMalformed;
  }
  if (result.ec == std::errc::result_out_of_range) return resolve_range(begin, end, value);
  return std::isfinite(value) ? NumberError::kNone : NumberError::kNotFinite;
}

const char* describe(NumberError error) {
  switch (error) {
    case NumberError::kNotFinite:
      return "is not finite";
    case NumberError::kTooLarge:
      return "is too large for float32 (at most 3.4028235e38)";
    default:
      return "is not a number";
  }
}

bool parse_index(std::string_view token, std::int64_t& value) {
  if (token.empty() || token.front() < '0' || token.front() > '9') return false;
  const auto result = std::from_chars(token.data(), token.data() + token.size(), value);
  return result.ec == std::errc() && result.ptr == token.data() + token.size();
}

std::string_view trim(std::string_view token) {
  while (!token.empty() && (token.front() == ' ' || token.front() == '\t')) token.remove_prefix(1);
  while (!token.empty() && (token.back() == ' ' || token.back() == '\t')) token.remove_suffix(1);
  return token;
}

std::string printable(std::string_view token) {
  constexpr std::size_t kLongest = 60;
  constexpr char kHex[] = "0123456789abcdef";
  std::string shown;
  for (const char c : token.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      shown += "\\x";
      shown += kHex[byte >> 4];
      shown += kHex[byte & 15];
    } else {
      shown += c;
    }
  }
  return token.size() > kLongest ? shown + "..." : shown;
}

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

void check_fits_memory(const std::string& path, std::int64_t rows, std::int64_t columns) {
  const double gib = static_cast<double>(rows) * static_cast<double>(columns) * 4.0 / 0x1p30;
  const double machine = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
                         static_cast<double>(::sysconf(_SC_PAGESIZE)) / 0x1p30;
  if (gib <= machine) return;
  throw InputError({path,
                    "too large to hold: " + std::to_string(rows) + " rows of " +
                        std::to_string(columns) + " inputs as float32 need " + std::to_string(gib) +
                        " GiB and this machine has " + std::to_string(machine) + " GiB",
                    "", "use fewer rows or smaller feature indices"});
}

void check_shape(const Dataset& data) {
  const std::string where = data.source.empty() ? "data set" : data.source;
  if (data.rows < 0 || data.features < 1 || data.outputs < 1) {
    throw InputError({where, "a data set needs rows >= 0, features >= 1 and outputs >= 1",
                      std::to_string(data.rows) + ", " + std::to_string(data.features) + ", " +
                          std::to_string(data.outputs),
                      "fill in the three extents"});
  }
  const bool images = data.has_images();
  const auto inputs = static_cast<std::int64_t>(images ? data.pixels.size() : data.inputs.size());
  const auto targets = static_cast<std::int64_t>(data.targets.size());
  // Division instead of products: the extents are not yet known to be sane.
  const bool good = data.rows == 0
                        ? inputs == 0 && targets == 0
                        : inputs / data.rows == data.features && inputs % data.rows == 0 &&
                              targets / data.rows == data.outputs && targets % data.rows == 0;
  if (good) return;
  throw InputError({where,
                    "expected " + std::to_string(data.rows) + " rows of " +
                        std::to_string(data.features) + " inputs and " +
                        std::to_string(data.outputs) + " targets",
                    std::to_string(inputs) + " inputs and " + std::to_string(targets) + " targets",
                    "make the vectors rows x features and rows x outputs long"});
}

}  // namespace cuthresh::text
