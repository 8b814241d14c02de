#pragma once

namespace cuthresh::bench {

/// cuthresh-bench. Exit status: 0 all is well; 1 a check or the machine failed; 2 wrong use; 4
/// something got slower than --slower allows; 130 interrupted.
int run_program(int argc, char** argv);

}  // namespace cuthresh::bench
