#include "bench/app.hpp"

int main(int argc, char** argv) {
  return cuthresh::bench::run_program(argc, argv);
}
