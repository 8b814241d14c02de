#pragma once

namespace cuthresh::command {

/// What the command returns to the shell (docs/config.md).
enum ExitStatus : int {
  kReached = 0,   ///< the target was reached, or there was none to reach
  kInternal = 1,  ///< a fault of cuthresh or of the machine
  kBadInput = 2,  ///< something the user gave is unusable
  kMissed = 3,    ///< the budget ended, or the user ended it, without the target
};

/// Parses the arguments, runs the subcommand and returns the exit status. Never throws.
int run(int argc, char** argv);

}  // namespace cuthresh::command
