#include <cstring>

#include "cpu/loops.hpp"

namespace cuthresh::cpu {

const Loops* find_loops(const char* name) {
  const auto wanted = [name](const char* n) {
    return name == nullptr || std::strcmp(name, n) == 0;
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (wanted("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("fma")) {
    return &kLoopsAvx512;
  }
  if (wanted("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return &kLoopsAvx2;
#endif
  return wanted("baseline") ? &kLoopsBaseline : nullptr;
}

}  // namespace cuthresh::cpu
