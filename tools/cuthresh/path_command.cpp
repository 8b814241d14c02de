#include "path_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "app.hpp"
#include "cuthresh/path.hpp"
#include "progress.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace cuthresh::command {
namespace {

std::string target_text(double target) {
  return target < 1.0 ? percent(target) + " zeros"
                      : grouped(static_cast<std::int64_t>(target)) + " nonzero";
}

/// Shows each training as `cuthresh fit` does, under a line that says which it is.
class PathReporter final : public PathObserver {
 public:
  PathReporter(Reporter& shown) : shown_(shown) {}
  void point_begins(std::int64_t index, std::int64_t count, double target) override {
    shown_.note(fmt::format("target {} of {}: {}", index + 1, count, target_text(target)));
  }
  bool wants_progress() override { return shown_.wants_progress(); }
  void progress(const Progress& progress) override { shown_.progress(progress); }
  void round_ended(const RoundResult& round) override { shown_.round_ended(round); }
  void note(const std::string& text) override { shown_.note(text); }
  bool cancelled() override { return shown_.cancelled(); }

 private:
  Reporter& shown_;
};

std::vector<std::string> cells(const std::string& name, const NetworkScores& scores,
                               bool accuracy) {
  std::vector<std::string> row = {name, loss_text(scores.train_loss), loss_text(scores.test_loss)};
  if (accuracy) row.push_back(scores.test_accuracy ? percent(*scores.test_accuracy) : "-");
  return row;
}

std::string path_table(const PathResult& result, const Style& style) {
  const bool accuracy =
      !result.points.empty() && result.points.front().scores.train_accuracy.has_value();
  std::vector<std::string> header = {"target", "train loss", "test loss"};
  if (accuracy) header.push_back("test accuracy");
  for (const char* name : {"nnz", "steps", "time"}) header.push_back(name);
  header.push_back(style.unicode ? "λ" : "lambda");
  std::vector<Table::Align> columns(header.size(), Table::Align::kRight);
  columns.front() = Table::Align::kLeft;
  header.push_back("reached");
  columns.push_back(Table::Align::kLeft);
  Table table(columns);
  table.row(header);
  if (result.dense) {
    std::vector<std::string> row = cells("dense", *result.dense, accuracy);
    for (const std::string& text : {std::string("-"), grouped(result.dense->steps),
                                    std::string("-"), std::string("-"), std::string("-")}) {
      row.push_back(text);
    }
    table.row(row);
  }
  for (const PathPoint& point : result.points) {
    std::vector<std::string> row = cells(target_text(point.target), point.scores, accuracy);
    row.push_back(grouped(point.nnz));
    row.push_back(grouped(point.scores.steps));
    row.push_back(duration(point.seconds));
    row.push_back(lambda_text(point.lambda));
    row.push_back(point.achieved ? "yes" : "no");
    table.row(row);
  }
  return table.text();
}

}  // namespace

const CLI::App* add_path(CLI::App& app, PathArguments& arguments) {
  CLI::App* path = app.add_subcommand(
      "path", "Train along a grid of sparsities: error over the number of nonzero weights");
  add_run_options(*path, arguments.run);
  path->add_option("--targets", arguments.targets,
                   "Shares of zeros (below 1) or numbers of nonzero weights, separated by commas")
      ->delimiter(',')
      ->capture_default_str()
      ->type_name("LIST");
  path->add_flag("--cold", arguments.cold,
                 "Begin each point from the initial weights, not from the point before");
  path->footer(
      "Writes path.csv, path.svg, path.json and a run folder for each point. The same command "
      "again\n"
      "goes on where an interrupted one ended.\n"
      "\n"
      "Example:\n"
      "  cuthresh path mg.toml --targets 5000,2000,1000,500 --set search.method=one-run --out "
      "runs/path");
  return path;
}

int run_path(const PathArguments& arguments) {
  const FitConfig config = configuration(arguments.run);
  const Style style = detect_style();

  const InterruptGuard guard;
  Reporter reporter(arguments.run.quiet, style, config.search.rounds());
  PathReporter shown(reporter);
  const PathResult result = path(config, arguments.targets, !arguments.cold, &shown);
  reporter.clear();
  std::string text = path_table(result, style);
  if (result.taken_over > 0) {
    text += fmt::format("{} of them found in the folder, not trained again\n",
                        grouped(result.taken_over));
  }
  if (!result.complete) text += "interrupted: the same command again trains the rest\n";
  if (!result.points.empty()) {
    text += printable(result.folder) + "/: path.csv path.svg path.json, a run folder a point\n";
  }
  print(text);
  const bool all = std::all_of(result.points.begin(), result.points.end(),
                               [](const PathPoint& point) { return point.achieved; });
  return result.complete && all ? kReached : kMissed;
}

}  // namespace cuthresh::command
