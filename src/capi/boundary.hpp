#pragma once

// The edge of the C ABI: what runs behind it, and how what it throws becomes a status and a
// message.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <type_traits>

#include "cuthresh/cuthresh.h"
#include "cuthresh/error.hpp"

namespace cuthresh::capi {

/// What a caller gave, refused with the status that it gets.
class Refusal : public InputError {
 public:
  Refusal(cth_status status, ErrorInfo info) : InputError(std::move(info)), status_(status) {}
  cth_status status() const noexcept { return status_; }

 private:
  cth_status status_;
};

/// CTH_INVALID_ARGUMENT and CTH_UNSUPPORTED.
[[noreturn]] void invalid(std::string where, std::string what, std::string value,
                          std::string remedy);
[[noreturn]] void unsupported(std::string where, std::string what, std::string value,
                              std::string remedy);

/// "cth_plan_create, tensors" and the like.
std::string argument(const char* function, const std::string& name);
/// "tensors[3]"
std::string element(const char* name, std::size_t index);
/// The shortest text that is this number again.
std::string text_of(double value);
std::string text_of(float value);

/// A caller's enumeration may hold any number; reading it as one of its type would not be defined.
template <class Enum>
std::int32_t number_of(const Enum& value) {
  static_assert(sizeof(Enum) == sizeof(std::int32_t));
  std::int32_t number = 0;
  std::memcpy(&number, &value, sizeof number);
  return number;
}

/// A pointer that is needed.
void require(const char* function, const char* name, const void* pointer);
/// As many as there have to be; `of` says of what, "groups of the plan".
void require_count(const char* function, const char* name, std::size_t count, std::size_t wanted,
                   const char* of);

/// The status of the exception that is being handled; its message becomes this thread's last one,
/// in a buffer of fixed size: nothing here can fail for want of memory.
cth_status status_of_exception(const char* function) noexcept;

/// Every function of the ABI that returns a status is one of these.
template <class F>
cth_status guarded(const char* function, F&& body) noexcept {
  try {
    body();
    return CTH_OK;
  } catch (...) {
    return status_of_exception(function);
  }
}

/// At least as large as in the first version that had it. Looks at the tail of a struct that is
/// larger than ours: only zeros there.
void check_struct_size(const char* function, const void* options, std::size_t given,
                       std::size_t first, std::size_t known);

/// Options of a caller that was compiled with this header or another version of it: those before
/// ours are as they are by default in `known`. Null: all are. `first`: the size of the struct's
/// first version.
template <class T>
T read_options(const char* function, const T* given, const T& known,
               std::size_t first = sizeof(T)) {
  static_assert(std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>);
  if (given == nullptr) return known;
  check_struct_size(function, given, given->struct_size, first, sizeof(T));
  T options = known;
  std::memcpy(&options, given, std::min(given->struct_size, sizeof(T)));
  return options;
}

}  // namespace cuthresh::capi
