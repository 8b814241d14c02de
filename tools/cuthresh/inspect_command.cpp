#include "inspect_command.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

#include "app.hpp"
#include "cuthresh/error.hpp"
#include "terminal.hpp"

namespace cuthresh::command {
namespace {

constexpr std::size_t kShareCells = 20;

void add_row(Table& table, std::string name, std::string shape, std::int64_t numel,
             std::int64_t nnz, const Style& style) {
  const double share =
      numel > 0 ? static_cast<double>(nnz) / static_cast<double>(numel) : std::nan("");
  table.row({std::move(name), std::move(shape), grouped(numel), grouped(nnz), percent(share),
             bar(share, kShareCells, style)});
}

std::string target_table(const std::vector<TargetRow>& targets) {
  if (targets.empty()) return "";
  using Align = Table::Align;
  Table table({Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kLeft});
  table.row({"target", "weights", "nonzero", "share", "bounds"});
  for (const TargetRow& row : targets) {
    const double share = static_cast<double>(row.nonzeros) / static_cast<double>(row.weights);
    table.row({row.layers.empty() ? "all layers" : printable(row.layers), grouped(row.weights),
               grouped(row.nonzeros), percent(share),
               printable(fmt::format("{}", fmt::join(row.bounds, "; ")))});
  }
  return "\n" + table.text();
}

}  // namespace

const CLI::App* add_inspect(CLI::App& app, InspectArguments& arguments) {
  CLI::App* inspect =
      app.add_subcommand("inspect",
                         "Show the tensors of a model file and how sparse they are, or the layers "
                         "that a configuration describes");
  inspect->add_option("MODEL", arguments.model, "A safetensors file, or a configuration (.toml)")
      ->type_name("FILE")
      ->required();
  inspect
      ->add_option("--set", arguments.overrides,
                   "With a configuration: replace a value, as in cuthresh fit; may be repeated")
      ->type_name("SECTION.KEY=VALUE")
      ->allow_extra_args(false);
  inspect->footer(
      "Examples:\n  cuthresh inspect runs/mackey_glass_single/model.safetensors\n"
      "  cuthresh inspect examples/fashion_mnist_single.toml");
  return inspect;
}

std::string inspection(const ModelFile& model, const Style& style) {
  using Align = Table::Align;
  Table table(
      {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kLeft});
  table.row({"tensor", "shape", "numel", "nnz", "share", ""});
  std::int64_t numel = 0;
  std::int64_t nnz = 0;
  std::string warnings;
  for (const NamedTensor& tensor : model.tensors) {
    const auto count = static_cast<std::int64_t>(tensor.values.size());
    // Unequal to zero, as everywhere: −0 is zero, NaN is not.
    const auto nonzero = static_cast<std::int64_t>(std::count_if(
        tensor.values.begin(), tensor.values.end(), [](float v) { return !(v == 0.0f); }));
    const auto broken = static_cast<std::int64_t>(std::count_if(
        tensor.values.begin(), tensor.values.end(), [](float v) { return !std::isfinite(v); }));
    const std::string name = printable(tensor.name);
    if (broken > 0) {
      warnings += fmt::format("{}: {} of {} values not finite (NaN or infinity)\n", name,
                              grouped(broken), grouped(count));
    }
    add_row(table, name, fmt::format("[{}]", fmt::join(tensor.shape, ", ")), count, nonzero, style);
    numel += count;
    nnz += nonzero;
  }
  add_row(table, "total", "", numel, nnz, style);
  return table.text() + (warnings.empty() ? "" : "\n" + warnings);
}

std::string description_text(const ModelDescription& model) {
  using Align = Table::Align;
  Table table({Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight, Align::kRight});
  table.row({"name", "layer", "output", "parameters", "penalised"});
  std::int64_t parameters = 0;
  std::int64_t penalised = 0;
  for (const LayerRow& row : model.rows) {
    table.row({row.name, printable(row.layer), fmt::format("[{}]", fmt::join(row.output, ", ")),
               grouped(row.parameters), grouped(row.penalised)});
    parameters += row.parameters;
    penalised += row.penalised;
  }
  table.row({"total", "", "", grouped(parameters), grouped(penalised)});
  std::string text = table.text() + target_table(model.targets);
  text += "\ndevice   " + printable(model.device) + "\n";
  if (!model.execution.empty()) text += "steps    " + printable(model.execution) + "\n";
  return text;
}

int run_inspect(const InspectArguments& arguments) {
  if (arguments.model.ends_with(".toml")) {
    print(description_text(describe_model(load_config(arguments.model, arguments.overrides))));
    return kReached;
  }
  if (!arguments.overrides.empty()) {
    throw InputError({"--set", "changes a configuration, and this is a model file", arguments.model,
                      "leave it out, or inspect a .toml file"});
  }
  print(inspection(read_safetensors(arguments.model), detect_style()));
  return kReached;
}

}  // namespace cuthresh::command
