#pragma once

#include <cstdlib>
#include <string>

namespace cuthresh::testing {

/// A table of tests/parity: of the tree that the test was built from, or of a bundle that
/// CTH_SOURCE_DIR names.
inline std::string parity_file(const std::string& name) {
  const char* bundle = std::getenv("CTH_SOURCE_DIR");
  return (bundle != nullptr ? std::string(bundle) : std::string(CTH_SOURCE_DIR)) +
         "/tests/parity/" + name;
}

}  // namespace cuthresh::testing
