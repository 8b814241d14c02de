#pragma once

#include <string>

#include "bench/core/result.hpp"
#include "bench/report/compare.hpp"

namespace cuthresh::bench {

/// A header and a line for each ceiling measurement, row and case that was left out, told apart by
/// the first column (ceiling_before, ceiling_after, case, left_out). Quoted as RFC 4180 says, lines
/// end in '\n'; figures have all their digits, and what a line has not got is empty. The machine is
/// repeated on every line, so that files can be put together.
std::string to_csv(const Report& report, const Comparison* compared = nullptr);

}  // namespace cuthresh::bench
