#include "io/report.hpp"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <utility>

namespace cuthresh {
namespace {

using OrderedJson = nlohmann::ordered_json;

// JSON has no NaN and no infinity.
OrderedJson number(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr);
}

OrderedJson number(const std::optional<double>& value) {
  return value ? number(*value) : OrderedJson(nullptr);
}

OrderedJson number(const std::optional<std::int64_t>& value) {
  return value ? OrderedJson(*value) : OrderedJson(nullptr);
}

OrderedJson numbers(const std::vector<double>& values) {
  OrderedJson list = OrderedJson::array();
  for (const double value : values) list.push_back(number(value));
  return list;
}

OrderedJson layer_json(const LayerResult& layer) {
  return {{"name", layer.name},
          {"numel", layer.numel},
          {"nnz", layer.nnz},
          {"target_nnz", number(layer.target_nnz)},
          {"shared_target_nnz", number(layer.shared_target_nnz)},
          {"lambda", number(layer.lambda)},
          {"kkt_nonzero", number(layer.kkt_nonzero)},
          {"kkt_zero", number(layer.kkt_zero)},
          {"gradient_nonzero", number(layer.gradient_nonzero)},
          {"reached", layer.reached}};
}

OrderedJson round_json(const RoundResult& round) {
  return {{"round", round.round},
          {"lambda", numbers(round.lambda)},
          {"nnz", round.nnz},
          {"steps", round.steps},
          {"train_loss", number(round.train_loss)},
          {"test_loss", number(round.test_loss)},
          {"train_accuracy", number(round.train_accuracy)},
          {"test_accuracy", number(round.test_accuracy)},
          {"hit", round.hit},
          {"diverged", round.diverged},
          {"seconds", number(round.seconds)}};
}

// Shortest text that reads back to the same bits; empty for what is not finite.
template <typename Number>
void append_number(std::string& text, Number value) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(value)) return;
  }
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  text.append(digits, end.ptr);
}

template <typename Number>
void append_list(std::string& text, const std::vector<Number>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text += ';';
    append_number(text, values[i]);
  }
}

OrderedJson scores_json(const std::optional<NetworkScores>& scores) {
  if (!scores) return nullptr;
  return {{"steps", scores->steps},
          {"train_loss", number(scores->train_loss)},
          {"test_loss", number(scores->test_loss)},
          {"train_accuracy", number(scores->train_accuracy)},
          {"test_accuracy", number(scores->test_accuracy)}};
}

/// The four columns that steps and rounds share.
template <typename Row>
void append_losses(std::string& text, const Row& row) {
  append_number(text, row.train_loss);
  text += ',';
  append_number(text, row.test_loss);
  for (const std::optional<double>& accuracy : {row.train_accuracy, row.test_accuracy}) {
    text += ',';
    if (accuracy) append_number(text, *accuracy);
  }
}

}  // namespace

std::string outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kCrossed:
      return "crossed";
    case Outcome::kConverged:
      return "converged";
    case Outcome::kKept:
      return "kept";
    case Outcome::kMissed:
      return "missed";
    case Outcome::kFixed:
      return "fixed";
  }
  return "missed";
}

std::string result_json(const FitResult& result, const FitConfig& config,
                        const std::string& version) {
  OrderedJson layers = OrderedJson::array();
  for (const LayerResult& layer : result.layers) layers.push_back(layer_json(layer));
  OrderedJson rounds = OrderedJson::array();
  for (const RoundResult& round : result.rounds) rounds.push_back(round_json(round));
  const double sparsity = static_cast<double>(result.numel - result.nnz) /
                          static_cast<double>(result.numel);  // NaN without weights

  const OrderedJson json = {{"schema", "cuthresh/result/1"},
                            {"version", version},
                            {"achieved", result.achieved},
                            {"outcome", outcome_name(result.outcome)},
                            {"why_stopped", result.why_stopped},
                            {"nnz", result.nnz},
                            {"numel", result.numel},
                            {"target_nnz", number(result.target_nnz)},
                            {"tolerance", number(config.sparsity.tolerance)},
                            {"sparsity", number(sparsity)},
                            {"rounds", result.rounds.size()},
                            {"best_round", result.best_round},
                            {"steps_total", result.steps_total},
                            {"train_loss", number(result.train_loss)},
                            {"test_loss", number(result.test_loss)},
                            {"train_accuracy", number(result.train_accuracy)},
                            {"test_accuracy", number(result.test_accuracy)},
                            {"dense", scores_json(result.dense)},
                            {"before_debias", scores_json(result.before_debias)},
                            {"seconds", number(result.seconds)},
                            {"device", result.device},
                            {"bytes_to_host", result.bytes_to_host},
                            {"bytes_to_host_search", result.bytes_to_host_search},
                            {"seed", config.run.seed},
                            {"layers", std::move(layers)},
                            {"rounds_detail", std::move(rounds)}};
  // A name that is not UTF-8 gets replacement characters: it must not cost a finished run.
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

HistoryCsv::HistoryCsv()
    : text_(
          "kind,round,step,lambda,nnz,train_loss,test_loss,train_accuracy,test_accuracy,hit,"
          "diverged,"
          "seconds\n") {}

void HistoryCsv::add_step(const StepSample& sample) {
  text_ += "step,";
  append_number(text_, sample.round);
  text_ += ',';
  append_number(text_, sample.step);
  text_ += ',';
  append_list(text_, sample.lambda);
  text_ += ',';
  append_list(text_, sample.nnz);
  text_ += ',';
  append_losses(text_, sample);
  text_ += ",,,";
  append_number(text_, sample.seconds);
  text_ += '\n';
}

void HistoryCsv::add_round(const RoundResult& round) {
  text_ += "round,";
  append_number(text_, round.round);
  text_ += ',';
  append_number(text_, round.steps);
  text_ += ',';
  append_list(text_, round.lambda);
  text_ += ',';
  append_list(text_, round.nnz);
  text_ += ',';
  append_losses(text_, round);
  text_ += round.hit ? ",1," : ",0,";
  text_ += round.diverged ? "1," : "0,";
  append_number(text_, round.seconds);
  text_ += '\n';
}

}  // namespace cuthresh
