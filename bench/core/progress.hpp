#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

#include "bench/core/runner.hpp"

namespace cuthresh::bench {

/// Failures on a line each, and what runs now on a line that is overwritten where `out` is a
/// terminal.
class ProgressLine final : public Observer {
 public:
  ProgressLine(std::FILE* out, bool terminal) : out_(out), terminal_(terminal) {}

  void begin(const std::string& what, std::int64_t number, std::int64_t all) override;
  void failed(const std::string& name, const std::string& message) override;
  void end() override;

 private:
  void clear();

  std::FILE* out_;
  bool terminal_;
};

/// Whether standard error is a terminal that can overwrite a line.
bool stderr_is_terminal();

}  // namespace cuthresh::bench
