#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cpu/cpu_backend.hpp"
#include "cpu/loops.hpp"

// Test programs link the CUDA room in one of two forms: interpreted (tests/simt; everywhere), or
// the real one (programs that need a GPU).
#if defined(CTH_INTERPRETED_CUDA)
#include "simt/recording.hpp"
#endif
#if defined(CTH_INTERPRETED_CUDA) || defined(CTH_REAL_CUDA)
#include "cuda/cuda_backend.hpp"
#endif

namespace cuthresh::testing {

/// A room to run a suite in: every engine of the CPU room with every instruction set this machine
/// has, and the CUDA room (engine "cuda").
struct Room {
  std::string engine;
  std::string isa;
  int threads = 1;

  std::unique_ptr<Backend> make() const {
#if defined(CTH_INTERPRETED_CUDA)
    if (engine == "cuda") {
      simt::set_device_count(1);  // there is none until a test asks for one
      return cuda::make_cuda_backend(cuda::Precision::kFp32);
    }
#elif defined(CTH_REAL_CUDA)
    if (engine == "cuda") return cuda::make_cuda_backend(cuda::Precision::kFp32);
#endif
    return cpu::make_cpu_backend(engine, threads, isa);
  }
  std::string name() const {
#if defined(CTH_INTERPRETED_CUDA)
    if (engine == "cuda") return "cuda_interpreted";
#endif
    if (engine == "cuda") return "cuda";
    return engine + "_" + isa + "_" + std::to_string(threads) + "t";
  }
  friend void PrintTo(const Room& room, std::ostream* out) {
    *out << room.name();
  }
};

/// The engines of the CPU room.
inline std::vector<std::string> all_engines() {
#if defined(CTH_WITH_ONEDNN)
  return {"reference", "tiled", "onednn"};
#else
  return {"reference", "tiled"};
#endif
}

inline std::vector<Room> all_rooms() {
  std::vector<Room> rooms;
#if defined(CTH_REAL_CUDA)
  rooms.push_back({"cuda", "", 1});
  rooms.push_back({"reference", cpu::find_loops()->name, 1});
#else
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    if (cpu::find_loops(isa) == nullptr) continue;
    for (const int threads : {1, 3}) {
      for (const std::string& engine : all_engines()) rooms.push_back({engine, isa, threads});
    }
  }
// Under ThreadSanitizer a thread of the interpreter costs a millisecond, a suite an hour; kernels
// have small launches of their own there (tests/kernels).
#if defined(CTH_INTERPRETED_CUDA) && !defined(__SANITIZE_THREAD__)
  rooms.push_back({"cuda", "", 1});
#endif
#endif
  return rooms;
}

}  // namespace cuthresh::testing
