#pragma once

#include <vector>

#include "fit_command.hpp"

namespace cuthresh::command {

struct PathArguments {
  FitArguments run;
  std::vector<double> targets = {0.5, 0.75, 0.875, 0.9375, 0.96875, 0.984375};
  bool cold = false;
};

/// Declares `cuthresh path`; `arguments` must outlive `app`.
const CLI::App* add_path(CLI::App& app, PathArguments& arguments);

/// Returns the exit status; throws InputError.
int run_path(const PathArguments& arguments);

}  // namespace cuthresh::command
