// cuthresh-bench with the interpreted CUDA room and a machine that has one GPU: for its checks and
// its host code. Its times mean nothing.

#include "bench/app.hpp"
#include "simt/recording.hpp"

int main(int argc, char** argv) {
  const cuthresh::simt::DeviceScope machine(1);
  return cuthresh::bench::run_program(argc, argv);
}
