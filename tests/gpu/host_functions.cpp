// The host's side of functions_test.cpp: 2^32 values a function are many for calls of fmaf, so
// these loops are compiled for processors with fused multiply-adds too, and vectorised.

#include "host_functions.hpp"

#include "kernels/math/elementary.hpp"
#include "kernels/scalar.hpp"

#if defined(__x86_64__)
#define CTH_CLONES __attribute__((target_clones("arch=haswell", "default")))
#else
#define CTH_CLONES
#endif

namespace cuthresh::testing {
namespace {

struct Exp {
  CTH_HD std::uint32_t operator()(float x) const {
    return __builtin_bit_cast(std::uint32_t, exp_float(x));
  }
};
struct Log {
  CTH_HD std::uint32_t operator()(float x) const {
    return __builtin_bit_cast(std::uint32_t, log_float(x));
  }
};
struct Tanh {
  CTH_HD std::uint32_t operator()(float x) const {
    return __builtin_bit_cast(std::uint32_t, tanh_float(x));
  }
};
struct Erf {
  CTH_HD std::uint32_t operator()(float x) const {
    return __builtin_bit_cast(std::uint32_t, erf_float(x));
  }
};
struct Sigmoid {
  CTH_HD std::uint32_t operator()(float x) const {
    return __builtin_bit_cast(std::uint32_t, sigmoid_float(x));
  }
};
struct ToBf16 {
  CTH_HD std::uint32_t operator()(float x) const { return to_bf16(x).bits; }
};
struct ToFp16 {
  CTH_HD std::uint32_t operator()(float x) const { return to_fp16(x).bits; }
};

template <class F>
CTH_HD void fill(F f, std::uint32_t first, std::uint32_t step, std::int64_t count,
                 std::uint32_t* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = f(__builtin_bit_cast(float, first + static_cast<std::uint32_t>(i) * step));
  }
}

}  // namespace

CTH_CLONES void apply_on_host(Function function, std::uint32_t first, std::uint32_t step,
                              std::int64_t count, std::uint32_t* to) {
  switch (function) {
    case Function::kExp:
      return fill(Exp{}, first, step, count, to);
    case Function::kLog:
      return fill(Log{}, first, step, count, to);
    case Function::kTanh:
      return fill(Tanh{}, first, step, count, to);
    case Function::kErf:
      return fill(Erf{}, first, step, count, to);
    case Function::kSigmoid:
      return fill(Sigmoid{}, first, step, count, to);
    case Function::kToBf16:
      return fill(ToBf16{}, first, step, count, to);
    case Function::kToFp16:
      return fill(ToFp16{}, first, step, count, to);
    case Function::kCount:
      break;
  }
}

}  // namespace cuthresh::testing
