#include "bench/core/progress.hpp"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace cuthresh::bench {
namespace {

/// A line that wraps cannot be overwritten.
std::size_t line_width(std::FILE* out) {
  winsize size{};
  if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 79;
  return static_cast<std::size_t>(size.ws_col) - 1;
}

}  // namespace

void ProgressLine::begin(const std::string& what, std::int64_t number, std::int64_t all) {
  if (!terminal_) return;
  const std::string line = fmt::format("[{}/{}] {}", number, all, what);
  clear();
  fmt::print(out_, "{}", line.substr(0, line_width(out_)));
  std::fflush(out_);
}

void ProgressLine::failed(const std::string& name, const std::string& message) {
  clear();
  fmt::print(out_, "cuthresh-bench: {}: {}\n", name, message);
  std::fflush(out_);
}

void ProgressLine::end() {
  clear();
  std::fflush(out_);
}

void ProgressLine::clear() {
  if (terminal_) fmt::print(out_, "\r\x1b[K");
}

bool stderr_is_terminal() {
  const char* kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && kind != nullptr && *kind != '\0' &&
         std::string_view(kind) != "dumb";
}

}  // namespace cuthresh::bench
