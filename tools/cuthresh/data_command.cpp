#include "data_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <system_error>

#include "app.hpp"
#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"
#include "format.hpp"
#include "terminal.hpp"

namespace cuthresh::command {

const CLI::App* add_data(CLI::App& app, DataArguments& arguments) {
  CLI::App* data = app.add_subcommand("data", "Write a built-in data set to a file");
  data->require_subcommand(1);
  CLI::App* series = data->add_subcommand(
      "mackey-glass", "The Mackey-Glass series as LIBSVM text: 6 inputs and 1 target a row");
  series->add_option("--out", arguments.out, "The file to write")->type_name("FILE")->required();
  series->add_option("--rows", arguments.rows, "Rows, 1 to 1385 (default: 1385)")->type_name("N");
  series->add_flag("--force", arguments.force, "Replace an existing file");
  series->footer("Example:\n  cuthresh data mackey-glass --out mg.libsvm --rows 1000");
  return data;
}

int run_data(const DataArguments& arguments) {
  std::error_code ignored;
  // A dangling link is something that is there, too.
  const auto there = std::filesystem::symlink_status(arguments.out, ignored);
  if (std::filesystem::exists(there) && !arguments.force) {
    throw InputError(
        {"--out", "the file exists already", arguments.out, "name another file, or give --force"});
  }
  const Dataset data = make_mackey_glass(arguments.rows);
  write_libsvm(arguments.out, data);
  print(fmt::format("{}: {} rows, {} inputs, {} target\n", printable(arguments.out),
                    grouped(data.rows), data.features, data.outputs));
  return kReached;
}

}  // namespace cuthresh::command
