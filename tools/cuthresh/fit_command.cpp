#include "fit_command.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "app.hpp"
#include "cuthresh/config.hpp"
#include "cuthresh/error.hpp"
#include "cuthresh/fit.hpp"
#include "progress.hpp"
#include "signals.hpp"
#include "summary.hpp"
#include "terminal.hpp"

namespace cuthresh::command {

FitConfig configuration(const FitArguments& arguments) {
  FitConfig config = load_config(arguments.config, arguments.overrides);
  if (arguments.out) config.run.out = *arguments.out;
  if (arguments.device) config.run.device = *arguments.device;
  if (arguments.engine) config.run.engine = *arguments.engine;
  if (arguments.threads) config.run.threads = *arguments.threads;
  if (arguments.init) {
    config.run.init =
        arguments.init->empty() ? "" : std::filesystem::absolute(*arguments.init).string();
  }
  if (arguments.force) config.run.force = true;
  if (arguments.fresh) config.run.resume = false;
  try {
    validate(config);
  } catch (const InputError& error) {
    // load_config has checked the rest, so the key is one of those above: name it as the user wrote
    // it.
    ErrorInfo info = error.info();
    if (info.where.starts_with("run.")) info.where.replace(0, 4, "--");
    throw InputError(info);
  }
  return config;
}

namespace {

std::string read_result(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "result.json").string();
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) throw std::runtime_error("cannot read back " + path);
  return text.str();
}

}  // namespace

void add_run_options(CLI::App& command, FitArguments& arguments) {
  command.add_option("CONFIG", arguments.config, "TOML configuration (keys: docs/config.md)")
      ->type_name("FILE")
      ->required();
  command
      .add_option("--set", arguments.overrides,
                  "Replace a value: section.key=value, in TOML or a bare word; may be repeated")
      ->allow_extra_args(false)
      ->type_name("SECTION.KEY=VALUE");
  command.add_option("--out", arguments.out, "Run folder (run.out)")->type_name("FOLDER");
  command.add_option("--device", arguments.device, "auto, cpu or cuda (run.device)")
      ->type_name("NAME");
  command
      .add_option("--threads", arguments.threads,
                  "Threads on the CPU, 0 for one a core (run.threads)")
      ->type_name("N");
  command.add_option("--init", arguments.init, "Initial weights, a safetensors file (run.init)")
      ->type_name("FILE");
  command
      .add_option("--engine", arguments.engine,
                  "Matrix products: auto, onednn, tiled or reference (run.engine)")
      ->type_name("NAME");
  command.add_flag("--force", arguments.force, "Replace an existing run folder");
  command.add_flag("--quiet", arguments.quiet, "No progress, only the result");
}

const CLI::App* add_fit(CLI::App& app, FitArguments& arguments) {
  CLI::App* fit =
      app.add_subcommand("fit", "Train a network to the sparsity that a configuration prescribes");
  add_run_options(*fit, arguments);
  fit->add_flag("--fresh", arguments.fresh,
                "Begin anew where an interrupted run left a checkpoint");
  fit->add_flag("--json", arguments.json, "Print result.json instead of the table");
  fit->footer(
      "Examples:\n"
      "  cuthresh fit examples/mackey_glass_single.toml\n"
      "  cuthresh fit mg.toml --set sparsity.target_nnz=500 --set model.activation=tanh\n"
      "  cuthresh fit mg.toml --set search.method=interpolate --set search.parallel=4 --threads 4\n"
      "  cuthresh fit mg.toml --set sparsity.layers.fc1=650 --out runs/b --force --json\n"
      "\n"
      "Ctrl-C ends the search and keeps the best network (exit status 3); a second one ends at "
      "once.\nA one-run training leaves FOLDER.checkpoint then, and every run.checkpoint_minutes; "
      "the "
      "same command\ngoes on from there.");
  return fit;
}

int run_fit(const FitArguments& arguments) {
  const FitConfig config = configuration(arguments);
  const Style style = detect_style();

  const InterruptGuard guard;
  Reporter reporter(arguments.quiet, style, config.search.rounds());
  const FitResult result = fit(config, &reporter);
  reporter.clear();
  print(arguments.json ? read_result(result.folder) : summary(result, config, style));
  return result.achieved ? kReached : kMissed;
}

}  // namespace cuthresh::command
