#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>

#include "config/checks.hpp"
#include "config/keys.hpp"
#include "config/layer_names.hpp"
#include "core/suggest.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::config {
namespace {

/// Throws for `key`, with its place and the value as written (`value` when it was not read from a
/// file).
[[noreturn]] void fail(const Origins& origins, const std::string& key, std::string what,
                       const std::string& value, std::string remedy) {
  throw InputError(
      {origins.where(key), std::move(what), origins.value(key, value), std::move(remedy)});
}

/// Each key by itself: what the table says of it.
class RangeCheck {
 public:
  RangeCheck(const Key& key, const Origins& origins)
      : key_(key), origins_(origins), path_(key.path()) {}

  void operator()(const std::string* value) const {
    if (key_.choices.empty()) {
      if (value->find('\0') != std::string::npos) {
        refuse(path_, in_quotes(fmt::format("{}\\u0000...", value->c_str())),
               "remove the zero character");
      }
      return;
    }
    if (std::find(key_.choices.begin(), key_.choices.end(), *value) != key_.choices.end()) return;
    refuse(path_, in_quotes(*value), did_you_mean(*value, key_.choices, "write one of these"));
  }
  void operator()(const std::int64_t* value) const {
    if (!key_.word.empty() && *value == key_.word_value) return;  // as FitConfig holds the word
    check_whole(path_, *value);
  }
  void operator()(const std::optional<std::int64_t>* value) const {
    if (*value) check_whole(path_, **value);
  }
  void operator()(const std::uint64_t* value) const {
    // TOML's integers end at 2^63 - 1, so a larger seed could not be written to config.toml and
    // read back.
    if (*value > static_cast<std::uint64_t>(kNoLimit)) {
      fail(origins_, path_, "must be below 2^63", std::to_string(*value), "take a smaller number");
    }
  }
  void operator()(const double* value) const {
    if (!key_.real.contains(*value))
      refuse(path_, fmt::to_string(*value), "change it to such a number");
  }
  void operator()(const std::optional<double>* value) const {
    if (*value) (*this)(&**value);
  }
  void operator()(const bool*) const {}
  void operator()(const std::vector<std::string>*) const {}
  void operator()(const std::vector<std::int64_t>*) const {
  }  // widths: check_model says which layer
  void operator()(const std::vector<double>* values) const {
    for (std::size_t i = 0; i < values->size(); ++i) {
      if (key_.real.contains((*values)[i])) continue;
      refuse(fmt::format("{}[{}]", path_, i), fmt::to_string((*values)[i]),
             "change it to such a number");
    }
  }
  void operator()(const std::map<std::string, std::int64_t>* values) const {
    for (const auto& [name, value] : *values) check_whole(path_ + "." + name, value);
  }
  void operator()(const std::map<std::string, std::vector<std::int64_t>>* values) const {
    for (const auto& [name, list] : *values) {
      for (const std::int64_t value : list) check_whole(path_ + "." + name, value);
    }
  }

 private:
  void check_whole(const std::string& path, std::int64_t value) const {
    if (value >= key_.whole.lo && value <= key_.whole.hi) return;
    if (!origins_.written(key_.path()) && !origins_.written(path)) {
      refuse(path, std::to_string(value), fmt::format("set {}", key_.name));
    }
    refuse(path, std::to_string(value), "change it to such a number");
  }
  [[noreturn]] void refuse(const std::string& path, const std::string& value,
                           std::string remedy) const {
    fail(origins_, path, "must be " + expected(key_), value, std::move(remedy));
  }

  const Key& key_;
  const Origins& origins_;
  std::string path_;
};

/// "the inputs of layer fc1" for entry 0, "the outputs of layer fc3" for entry 3.
std::string width_role(std::size_t entry) {
  return entry == 0 ? "the inputs of layer fc1" : fmt::format("the outputs of layer fc{}", entry);
}

void check_widths(const FitConfig& config, const Origins& origins) {
  const auto& widths = config.model.widths;
  const std::string path = "model.widths";
  const WholeRange range = find_key("model", "widths")->whole;
  if (widths.size() < 2) {
    fail(origins, path, "must name at least the inputs and the outputs", fmt::format("{}", widths),
         "write for instance widths = [6, 128, 1]");
  }
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (widths[i] >= range.lo && widths[i] <= range.hi) continue;
    fail(origins, fmt::format("{}[{}]", path, i),
         fmt::format("{} must be a whole number from {} to {}", width_role(i), range.lo, range.hi),
         std::to_string(widths[i]), "give every layer at least one input and one output");
  }
  // 2^40 weights are 4 TiB of float: no machine this runs on, and below it no product leaves 64
  // bits.
  constexpr std::int64_t kMostWeights = std::int64_t{1} << 40;
  std::int64_t total = 0;
  for (std::size_t i = 1; i < widths.size(); ++i) {
    total += widths[i - 1] * widths[i];
    if (total <= kMostWeights) continue;
    fail(origins, path, fmt::format("layers fc1 to fc{} have more than 2^40 weights", i),
         fmt::format("{}", widths), "make the layers narrower");
  }
  if (config.train.loss == "cross-entropy" && widths.back() < 2) {
    fail(origins, fmt::format("{}[{}]", path, widths.size() - 1),
         "the last layer needs one output a class, at least 2, for train.loss = \"cross-entropy\"",
         std::to_string(widths.back()),
         "set the last width to the number of classes, or train.loss to mse");
  }
}

/// Which keys of [model] belong to which kind. What the lines of `layers` say is checked where the
/// network is built: only there are the shapes known.
void check_model(const FitConfig& config, const Origins& origins) {
  const ModelConfig& m = config.model;
  const bool mlp = m.kind == "mlp";
  const bool layers = m.kind == "layers";
  if (!mlp && !m.widths.empty()) {
    fail(origins, "model.widths", "belongs to model.kind = \"mlp\"", fmt::format("{}", m.widths),
         "remove it, or the kind");
  }
  if (!layers && !m.layers.empty()) {
    fail(origins, "model.layers", "belongs to model.kind = \"layers\"",
         fmt::format("{} lines", m.layers.size()), "remove them, or set kind = \"layers\"");
  }
  if ((mlp || layers) && m.classes != 0) {
    fail(origins, "model.classes", "belongs to models by name, such as cnn-paper",
         std::to_string(m.classes), "remove it: the last layer says how many outputs there are");
  }
  if (m.classes == 1) {
    fail(origins, "model.classes", "must be at least 2, or 0 for as many as there are labels", "1",
         "set the number of classes");
  }
  if (layers && m.layers.empty()) {
    fail(origins, "model.layers", "must name at least one layer", "[]",
         "write for instance layers = [\"conv 8 3x3 relu\", \"maxpool 2\", \"dense 10\"]");
  }
  if (mlp) check_widths(config, origins);
}

void check_layers(const SparsityConfig& s, const Origins& origins) {
  std::map<std::string, std::string> key_of;
  for (const auto& [key, target] : s.layers) {
    for (const std::string& name : split_layers(key)) {
      const std::string path = "sparsity.layers." + key;
      if (name.empty()) {
        fail(origins, path, "names no layer", std::to_string(target),
             "write for instance fc1 = 650, or \"fc2, fc3\" = 650 for a target that they share");
      }
      const auto [other, added] = key_of.emplace(name, key);
      if (added) continue;
      fail(origins, path,
           other->second == key
               ? fmt::format("names layer {} twice", name)
               : fmt::format("layer {} has a target already, with {}", name, other->second),
           std::to_string(target), "name each layer once");
    }
  }
}

void check_bounds(const FitConfig& config, const Origins& origins) {
  const SparsityConfig& s = config.sparsity;
  for (const auto& [name, bounds] : s.bounds) {
    const std::string path = "sparsity.bounds." + name;
    const std::string value = fmt::format("{}", bounds);
    if (config.search.method != "one-run") {
      fail(origins, path,
           fmt::format("only search.method = \"one-run\" keeps bounds, and it is {}",
                       config.search.method),
           value, "remove them, or set search.method to one-run");
    }
    if (bounds.size() != 2 || bounds[0] > bounds[1]) {
      fail(origins, path, "must be the fewest and the most nonzero weights, the smaller one first",
           value, fmt::format("write for instance {} = [100, 650]", name));
    }
    if (name.empty() || name.find(',') != std::string::npos) {
      fail(origins, path, "must name one layer", value, "give each layer bounds of its own");
    }
  }
  if (s.allocation == "none") return;
  if (!s.target_nnz && !s.target_sparsity) {
    fail(origins, "sparsity.allocation",
         "divides one target among the layers, and none is given for all of them",
         fmt::format("\"{}\"", s.allocation),
         "remove it, or set target_nnz or target_sparsity in place of other targets");
  }
  if (!s.bounds.empty()) {
    fail(origins, "sparsity.allocation",
         "gives each layer a target of its own, which leaves nothing to [sparsity.bounds]",
         fmt::format("\"{}\"", s.allocation), "keep one of the two");
  }
}

void check_targets(const FitConfig& config, const Origins& origins) {
  const SparsityConfig& s = config.sparsity;
  std::vector<std::string> given;
  if (s.target_nnz) given.emplace_back("sparsity.target_nnz");
  if (s.target_sparsity) given.emplace_back("sparsity.target_sparsity");
  if (!s.layers.empty()) given.emplace_back("sparsity.layers");
  if (given.size() > 1) {
    throw InputError(
        {origins.where(given[1]),
         fmt::format("{} is given too, and the sparsity can be prescribed only once", given[0]),
         origins.value(given[1], ""), "keep one of target_nnz, target_sparsity and layers"});
  }
  if (given.empty() && config.search.method != "fixed") {
    throw InputError(
        {origins.where("sparsity"),
         fmt::format("search.method = \"{}\" needs a target and none is given",
                     config.search.method),
         "",
         "set one of sparsity.target_nnz, sparsity.target_sparsity and [sparsity.layers], or "
         "search.method to fixed"});
  }
  check_layers(s, origins);
  check_bounds(config, origins);
  const auto targets = static_cast<std::int64_t>(s.layers.size());
  if (s.layers_required > targets) {
    fail(origins, "sparsity.layers_required",
         fmt::format("more layers than have a target: [sparsity.layers] names {}", targets),
         std::to_string(s.layers_required),
         targets == 0 ? "remove the key"
                      : fmt::format("take a number from 1 to {}, or 0 for all", targets));
  }
  const auto empty = std::find(s.penalise.begin(), s.penalise.end(), "");
  if (s.penalise.empty() || empty != s.penalise.end()) {
    fail(origins, "sparsity.penalise",
         "must name at least one parameter, and no pattern may be empty",
         fmt::format("{}", s.penalise), "write for instance penalise = [\"*.weight\"]");
  }
}

void check_train(const TrainConfig& train, const Origins& origins) {
  if ((train.steps > 0) == (train.epochs > 0)) {
    const bool both = train.steps > 0;
    fail(origins, both ? "train.epochs" : "train.steps",
         both ? "train.steps is given too, and either says how long a round is"
              : "a round needs a length, at least 1 step",
         std::to_string(both ? train.epochs : train.steps),
         both ? "keep one of the two" : "set steps or epochs");
  }
  if (static_cast<float>(train.momentum) >= 1.0f) {
    fail(origins, "train.momentum", "must be below 1 (in single precision)",
         fmt::to_string(train.momentum), "take a smaller number");
  }
  if (train.nesterov && train.momentum == 0.0) {
    fail(origins, "train.nesterov", "train.momentum is 0, so there is nothing to take its form",
         "true", "set train.momentum, 0.9 for instance, or remove the key");
  }
  const TrainConfig defaults;
  const auto only_for = [&](const char* schedule, const char* key, bool given, std::string value) {
    if (!given || train.schedule == schedule) return;
    fail(origins, key,
         fmt::format("only schedule = \"{}\" has it, and train.schedule is {}", schedule,
                     train.schedule),
         value, "remove the key, or change train.schedule");
  };
  only_for("step", "train.decay_every", train.decay_every != defaults.decay_every,
           std::to_string(train.decay_every));
  only_for("step", "train.decay_factor", train.decay_factor != defaults.decay_factor,
           fmt::to_string(train.decay_factor));
  only_for("cosine", "train.final_learning_rate",
           train.final_learning_rate != defaults.final_learning_rate,
           fmt::to_string(train.final_learning_rate));
  if (train.schedule == "step" && train.decay_every == 0) {
    fail(origins, "train.decay_every", "train.schedule = \"step\" needs a number of steps", "0",
         "write for instance decay_every = 1000");
  }
  if (train.steps > 0 && train.warmup >= train.steps) {
    fail(origins, "train.warmup",
         fmt::format("must be below train.steps = {}, or the schedule never begins", train.steps),
         std::to_string(train.warmup), "take a smaller number");
  }
}

void check_between_sections(const FitConfig& config, const Origins& origins) {
  const SearchConfig& search = config.search;
  if (search.stop == "first-hit" && config.train.steps > 0 &&
      search.first_hit_after >= config.train.steps) {
    fail(origins, "search.first_hit_after",
         fmt::format("must be below train.steps = {}, or no step is left to hit at",
                     config.train.steps),
         std::to_string(search.first_hit_after),
         "take a smaller number, or search.stop = \"converged\"");
  }
  if (config.run.out.empty()) {
    fail(origins, "run.out", "must name the run folder", "\"\"",
         "write for instance out = \"runs/first\"");
  }
}

}  // namespace

void check(const FitConfig& config, const Origins& origins) {
  FitConfig readable = config;  // the table's fields point into a FitConfig that may be written
  for (const Key& key : keys()) std::visit(RangeCheck(key, origins), key.field(readable));
  check_data(config.data, origins);
  check_model(config, origins);
  check_train(config.train, origins);
  check_targets(config, origins);
  check_search(config, origins);
  check_between_sections(config, origins);
}

}  // namespace cuthresh::config

namespace cuthresh {

void validate(const FitConfig& config) {
  config::check(config, {});
}

}  // namespace cuthresh
