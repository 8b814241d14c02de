#include <utility>

#include "cuthresh/model_file.hpp"
#include "search/search.hpp"
#include "train/fit_run.hpp"

namespace cuthresh::train {

FitResult Fit::summarise(const Found& found) {
  FitResult result;
  network_.parameters().restore_best();
  result.why_stopped = cancelled_ ? "cancelled by the user" : found.reason;
  result.steps_total = steps_total_;
  result.rounds = rounds_;
  result.dense = dense_;
  result.before_debias = before_debias_;
  result.device = chosen_.why;
  result.target_nnz = task_.target_total();
  if (found.have) {
    result.best_round = rounds_[best_round_].round;
    result.best_candidate = rounds_[best_round_].candidate;
  }
  if (seconds_of_rounds_ > 0.0) {
    result.candidate_steps_per_second = static_cast<double>(steps_total_) / seconds_of_rounds_;
  }
  result.achieved = found.have && !cancelled_ &&
                    (found.met || (config_.search.method == "fixed" && task_.targets.empty()));
  result.outcome = outcome(result);
  if (!found.have)
    observer_.note("no training ended with finite weights: the initial weights are kept");

  const std::vector<float> lambda = task_.layer_lambda(
      found.have ? found.lambda : std::vector<float>(task_.search_groups.size(), 0.0f));
  if (found.have) {  // evaluated when its round ended
    copy_scores(result, rounds_[best_round_]);
  } else {
    set_scores(result, trainer_.evaluate_train(), trainer_.evaluate_test());
  }
  if (!found.have || gradient_of_ != best_round_) trainer_.full_gradient();
  certify(result, lambda);
  result.seconds = seconds_since(start_);
  return result;
}

Outcome Fit::outcome(const FitResult& result) const {
  if (config_.search.method == "fixed") return Outcome::kFixed;
  if (!result.achieved) return Outcome::kMissed;
  if (one_run()) return Outcome::kKept;
  const RoundResult& best = rounds_[best_round_];
  return best.steps < config_.train.steps ? Outcome::kCrossed : Outcome::kConverged;
}

void Fit::certify(FitResult& result, const std::vector<float>& lambda) {
  // With λ 0 the residual on the nonzeros is their gradient: the network with its zeros frozen.
  std::vector<std::size_t> parameters;
  for (const PenalisedLayer& layer : task_.layers) parameters.push_back(layer.parameter);
  std::vector<KktResult> frozen;
  if (one_run()) frozen = trainer_.kkt(parameters, std::vector<float>(parameters.size(), 0.0f));
  const std::vector<KktResult> kkt = trainer_.kkt(parameters, lambda);
  for (std::size_t i = 0; i < task_.layers.size(); ++i) {
    const PenalisedLayer& layer = task_.layers[i];
    LayerResult row;
    row.name = layer.name;
    row.numel = layer.numel;
    row.nnz = static_cast<std::int64_t>(kkt[i].nonzeros);
    row.lambda = static_cast<double>(lambda[i]);
    if (one_run() && kkt[i].nonzeros > 0)
      row.gradient_nonzero = static_cast<double>(frozen[i].on_nonzero);
    if (row.lambda > 0.0 && kkt[i].nonzeros > 0)
      row.kkt_nonzero = static_cast<double>(kkt[i].on_nonzero) / row.lambda;
    if (row.lambda > 0.0 && kkt[i].zeros > 0)
      row.kkt_zero = static_cast<double>(kkt[i].on_zero) / row.lambda;
    if (!task_.layerwise) row.reached = !task_.targets.empty() && result.achieved;
    if (task_.layerwise && layer.search_group >= 0) judge(row, layer.search_group, kkt);
    if (layer.search_group >= 0) {
      result.nnz += row.nnz;
      result.numel += row.numel;
    }
    result.layers.push_back(std::move(row));
  }
}

void Fit::judge(LayerResult& row, std::int32_t group, const std::vector<KktResult>& kkt) const {
  const auto g = static_cast<std::size_t>(group);
  const SearchGroup& shared = task_.search_groups[g];
  std::uint64_t nnz = 0;
  for (const std::size_t i : shared.layers) nnz += kkt[i].nonzeros;
  (shared.layers.size() == 1 ? row.target_nnz : row.shared_target_nnz) = task_.targets[g];
  row.reached = search::make_band(task_.targets[g], config_.sparsity.tolerance).contains(nnz);
}

void Fit::write(FitResult& result) {
  ModelFile model;
  model.metadata["format"] = "pt";
  model.metadata["cuthresh_version"] = CTH_VERSION;
  nn::Parameters& parameters = network_.parameters();
  parameters.release_all_but_values();  // for the copy that is written
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const nn::Parameter& p = parameters.list()[i];
    NamedTensor tensor{p.name, p.shape, std::vector<float>(static_cast<std::size_t>(p.numel))};
    backend_.download(tensor.values.data(), parameters.value(i),
                      tensor.values.size() * sizeof(float));
    model.tensors.push_back(std::move(tensor));
  }
  folder_->write("model.safetensors", model);
  folder_->write("history.csv", history_.text());
  folder_->write("config.toml", to_toml(config_));
  result.bytes_to_host = bytes_to_host();  // nothing comes back after the weights
  folder_->write("result.json", result_json(result, config_, CTH_VERSION));
  if (const std::string note = folder_->commit(); !note.empty()) observer_.note(note);
  if (!cancelled_) remove_checkpoint();
  result.folder = folder_->path();  // not the one asked for, if that was taken meanwhile
}

}  // namespace cuthresh::train
