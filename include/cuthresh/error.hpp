#pragma once

#include <stdexcept>
#include <string>

#include "cuthresh/export.hpp"

namespace cuthresh {

/// What went wrong, in the four parts that every message of this library has.
struct ErrorInfo {
  std::string where;   ///< file and line, configuration key, layer or argument
  std::string what;    ///< what is wrong and what was expected
  std::string value;   ///< the offending value as the user wrote it; empty when there is none
  std::string remedy;  ///< what to do about it, as an imperative
};

/// Something the caller gave is unusable: a file, a key, a shape, a range. The command exits
/// with 2. what() reads "where: what (got value); remedy".
class CTH_API InputError : public std::runtime_error {
 public:
  explicit InputError(ErrorInfo info);
  const ErrorInfo& info() const noexcept { return info_; }

 private:
  ErrorInfo info_;
};

/// A promise of this library was broken, or the machine failed it (out of memory, a library call
/// that returned an error). The command exits with 1.
class CTH_API InternalError : public std::runtime_error {
 public:
  explicit InternalError(ErrorInfo info);
  const ErrorInfo& info() const noexcept { return info_; }

 private:
  ErrorInfo info_;
};

}  // namespace cuthresh
