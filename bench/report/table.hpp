#pragma once

#include <string>

#include "bench/core/result.hpp"
#include "bench/report/compare.hpp"

namespace cuthresh::bench {

/// For a terminal: lines of at most 100 columns, but for names that are longer themselves.
std::string to_table(const Report& report, const Comparison* compared = nullptr);

/// For a README.
std::string to_markdown(const Report& report, const Comparison* compared = nullptr);

}  // namespace cuthresh::bench
