#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.hpp"

namespace cuthresh {

struct BackendOptions {
  std::string device = "auto";     ///< auto | cpu | cuda
  std::string engine = "auto";     ///< CPU matrix products: auto | onednn | tiled | reference
  std::int64_t threads = 0;        ///< CPU: 0 means one a core that this process may use
  std::string precision = "fp32";  ///< CUDA matrix products: fp32 | tf32
  std::int32_t device_index = 0;   ///< CUDA: which of the devices that the process sees; CPU: 0
  /// CUDA: the caller's cudaStream_t, null being the default stream; none: one of the room's own.
  std::optional<void*> stream = {};
  bool networks = true;  ///< false: CUDA without cuBLAS will do
  /// CPU: rooms that are made with the same options and work at the same time: they divide the
  /// threads among them.
  std::int64_t rooms = 1;
};

struct ChosenBackend {
  std::unique_ptr<Backend> backend;
  std::string why;  ///< "cpu (…): no CUDA device: …"
};

/// The one place that knows which rooms were built. "auto" takes a GPU that can be used, else the
/// CPU and says why. The thread's current CUDA device stays what it is. Throws InputError for a
/// name that does not exist and for a device that was asked for by name and cannot be had, with the
/// reason.
ChosenBackend make_backend(const BackendOptions& options);

}  // namespace cuthresh
