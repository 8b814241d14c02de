#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cpu/cpu_backend.hpp"
#include "cpu/loops.hpp"

namespace cuthresh::testing {

/// A room to run a suite in: every engine with every instruction set this machine has.
struct Room {
  std::string engine;
  std::string isa;
  int threads = 1;

  std::unique_ptr<Backend> make() const { return cpu::make_cpu_backend(engine, threads, isa); }
  std::string name() const { return engine + "_" + isa + "_" + std::to_string(threads) + "t"; }
};

inline std::vector<std::string> all_engines() {
#if defined(CTH_WITH_ONEDNN)
  return {"reference", "tiled", "onednn"};
#else
  return {"reference", "tiled"};
#endif
}

inline std::vector<Room> all_rooms() {
  std::vector<Room> rooms;
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    if (cpu::find_loops(isa) == nullptr) continue;
    for (const int threads : {1, 3}) {
      for (const std::string& engine : all_engines()) rooms.push_back({engine, isa, threads});
    }
  }
  return rooms;
}

}  // namespace cuthresh::testing
