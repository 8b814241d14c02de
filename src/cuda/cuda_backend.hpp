#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.hpp"

namespace cuthresh::cuda {

/// Of matrix products: true float32, or factors rounded to TF32's 10 bits, on tensor cores. All
/// else is float32 in both.
enum class Precision : std::uint8_t { kFp32, kTf32 };

/// Empty when this process can use a GPU; else the reason, e.g. that there is no driver. The only
/// thing of CUDA that is touched on a machine without a GPU.
std::string unavailable();

/// On the first device that the process sees (CUDA_VISIBLE_DEVICES orders them). Throws
/// InternalError when CUDA fails.
std::unique_ptr<Backend> make_cuda_backend(Precision precision);

}  // namespace cuthresh::cuda
