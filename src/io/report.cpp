#include "io/report.hpp"

#include <cstddef>
#include <utility>

#include "io/numbers.hpp"

namespace cuthresh {
namespace {

OrderedJson numbers(const std::vector<double>& values) {
  OrderedJson list = OrderedJson::array();
  for (const double value : values) list.push_back(json_number(value));
  return list;
}

OrderedJson layer_json(const LayerResult& layer) {
  return {{"name", layer.name},
          {"numel", layer.numel},
          {"nnz", layer.nnz},
          {"target_nnz", json_number(layer.target_nnz)},
          {"shared_target_nnz", json_number(layer.shared_target_nnz)},
          {"lambda", json_number(layer.lambda)},
          {"kkt_nonzero", json_number(layer.kkt_nonzero)},
          {"kkt_zero", json_number(layer.kkt_zero)},
          {"gradient_nonzero", json_number(layer.gradient_nonzero)},
          {"reached", layer.reached}};
}

OrderedJson round_json(const RoundResult& round) {
  return {{"round", round.round},
          {"candidate", round.candidate},
          {"lambda", numbers(round.lambda)},
          {"nnz", round.nnz},
          {"steps", round.steps},
          {"train_loss", json_number(round.train_loss)},
          {"test_loss", json_number(round.test_loss)},
          {"train_accuracy", json_number(round.train_accuracy)},
          {"test_accuracy", json_number(round.test_accuracy)},
          {"hit", round.hit},
          {"diverged", round.diverged},
          {"seconds", json_number(round.seconds)}};
}

template <typename Number>
void append_list(std::string& text, const std::vector<Number>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text += ';';
    append_number(text, values[i]);
  }
}

/// The four columns that steps and rounds share.
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

  const OrderedJson json = {
      {"schema", "cuthresh/result/1"},
      {"version", version},
      {"achieved", result.achieved},
      {"outcome", outcome_name(result.outcome)},
      {"why_stopped", result.why_stopped},
      {"nnz", result.nnz},
      {"numel", result.numel},
      {"target_nnz", json_number(result.target_nnz)},
      {"tolerance", json_number(config.sparsity.tolerance)},
      {"sparsity", json_number(sparsity)},
      {"rounds", result.rounds_done()},
      {"trainings", result.rounds.size()},
      {"best_round", result.best_round},
      {"best_candidate", result.best_candidate},
      {"steps_total", result.steps_total},
      {"train_loss", json_number(result.train_loss)},
      {"test_loss", json_number(result.test_loss)},
      {"train_accuracy", json_number(result.train_accuracy)},
      {"test_accuracy", json_number(result.test_accuracy)},
      {"dense", scores_json(result.dense)},
      {"before_debias", scores_json(result.before_debias)},
      {"seconds", json_number(result.seconds)},
      {"candidate_steps_per_second", json_number(result.candidate_steps_per_second)},
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
