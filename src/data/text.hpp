#pragma once

// What the readers of text share: a file as lines, numbers, and refusals that name file, line and
// token.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cuthresh/data.hpp"

namespace cuthresh::text {

/// A text file held in memory and handed out line by line, without "\n" or "\r\n" and without a
/// UTF-8 byte-order mark.
class LineReader {
 public:
  /// Reads the file; throws InputError when that fails or it is empty.
  explicit LineReader(const std::string& path);

  /// The next line; false at the end. The view lives as long as the reader.
  bool next(std::string_view& line);
  std::int64_t line_number() const { return line_number_; }
  std::int64_t bytes() const { return static_cast<std::int64_t>(bytes_.size()); }

  /// Throws the InputError for this line. A last line without its newline is named as a possible
  /// truncation.
  [[noreturn]] void refuse(const std::string& what, std::string_view token,
                           const std::string& remedy) const;

 private:
  std::string path_;
  std::string bytes_;
  std::size_t at_ = 0;
  std::int64_t line_number_ = 0;
};

enum class NumberError { kNone, kMalformed, kNotFinite, kTooLarge };

/// The nearest float32 to a decimal number that is all of `token`; a leading '+' is accepted, what
/// is smaller than half the least denormal becomes a zero of its sign.
NumberError parse_float(std::string_view token, float& value);

/// "is not a number" and so on: what to say for an error, never kNone.
const char* describe(NumberError error);

/// All of `token` as decimal digits that fit in 63 bits.
bool parse_index(std::string_view token, std::int64_t& value);

/// Without spaces and tabs at either end.
std::string_view trim(std::string_view token);

/// A token fit for a message: at most 60 bytes, control characters as \xNN.
std::string printable(std::string_view token);

/// "mg_scale.libsvm" of "data/mg_scale.libsvm".
std::string file_name(const std::string& path);

/// Throws InputError when rows × columns floats do not fit in this machine's memory.
void check_fits_memory(const std::string& path, std::int64_t rows, std::int64_t columns);

/// Throws InputError unless the extents are in range and agree with the sizes of the vectors.
void check_shape(const Dataset& data);

}  // namespace cuthresh::text
