#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "bench/cases/cases.hpp"
#include "bench/cases/models.hpp"
#include "bench/cases/searches.hpp"
#include "bench/core/temporary_folder.hpp"
#include "cuthresh/fit.hpp"
#include "cuthresh/model_file.hpp"
#include "nn/gradient_plan.hpp"

namespace cuthresh::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMackeyGlass = R"(
[data]
kind = "mackey-glass"
train_rows = 1000
[model]
kind = "mlp"
widths = [6, 128, 128, 64, 1]
activation = "relu"
[train]
loss = "mse"
learning_rate = 0.1
steps = 50000
batch = "full"
[search]
method = "gradient-median"
stop = "first-hit"
lambda = [1e-7, 1e-3]
max_rounds = 100
[run]
engine = "tiled"
seed = 123
)";
constexpr const char* kSingleTarget = R"(
[sparsity]
target_nnz = 2000
tolerance = 0.001
)";
constexpr const char* kLayerTargets = R"(
[sparsity]
tolerance = 0.05
layers_required = 3
[sparsity.layers]
fc1 = 650
fc2 = 1200
fc3 = 1000
fc4 = 45
)";

FitConfig parsed(const char* sparsity, const std::vector<std::string>& overrides) {
  return parse_config(std::string(kMackeyGlass) + sparsity, "Mackey-Glass search", "", overrides);
}

/// A search of some hundred small steps, which the interpreted room takes in seconds.
void make_small(FitConfig& config) {
  config.data.train_rows = 64;
  config.model.widths = {6, 16, 1};
  config.train.steps = 400;
  config.search.first_hit_after = 0;
  config.search.lambda = {1e-5, 1e-1};
  if (config.sparsity.layers.empty()) {
    config.sparsity.target_nnz = 40;
    config.sparsity.tolerance = 0.05;
  } else {
    config.train.steps = 30;  // a round: there are many
    config.sparsity.layers = {{"fc1", 40}, {"fc2", 8}};
    config.sparsity.layers_required = 2;
    config.sparsity.tolerance = 0.2;
  }
}

class SearchWorkload final : public Workload {
 public:
  SearchWorkload(const Room& room, std::string name, FitConfig config)
      : name_(std::move(name)), config_(std::move(config)) {
    config_.run.out = (folder_ / "run").string();
    config_.run.force = true;
    config_.run.device = room.backend.description().rfind("cuda", 0) == 0 ? "cuda" : "cpu";
    config_.run.precision = operand_rounding(room) > 0.0 ? "tf32" : "fp32";
    config_.run.threads = room.threads;
  }

  void call(std::int64_t /*set*/) override { result_ = fit(config_); }

  std::string check() override {
    call(0);
    check_result();
    return fmt::format("{} of {} weights are nonzero in the returned network, target met",
                       result_.nnz, result_.numel);
  }
  void check_after(std::int64_t /*calls*/) override { check_result(); }

  std::map<std::string, double> more() override {
    return {{"rounds", static_cast<double>(result_.rounds.size())},
            {"steps", static_cast<double>(result_.steps_total)},
            {"nnz", static_cast<double>(result_.nnz)}};
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw CheckFailed(name_ + ": " + what); }

  bool near(std::int64_t count, std::int64_t target) const {
    const auto wanted = static_cast<double>(target);
    return std::fabs(static_cast<double>(count) - wanted) <= config_.sparsity.tolerance * wanted;
  }

  /// By the counts of the network in the run folder.
  void check_result() const {
    const ModelFile model =
        read_safetensors((fs::path(result_.folder) / "model.safetensors").string());
    std::int64_t total = 0;
    std::int64_t met = 0;
    for (const NamedTensor& tensor : model.tensors) {
      const std::size_t dot = tensor.name.rfind(".weight");
      if (dot == std::string::npos) continue;
      const auto count = static_cast<std::int64_t>(std::count_if(
          tensor.values.begin(), tensor.values.end(), [](float value) { return value != 0.0f; }));
      total += count;
      const auto target = config_.sparsity.layers.find(tensor.name.substr(0, dot));
      if (target != config_.sparsity.layers.end() && near(count, target->second)) ++met;
    }
    const std::int64_t required = config_.sparsity.layers_required;
    const bool reached =
        config_.sparsity.target_nnz ? near(total, *config_.sparsity.target_nnz) : met >= required;
    if (!result_.achieved || !reached || total != result_.nnz) {
      fail(fmt::format(
          "{} nonzeros in the network, {} reported, {} of {} layers in their bounds; {}", total,
          result_.nnz, met, required, result_.why_stopped));
    }
  }

  TemporaryFolder folder_;
  std::string name_;
  FitConfig config_;
  FitResult result_;
};

Case search_case(const std::string& name, const FitConfig& config) {
  const nn::Graph graph = nn::build_graph(nn::MlpSpec{config.model.widths});
  std::int64_t parameters = 0;
  for (const nn::Parameter& p : graph.parameters) parameters += p.numel;
  const std::int64_t floats_a_row =
      nn::floats_a_row(graph) + graph.tensors.front().elements() + graph.output().elements();
  Case c;
  c.name = name;
  const SparsityConfig& s = config.sparsity;
  c.what = fmt::format("search for λ by fit(), at most {} steps a round, until {} within {:.1f} %",
                       config.train.steps,
                       s.target_nnz
                           ? fmt::format("{} nonzeros are", *s.target_nnz)
                           : fmt::format("{} of {} layers are", s.layers_required, s.layers.size()),
                       100.0 * s.tolerance);
  c.set_bytes = static_cast<std::int64_t>(sizeof(float)) *
                (4 * parameters + config.data.train_rows * floats_a_row);
  c.more_bytes = c.set_bytes;
  c.waits = true;
  c.max_calls = 1;
  c.max_samples = 1;
  c.make = [=](const Room& room, std::int64_t) {
    return std::make_unique<SearchWorkload>(room, name, config);
  };
  c.lacks = [](const Room& room) {
    return lacks_any(room, {Operation::kDense, Operation::kMse, Operation::kProxStep,
                            Operation::kSelect, Operation::kKkt});
  };
  return c;
}

}  // namespace

FitConfig single_search() {
  return parsed(kSingleTarget, {});
}

FitConfig layer_search() {
  return parsed(kLayerTargets, {"train.steps=4000", "sparsity.tolerance=0.1",
                                "sparsity.layers_required=2", "search.first_hit_after=2000"});
}

std::vector<Case> search_cases(const Room& room) {
  std::vector<Case> cases;
  for (auto [name, config] : {std::pair{"search/mackey_glass_2000", single_search()},
                              std::pair{"search/mackey_glass_layers", layer_search()}}) {
    if (room.smoke) make_small(config);
    cases.push_back(search_case(name, config));
  }
  return cases;
}

}  // namespace cuthresh::bench
