#include "cuthresh/path.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <system_error>

#include "cuthresh/error.hpp"
#include "io/atomic_file.hpp"
#include "io/input_file.hpp"
#include "io/path_report.hpp"

namespace cuthresh {

PathObserver::~PathObserver() = default;

namespace {

namespace fs = std::filesystem;

/// Hands everything on, and remembers whether somebody cancelled.
class Watched final : public FitObserver {
 public:
  explicit Watched(PathObserver& to) : to_(to) {}
  bool wants_progress() override { return to_.wants_progress(); }
  void progress(const Progress& progress) override { to_.progress(progress); }
  void round_ended(const RoundResult& round) override { to_.round_ended(round); }
  void note(const std::string& text) override { to_.note(text); }
  bool cancelled() override {
    cancelled_ = cancelled_ || to_.cancelled();
    return cancelled_;
  }

 private:
  PathObserver& to_;
  bool cancelled_ = false;
};

[[noreturn]] void refuse_targets(const std::string& what, double value, const std::string& remedy) {
  throw InputError({"targets", what, fmt::format("{}", value), remedy});
}

/// From dense to sparse, each once.
std::vector<double> in_order(std::vector<double> targets) {
  const std::string both = "shares of zeros are below 1, numbers of weights whole and from 1 on";
  if (targets.empty()) {
    throw InputError({"targets", "there must be at least one", "", "give shares or numbers"});
  }
  const bool shares = targets.front() < 1.0;
  for (const double target : targets) {
    if (!std::isfinite(target) || target < 0.0) {
      refuse_targets("must be at least 0 and finite", target, both);
    }
    if ((target < 1.0) != shares) refuse_targets("are of two kinds", target, both);
    if (!shares && (target != std::floor(target) || target > 1e15)) {
      refuse_targets("must be a whole number of weights", target, both);
    }
  }
  std::sort(targets.begin(), targets.end());
  targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
  if (!shares) std::reverse(targets.begin(), targets.end());
  return targets;
}

void check_for_path(const FitConfig& config) {
  if (!config.sparsity.layers.empty()) {
    throw InputError({"sparsity.layers", "a path has one target in all", "",
                      "remove the table; the targets of the path take its place"});
  }
  if (config.search.method == "fixed") {
    throw InputError({"search.method", "a path looks for λ", "fixed", "use \"one-run\""});
  }
}

FitConfig for_target(FitConfig config, double target, const std::string& folder) {
  config.sparsity.target_nnz.reset();
  config.sparsity.target_sparsity.reset();
  std::string name;
  if (target < 1.0) {
    config.sparsity.target_sparsity = target;
    name = fmt::format("sparsity-{}", target);
  } else {
    config.sparsity.target_nnz = static_cast<std::int64_t>(target);
    name = fmt::format("nnz-{}", *config.sparsity.target_nnz);
  }
  config.run.out = (fs::path(folder) / name).string();
  config.run.force = true;              // what an interrupted call left there
  config.run.checkpoint_minutes = 0.0;  // a point is the unit that is gone on with
  config.run.resume = false;
  return config;
}

PathPoint point_of(const FitResult& fitted, double target) {
  PathPoint point;
  point.target = target;
  point.nnz = fitted.nnz;
  point.numel = fitted.numel;
  point.achieved = fitted.achieved;
  for (const LayerResult& layer : fitted.layers)
    point.lambda = std::max(point.lambda, layer.lambda);
  point.scores = {fitted.steps_total, fitted.train_loss, fitted.test_loss, fitted.train_accuracy,
                  fitted.test_accuracy};
  point.seconds = fitted.seconds;
  point.folder = fs::path(fitted.folder).filename().string();
  return point;
}

/// The folder of a path: what is there already, and what is added.
class PathFolder {
 public:
  /// `key` says what the points belong to.
  PathFolder(std::string path, bool force, std::string key)
      : path_(std::move(path)), key_(std::move(key)) {
    std::error_code error;
    const fs::file_status status = fs::status(path_, error);
    if (fs::exists(status) && !fs::is_directory(status)) {
      refuse_folder("is there and is no folder", "give another run.out");
    }
    const bool known = fs::exists(file("path.json"), error);
    if (fs::exists(status) && !known && !fs::is_empty(path_, error) && !force) {
      refuse_folder("is there and holds something that is no path",
                    "give another run.out, or replace files in it with run.force (--force)");
    }
    if (known && !force) take_over();
    result_.folder = path_;
  }

  PathResult& result() { return result_; }
  const std::string& path() const { return path_; }
  std::string model_of(const PathPoint& point) const {
    return (fs::path(path_) / point.folder / "model.safetensors").string();
  }
  /// True where an earlier call trained this target, and its network is still there.
  bool has(std::size_t index, double target) const {
    return index < result_.points.size() && result_.points[index].target == target &&
           fs::exists(model_of(result_.points[index]));
  }
  void write() const {
    write_file_atomically(file("path.csv"), path_csv(result_));
    write_file_atomically(file("path.svg"), path_svg(result_));
    write_file_atomically(file("path.json"), path_json(result_, key_));
  }

 private:
  std::string file(const char* name) const { return (fs::path(path_) / name).string(); }
  [[noreturn]] void refuse_folder(const std::string& what, const std::string& remedy) const {
    throw InputError({path_, what, "", remedy});
  }
  void take_over() {
    const std::string name = file("path.json");
    const std::optional<PathResult> old = read_path_json(read_whole_file(name, "path"), name, key_);
    if (!old) {
      refuse_folder("holds a path of another configuration",
                    "give another run.out, or replace it with run.force (--force)");
    }
    result_ = *old;
  }

  std::string path_;
  std::string key_;
  PathResult result_;
};

/// The configuration without what may differ between two calls that go on with each other.
std::string key_of(FitConfig config, bool warm) {
  config.run.out.clear();
  config.run.force = false;
  config.run.threads = 0;
  config.sparsity.target_nnz = 1;
  config.sparsity.target_sparsity.reset();
  return to_toml(config) + (warm ? "# each point from the one before\n" : "");
}

}  // namespace

PathResult path(const FitConfig& config, const std::vector<double>& targets, bool warm,
                PathObserver* observer) {
  check_for_path(config);
  const std::vector<double> order = in_order(targets);
  validate(for_target(config, order.front(), config.run.out));
  PathObserver nobody;
  PathObserver& to = observer != nullptr ? *observer : nobody;
  PathFolder folder(config.run.out, config.run.force, key_of(config, warm));
  std::vector<PathPoint>& points = folder.result().points;
  folder.result().complete = false;

  for (std::size_t i = 0; i < order.size(); ++i) {
    if (folder.has(i, order[i])) {
      ++folder.result().taken_over;
      continue;
    }
    points.resize(i);  // what follows began from another network
    to.point_begins(static_cast<std::int64_t>(i), static_cast<std::int64_t>(order.size()),
                    order[i]);
    FitConfig here = for_target(config, order[i], folder.path());
    if (warm && i > 0) here.run.init = folder.model_of(points[i - 1]);
    // One dense network stands beside the whole path.
    here.search.compare_dense = config.search.compare_dense && !folder.result().dense;
    Watched watched(to);
    const FitResult fitted = fit(here, &watched);
    if (watched.cancelled()) {
      std::error_code error;
      fs::remove_all(fitted.folder, error);  // a training that was cut short is no point
      fs::remove(folder.path(), error);      // only where nothing is in it
      return folder.result();
    }
    points.push_back(point_of(fitted, order[i]));
    if (fitted.dense) folder.result().dense = fitted.dense;
    folder.write();
  }
  points.resize(order.size());
  folder.result().complete = true;
  folder.write();
  return folder.result();
}

}  // namespace cuthresh
