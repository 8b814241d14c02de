#pragma once

#include <cstddef>
#include <string>

#include "format.hpp"

namespace cuthresh::command {

/// Unicode when the locale's character set is UTF-8 (LC_ALL, LC_CTYPE, LANG, the first that is
/// set).
Style detect_style();

/// True when standard error is a terminal that understands control sequences.
bool stderr_is_terminal();

/// Columns of the terminal at standard error; 80 when it does not say.
std::size_t terminal_columns();

/// Writes to standard output and flushes. Throws std::runtime_error when that fails (a full disk).
void print(const std::string& text);

}  // namespace cuthresh::command
