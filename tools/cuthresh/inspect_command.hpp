#pragma once

#include <CLI/App.hpp>
#include <string>

#include "cuthresh/model_file.hpp"
#include "format.hpp"

namespace cuthresh::command {

struct InspectArguments {
  std::string model;
};

/// Declares `cuthresh inspect`; `arguments` must outlive `app`.
const CLI::App* add_inspect(CLI::App& app, InspectArguments& arguments);

/// Returns the exit status; throws InputError.
int run_inspect(const InspectArguments& arguments);

/// The table: a tensor a row with its nonzeros, the total, and which tensors hold non-finite
/// values.
std::string inspection(const ModelFile& model, const Style& style);

}  // namespace cuthresh::command
