#pragma once

// Numbers and scores as every report of ours writes them.

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>

#include "cuthresh/fit.hpp"

namespace cuthresh {

using OrderedJson = nlohmann::ordered_json;

/// JSON has no NaN and no infinity: null.
inline OrderedJson json_number(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr);
}

inline OrderedJson json_number(const std::optional<double>& value) {
  return value ? json_number(*value) : OrderedJson(nullptr);
}

inline OrderedJson json_number(const std::optional<std::int64_t>& value) {
  return value ? OrderedJson(*value) : OrderedJson(nullptr);
}

inline OrderedJson scores_json(const std::optional<NetworkScores>& scores) {
  if (!scores) return nullptr;
  return {{"steps", scores->steps},
          {"train_loss", json_number(scores->train_loss)},
          {"test_loss", json_number(scores->test_loss)},
          {"train_accuracy", json_number(scores->train_accuracy)},
          {"test_accuracy", json_number(scores->test_accuracy)}};
}

/// For CSV: the shortest text that reads back to the same bits; empty for what is not finite.
template <typename Number>
void append_number(std::string& text, Number value) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(value)) return;
  }
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  text.append(digits, end.ptr);
}

/// "train loss,test loss,train accuracy,test accuracy"; empty where there is none.
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

}  // namespace cuthresh
