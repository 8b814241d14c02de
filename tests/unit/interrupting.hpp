#pragma once

// fit() interrupted after step after step, and gone on with by the same call each time.

#include <cstdint>
#include <string>
#include <utility>

#include "tests/unit/fit_fixture.hpp"

namespace cuthresh {

/// Cancels when it is first asked, which is after the first step of a call.
struct Interrupter : Listener {
  bool asked = false;
  bool cancelled() override { return !std::exchange(asked, true); }
};

inline fs::path checkpoint_of(const FitConfig& config) {
  return config.run.out + ".checkpoint";
}

/// Interrupts the training after so many further steps; the checkpoint is there then.
inline void interrupt_after(const FitConfig& config, std::int64_t steps) {
  for (std::int64_t i = 0; i < steps; ++i) {
    Interrupter interrupter;
    fit(config, &interrupter);
    ASSERT_TRUE(fs::exists(checkpoint_of(config))) << "after step " << i + 1;
  }
}

/// Lines without their last column, the seconds.
inline std::string without_seconds(const std::string& csv) {
  std::string out;
  std::stringstream lines(csv);
  for (std::string line; std::getline(lines, line);) out += line.substr(0, line.rfind(',')) + "\n";
  return out;
}

}  // namespace cuthresh
