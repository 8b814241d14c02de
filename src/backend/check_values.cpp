#include "backend/check_values.hpp"

#include <utility>

namespace cuthresh {

void refuse(std::string where, std::string what, std::string value, std::string remedy) {
  throw RefusedArgument({std::move(where), std::move(what), std::move(value), std::move(remedy)});
}

std::string hex(const void* pointer) {
  constexpr char kDigits[] = "0123456789abcdef";
  auto bits = reinterpret_cast<std::uintptr_t>(pointer);
  std::string text;
  do text.insert(text.begin(), kDigits[bits % 16]);
  while ((bits /= 16) != 0);
  return "0x" + text;
}

void check_pointer(const std::string& where, const char* name, const void* pointer,
                   std::size_t alignment) {
  if (pointer == nullptr) {
    refuse(where, std::string(name) + " must not be null", "null", "pass device memory");
  }
  if (reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0) {
    refuse(where,
           std::string(name) + " must lie on a multiple of " + std::to_string(alignment) + " bytes",
           hex(pointer), "pass a pointer to whole elements");
  }
}

void check_extent(const std::string& where, const char* name, std::int64_t extent,
                  std::int64_t least) {
  if (extent >= least && extent <= kMaxElements) return;
  refuse(where, std::string(name) + " must be from " + std::to_string(least) + " to 2^60",
         std::to_string(extent), "check the shape");
}

void check_product(const std::string& where, const char* name, std::int64_t a, std::int64_t b) {
  if (b == 0 || a <= kMaxElements / b) return;
  refuse(where, std::string(name) + " has more than 2^60 elements",
         std::to_string(a) + " x " + std::to_string(b), "use a smaller network or batch");
}

}  // namespace cuthresh
