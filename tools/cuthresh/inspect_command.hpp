#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "cuthresh/describe.hpp"
#include "cuthresh/model_file.hpp"
#include "format.hpp"

namespace cuthresh::command {

struct InspectArguments {
  std::string model;
  std::vector<std::string> overrides;
};

/// Declares `cuthresh inspect`; `arguments` must outlive `app`.
const CLI::App* add_inspect(CLI::App& app, InspectArguments& arguments);

/// Returns the exit status; throws InputError.
int run_inspect(const InspectArguments& arguments);

/// The table: a tensor a row with its nonzeros, the total, and which tensors hold non-finite
/// values.
std::string inspection(const ModelFile& model, const Style& style);

/// A table with a layer a row, its output and parameters, and the total; then one of the targets.
std::string description_text(const ModelDescription& model);

}  // namespace cuthresh::command
