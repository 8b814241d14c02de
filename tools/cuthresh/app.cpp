#include "app.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "cuthresh/error.hpp"
#include "data_command.hpp"
#include "fit_command.hpp"
#include "format.hpp"
#include "inspect_command.hpp"
#include "path_command.hpp"

namespace cuthresh::command {
namespace {

int complain(const std::string& text, int status) {
  const std::string line = "cuthresh: error: " + printable(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  return status;
}

void describe_app(CLI::App& app) {
  app.set_version_flag("--version", "cuthresh " CTH_VERSION, "Print the version and exit");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  cuthresh fit examples/mackey_glass_single.toml\n"
      "  cuthresh fit mg.toml --set sparsity.target_nnz=500 --out runs/mg500\n"
      "  cuthresh path mg.toml --targets 5000,2000,1000,500 --out runs/path\n"
      "  cuthresh inspect runs/mg500/model.safetensors\n"
      "  cuthresh data mackey-glass --out mg.libsvm\n"
      "\n"
      "Exit status: 0 target reached, 1 internal error, 2 bad input, 3 target not reached\n"
      "(the best network is kept).");
}

int dispatch(int argc, char** argv) {
  CLI::App app("Trains neural networks to a prescribed sparsity with l1 regularisation.",
               "cuthresh");
  describe_app(app);
  FitArguments fit_arguments;
  PathArguments path_arguments;
  InspectArguments inspect_arguments;
  DataArguments data_arguments;
  const CLI::App* fit = add_fit(app, fit_arguments);
  const CLI::App* path = add_path(app, path_arguments);
  const CLI::App* inspect = add_inspect(app, inspect_arguments);
  add_data(app, data_arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return complain(std::string(error.what()) + "; see cuthresh --help", kBadInput);
  }
  if (fit->parsed()) return run_fit(fit_arguments);
  if (path->parsed()) return run_path(path_arguments);
  if (inspect->parsed()) return run_inspect(inspect_arguments);
  return run_data(data_arguments);
}

}  // namespace

int run(int argc, char** argv) {
  try {
    return dispatch(argc, argv);
  } catch (const InputError& error) {
    return complain(error.what(), kBadInput);
  } catch (const std::bad_alloc&) {
    return complain("out of memory; take a smaller network, batch or data set", kInternal);
  } catch (const std::exception& error) {
    return complain(fmt::format("internal: {}", error.what()), kInternal);
  }
}

}  // namespace cuthresh::command
