#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.hpp"

namespace cuthresh::cuda {

/// Of matrix products: true float32, or factors rounded to TF32's 10 bits, on tensor cores. All
/// else is float32 in both.
enum class Precision : std::uint8_t { kFp32, kTf32 };

/// Empty when this process can use this GPU; else the reason, e.g. that there is no driver. The
/// only thing of CUDA that is touched on a machine without a GPU.
std::string unavailable(int device = 0);

/// On a device of those that the process sees (CUDA_VISIBLE_DEVICES orders them), on the caller's
/// stream (a cudaStream_t; null: the default one) or, without any, a stream of its own. The
/// thread's current device stays what it is. Throws InternalError when CUDA fails.
std::unique_ptr<Backend> make_cuda_backend(Precision precision, int device = 0,
                                           std::optional<void*> stream = {});

}  // namespace cuthresh::cuda
