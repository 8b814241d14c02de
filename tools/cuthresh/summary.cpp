#include "summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace cuthresh::command {
namespace {

using Align = Table::Align;

std::string how(const FitResult& result) {
  switch (result.outcome) {
    case Outcome::kCrossed:
      return "target met by crossing: stopped at the first hit, not stationary";
    case Outcome::kConverged:
      return "target met at the end of a full training";
    case Outcome::kKept:
      return "target met in one training: the largest weights were kept and trained on";
    case Outcome::kMissed:
      return "target missed: this is the best network tried";
    case Outcome::kFixed:
      if (!result.target_nnz) return "trained at the given lambda, no target to meet";
      return result.achieved ? "target met at the given lambda"
                             : "target missed at the given lambda";
  }
  return "";
}

std::string target(const FitResult& result, const FitConfig& config) {
  if (!result.target_nnz) return "none";
  std::string text =
      fmt::format("{} of {} weights nonzero, tolerance {:.3g} %", grouped(*result.target_nnz),
                  grouped(result.numel), 100.0 * config.sparsity.tolerance);
  const auto layers = static_cast<std::int64_t>(config.sparsity.layers.size());
  if (layers > 0) {
    const std::int64_t required =
        config.sparsity.layers_required > 0 ? config.sparsity.layers_required : layers;
    text += fmt::format(" per layer, {} of {} layers", required, layers);
  } else if (config.sparsity.allocation != "none") {
    text += fmt::format(" per layer, {} allocation", config.sparsity.allocation);
  }
  return text;
}

std::string lambdas(const FitResult& result) {
  std::vector<double> values;
  for (const LayerResult& layer : result.layers) {
    if (std::find(values.begin(), values.end(), layer.lambda) == values.end())
      values.push_back(layer.lambda);
  }
  return lambda_range(values);
}

/// Of a FitResult or a NetworkScores.
template <class Result>
std::string losses(const Result& result) {
  std::string text = fmt::format("{} train", loss_text(result.train_loss));
  if (!std::isnan(result.test_loss)) text += fmt::format(", {} test", loss_text(result.test_loss));
  if (result.train_accuracy) {
    text += fmt::format("; accuracy {} train", percent(*result.train_accuracy));
    if (result.test_accuracy) text += fmt::format(", {} test", percent(*result.test_accuracy));
  }
  return text;
}

/// The dense network's, and how far the sparse one is from it.
std::string dense_text(const FitResult& result) {
  std::string text = losses(*result.dense);
  if (result.test_accuracy && result.dense->test_accuracy) {
    const double points = 100.0 * (*result.test_accuracy - *result.dense->test_accuracy);
    text += fmt::format("; the sparse one is {:.1f} points {}", std::abs(points),
                        points < 0.0 ? "below" : "above");
  } else if (!std::isnan(result.test_loss) && result.dense->test_loss > 0.0) {
    text += fmt::format("; the sparse one's test loss is {:.3f} times that",
                        result.test_loss / result.dense->test_loss);
  }
  return text;
}

std::string residual(const std::optional<double>& value) {
  return value ? fmt::format("{:.2e}", *value) : "-";
}

/// The residual columns of a layer. After one run the network is no stationary point of the
/// penalised problem, but of the one with its zeros frozen: another residual.
std::vector<std::string> residuals(const FitResult& result, const LayerResult& layer) {
  if (result.before_debias) return {residual(layer.gradient_nonzero)};
  return {residual(layer.kkt_nonzero), residual(layer.kkt_zero)};
}

std::string target_text(const LayerResult& layer) {
  if (layer.target_nnz) return grouped(*layer.target_nnz);
  return layer.shared_target_nnz ? grouped(*layer.shared_target_nnz) + " shared" : "-";
}

std::string layer_table(const FitResult& result, const Style& style) {
  const bool kept = result.before_debias.has_value();
  const std::string lambda = style.unicode ? "λ" : "lambda";
  const std::string nonzero = style.unicode ? "w≠0" : "w!=0";
  std::vector<std::string> header = {"layer", "weights", "nnz", "target", lambda};
  if (kept) {
    header.push_back("|g| " + nonzero);
  } else {
    header.push_back("kkt " + nonzero);
    header.push_back("kkt w=0");
  }
  std::vector<Align> columns(header.size(), Align::kRight);
  columns.front() = Align::kLeft;
  header.push_back("met");
  columns.push_back(Align::kLeft);
  Table table(columns);
  table.row(header);
  for (const LayerResult& layer : result.layers) {
    const bool judged = layer.target_nnz || layer.shared_target_nnz;
    std::vector<std::string> row = {printable(layer.name), grouped(layer.numel), grouped(layer.nnz),
                                    target_text(layer), lambda_text(layer.lambda)};
    for (const std::string& text : residuals(result, layer)) row.push_back(text);
    row.push_back(judged ? (layer.reached ? "yes" : "no") : "-");
    table.row(row);
  }
  if (kept) {
    return table.text() + "|g| " + nonzero +
           ": largest gradient of a nonzero weight; 0: stationary with its zeros frozen.\n";
  }
  return table.text() +
         "kkt: largest violation of the stationarity conditions, relative to the layer's " +
         lambda + "; 0 is a stationary point.\n";
}

std::string effort(const FitResult& result, const FitConfig& config) {
  const std::int64_t rounds = result.rounds_done();
  std::string text =
      fmt::format("{} {}, {} steps, {}", grouped(rounds), rounds == 1 ? "round" : "rounds",
                  grouped(result.steps_total), duration(result.seconds));
  if (config.search.parallel == 1 || !result.candidate_steps_per_second) return text;
  return text + fmt::format(", {} candidate-steps a second with up to {} at the same time",
                            grouped(std::llround(*result.candidate_steps_per_second)),
                            config.search.parallel);
}

}  // namespace

std::string summary(const FitResult& result, const FitConfig& config, const Style& style) {
  Table facts({Align::kLeft, Align::kLeft});
  facts.row({"target", target(result, config)});
  facts.row({"reached", fmt::format("{} nonzero ({} zeros); {}", grouped(result.nnz),
                                    percent(1.0 - static_cast<double>(result.nnz) /
                                                      static_cast<double>(result.numel)),
                                    how(result))});
  facts.row({style.unicode ? "λ" : "lambda", lambdas(result)});
  facts.row({"loss", losses(result)});
  if (result.before_debias) {
    facts.row({"chosen",
               fmt::format("{} at step {}, before the survivors were trained on alone",
                           losses(*result.before_debias), grouped(result.before_debias->steps))});
  }
  if (result.dense) facts.row({"dense", dense_text(result)});
  facts.row({"effort", effort(result, config)});
  if (!result.device.empty()) facts.row({"device", printable(result.device)});
  if (!result.why_stopped.empty()) facts.row({"ended", printable(result.why_stopped)});
  facts.row({"files", printable(result.folder) +
                          "/: model.safetensors result.json history.csv config.toml"});
  return facts.text() + "\n" + layer_table(result, style);
}

}  // namespace cuthresh::command
