#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <string>

namespace cuthresh::command {

struct DataArguments {
  std::string out;
  std::int64_t rows = 1385;
  bool force = false;
};

/// Declares `cuthresh data mackey-glass`; `arguments` must outlive `app`.
const CLI::App* add_data(CLI::App& app, DataArguments& arguments);

/// Returns the exit status; throws InputError.
int run_data(const DataArguments& arguments);

}  // namespace cuthresh::command
