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

/// The table: a layer a row with its output and parameters, and the total.
std::string model_table(const std::vector<LayerRow>& rows);

}  // namespace cuthresh::command
