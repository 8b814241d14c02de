#include "config/keys.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <utility>

namespace cuthresh::config {
namespace {

using FieldOf = Field (*)(FitConfig&);
using Text = std::string_view;

Key plain(Text section, Text name, FieldOf field, Text doc) {
  return {section, name, field, doc, {}, {}, {}, false, {}, 0};
}

Key choice(Text section, Text name, FieldOf field, std::vector<Text> choices, Text doc) {
  Key key = plain(section, name, field, doc);
  key.choices = std::move(choices);
  return key;
}

Key whole(Text section, Text name, FieldOf field, WholeRange range, Text doc) {
  Key key = plain(section, name, field, doc);
  key.whole = range;
  return key;
}

Key real(Text section, Text name, FieldOf field, RealRange range, Text doc) {
  Key key = plain(section, name, field, doc);
  key.real = range;
  return key;
}

Key file_path(Text section, Text name, FieldOf field, Text doc) {
  Key key = plain(section, name, field, doc);
  key.is_path = true;
  return key;
}

/// A whole number or a word, which the field holds as `word_value`.
Key word_or_whole(Text section, Text name, FieldOf field, WholeRange range, Text word,
                  std::int64_t word_value, Text doc) {
  Key key = whole(section, name, field, range, doc);
  key.word = word;
  key.word_value = word_value;
  return key;
}

// Upper ends exist so that products stay far inside 64 bits (10^12 steps × 10^6 rounds = 10^18) and
// a slip of the keyboard is found before hours of training; λ up to 10^30 leaves a threshold αλ,
// with α at most 10^3, far below the largest float, 3.4·10^38.
constexpr WholeRange kOptionalSteps{0, 1'000'000'000'000};
constexpr RealRange kLambda{0.0, 1e30, false, false};

std::vector<Key> build() {
  using C = FitConfig;
  return {
      choice(
          "data", "kind", [](C& c) -> Field { return &c.data.kind; },
          {"mackey-glass", "libsvm", "csv", "idx", "cifar10"}, "where the samples come from"),
      file_path(
          "data", "path", [](C& c) -> Field { return &c.data.path; },
          "the file, for libsvm and csv; the folder, for idx and cifar10"),
      file_path(
          "data", "test_path", [](C& c) -> Field { return &c.data.test_path; },
          "a second file that is the test set"),
      plain(
          "data", "target_columns", [](C& c) -> Field { return &c.data.target_columns; },
          "csv: columns to learn; none: the last"),
      whole(
          "data", "train_rows", [](C& c) -> Field { return &c.data.train_rows; }, {0, kNoLimit},
          "rows that train, the others test (images: the first of those that train); 0: not given"),
      real(
          "data", "train_fraction", [](C& c) -> Field { return &c.data.train_fraction; },
          {0.0, 1.0, false, false}, "share of the rows that train; 0: not given"),
      plain(
          "data", "shuffle", [](C& c) -> Field { return &c.data.shuffle; },
          "draw the rows of the split by run.seed"),
      file_path(
          "data", "train_images", [](C& c) -> Field { return &c.data.train_images; },
          "idx: the file of training images, in place of the folder's"),
      file_path(
          "data", "train_labels", [](C& c) -> Field { return &c.data.train_labels; },
          "idx: the file of their labels"),
      file_path(
          "data", "test_images", [](C& c) -> Field { return &c.data.test_images; },
          "idx: the file of test images"),
      file_path(
          "data", "test_labels", [](C& c) -> Field { return &c.data.test_labels; },
          "idx: the file of their labels"),
      whole(
          "data", "test_rows", [](C& c) -> Field { return &c.data.test_rows; }, {0, kNoLimit},
          "images: the first rows of those that test; 0: all"),
      real(
          "data", "mean", [](C& c) -> Field { return &c.data.mean; },
          {-1000.0, 1000.0, false, false},
          "images: of pixel/255, a channel or for all; none: the kind's"),
      real(
          "data", "std", [](C& c) -> Field { return &c.data.std; }, {1e-6, 1000.0, false, false},
          "images: inputs are (pixel/255 - mean)/std"),
      whole(
          "data", "random_crop", [](C& c) -> Field { return &c.data.random_crop; }, {0, 65535},
          "images: pixels that a training image is moved by, at most"),
      plain(
          "data", "random_flip", [](C& c) -> Field { return &c.data.random_flip; },
          "images: every second training image is mirrored, at random"),

      choice(
          "model", "kind", [](C& c) -> Field { return &c.model.kind; },
          {"mlp", "layers", "cnn-paper", "lenet5", "resnet20"},
          "fully connected, a list of layers, or a model by name"),
      whole(
          "model", "widths", [](C& c) -> Field { return &c.model.widths; }, {1, 2'147'483'647},
          "mlp: inputs, hidden widths, outputs"),
      plain(
          "model", "layers", [](C& c) -> Field { return &c.model.layers; },
          "layers: a line a layer, such as \"conv 32 3x3 pad 1 relu\""),
      whole(
          "model", "classes", [](C& c) -> Field { return &c.model.classes; }, {0, 2'147'483'647},
          "outputs of a model by name; 0: as many as there are labels"),
      choice(
          "model", "activation", [](C& c) -> Field { return &c.model.activation; },
          {"identity", "relu", "leaky-relu", "tanh", "sigmoid", "gelu", "silu"},
          "mlp and models by name: after every layer but the last"),
      real(
          "model", "leaky_slope", [](C& c) -> Field { return &c.model.leaky_slope; },
          {0.0, 1.0, false, true}, "slope of leaky-relu below zero"),
      choice(
          "model", "init", [](C& c) -> Field { return &c.model.init; }, {"pytorch", "he", "glorot"},
          "how initial weights are drawn"),

      choice(
          "train", "loss", [](C& c) -> Field { return &c.train.loss; }, {"mse", "cross-entropy"},
          "what is minimised, beside the penalty"),
      real(
          "train", "learning_rate", [](C& c) -> Field { return &c.train.learning_rate; },
          {0.0, 1000.0, true, false}, "step size"),
      real(
          "train", "momentum", [](C& c) -> Field { return &c.train.momentum; },
          {0.0, 1.0, false, true}, "0: none"),
      plain(
          "train", "nesterov", [](C& c) -> Field { return &c.train.nesterov; },
          "Nesterov's form of the momentum"),
      choice(
          "train", "schedule", [](C& c) -> Field { return &c.train.schedule; },
          {"constant", "step", "cosine"}, "how the learning rate goes on in a round"),
      whole(
          "train", "warmup", [](C& c) -> Field { return &c.train.warmup; }, kOptionalSteps,
          "steps up to the learning rate, before the schedule"),
      whole(
          "train", "decay_every", [](C& c) -> Field { return &c.train.decay_every; },
          kOptionalSteps, "schedule step: steps between two decays"),
      real(
          "train", "decay_factor", [](C& c) -> Field { return &c.train.decay_factor; },
          {0.0, 1.0, true, false}, "schedule step: what a decay multiplies by"),
      real(
          "train", "final_learning_rate",
          [](C& c) -> Field { return &c.train.final_learning_rate; }, {0.0, 1000.0, false, false},
          "schedule cosine: where it ends"),
      whole(
          "train", "steps", [](C& c) -> Field { return &c.train.steps; }, kOptionalSteps,
          "steps a round; 0: by epochs"),
      whole(
          "train", "epochs", [](C& c) -> Field { return &c.train.epochs; }, {0, 1'000'000'000},
          "passes over the training rows a round; 0: by steps"),
      word_or_whole(
          "train", "batch", [](C& c) -> Field { return &c.train.batch; }, {1, kNoLimit}, "full", 0,
          "rows a step, or \"full\""),
      word_or_whole(
          "train", "eval_every", [](C& c) -> Field { return &c.train.eval_every; }, kOptionalSteps,
          "never", kNever, "steps between samples in history.csv; 0: steps/50"),
      whole(
          "train", "test_every", [](C& c) -> Field { return &c.train.test_every; }, kOptionalSteps,
          "steps between test losses in history.csv; 0: at rounds' ends"),

      whole(
          "sparsity", "target_nnz", [](C& c) -> Field { return &c.sparsity.target_nnz; },
          {0, kNoLimit}, "nonzero weights wanted in all"),
      real(
          "sparsity", "target_sparsity", [](C& c) -> Field { return &c.sparsity.target_sparsity; },
          {0.0, 1.0, false, false}, "share of zeros wanted in all"),
      real(
          "sparsity", "tolerance", [](C& c) -> Field { return &c.sparsity.tolerance; },
          {0.0, 1.0, false, true}, "met when |nnz - target| <= tolerance * target"),
      whole(
          "sparsity", "layers_required", [](C& c) -> Field { return &c.sparsity.layers_required; },
          {0, kNoLimit}, "layers that must meet theirs; 0: all"),
      plain(
          "sparsity", "penalise", [](C& c) -> Field { return &c.sparsity.penalise; },
          "name patterns (* and ?) of penalised parameters"),
      choice(
          "sparsity", "allocation", [](C& c) -> Field { return &c.sparsity.allocation; },
          {"none", "uniform", "erdos-renyi"}, "how one target is divided among the layers"),
      // Last of their section: to_toml writes them as tables of their own, which end [sparsity].
      whole(
          "sparsity", "layers", [](C& c) -> Field { return &c.sparsity.layers; }, {0, kNoLimit},
          "nonzero weights wanted, by layer"),
      whole(
          "sparsity", "bounds", [](C& c) -> Field { return &c.sparsity.bounds; }, {0, kNoLimit},
          "one-run: [fewest, most] nonzero weights of a layer"),

      choice(
          "search", "method", [](C& c) -> Field { return &c.search.method; },
          {"one-run", "gradient-median", "log-midpoint", "interpolate", "fixed"},
          "how lambda is found"),
      choice(
          "search", "stop", [](C& c) -> Field { return &c.search.stop; },
          {"first-hit", "converged"}, "when a count decides"),
      real(
          "search", "lambda", [](C& c) -> Field { return &c.search.lambda; }, kLambda,
          "the bracket; one number with fixed and one-run; none: found automatically"),
      whole(
          "search", "max_rounds", [](C& c) -> Field { return &c.search.max_rounds; },
          {1, 1'000'000}, "rounds at most"),
      whole(
          "search", "parallel", [](C& c) -> Field { return &c.search.parallel; }, {1, 64},
          "trainings of a round, at the same time, each at a lambda of its own"),
      plain(
          "search", "warm_start", [](C& c) -> Field { return &c.search.warm_start; },
          "a round begins where the latest one with too many nonzeros ended"),
      whole(
          "search", "first_hit_after", [](C& c) -> Field { return &c.search.first_hit_after; },
          kOptionalSteps, "steps of a round in which a crossing does not count"),
      real(
          "search", "ramp", [](C& c) -> Field { return &c.search.ramp; }, {0.0, 1.0, false, false},
          "one-run: shares of the steps between which nonzeros are brought down"),
      real(
          "search", "finish", [](C& c) -> Field { return &c.search.finish; },
          {0.0, 1.0, true, false}, "one-run: share of the steps that keep exactly the target"),
      real(
          "search", "debias", [](C& c) -> Field { return &c.search.debias; },
          {0.0, 1.0, false, true}, "one-run: share of the last steps, for the survivors alone"),
      real(
          "search", "integral_gain", [](C& c) -> Field { return &c.search.integral_gain; },
          {0.0, 1e6, false, false}, "one-run: how fast log lambda follows an error that stays"),
      real(
          "search", "proportional_gain", [](C& c) -> Field { return &c.search.proportional_gain; },
          {0.0, 100.0, false, false}, "one-run: how much log lambda answers an error at once"),
      plain(
          "search", "compare_dense", [](C& c) -> Field { return &c.search.compare_dense; },
          "train once more, with lambda 0, and report it beside the result"),

      whole(
          "run", "seed", [](C& c) -> Field { return &c.run.seed; }, {0, kNoLimit},
          "weights, split and batch order"),
      plain(
          "run", "out", [](C& c) -> Field { return &c.run.out; }, "the run folder"),
      choice(
          "run", "device", [](C& c) -> Field { return &c.run.device; }, {"auto", "cpu", "cuda"},
          "where it runs"),
      choice(
          "run", "engine", [](C& c) -> Field { return &c.run.engine; },
          {"auto", "onednn", "tiled", "reference"}, "matrix products on the CPU"),
      choice(
          "run", "precision", [](C& c) -> Field { return &c.run.precision; }, {"fp32", "tf32"},
          "matrix products on a GPU"),
      choice(
          "run", "execution", [](C& c) -> Field { return &c.run.execution; },
          {"auto", "plain", "graph", "fused"}, "how steps reach a GPU"),
      whole(
          "run", "threads", [](C& c) -> Field { return &c.run.threads; }, {0, 1024},
          "threads; 0: one a core"),
      file_path(
          "run", "init", [](C& c) -> Field { return &c.run.init; },
          "safetensors file with the initial weights"),
      real(
          "run", "checkpoint_minutes", [](C& c) -> Field { return &c.run.checkpoint_minutes; },
          {0.0, 1e6, false, false}, "one-run: minutes between two checkpoints; 0: none"),
      plain(
          "run", "resume", [](C& c) -> Field { return &c.run.resume; },
          "one-run: go on from a checkpoint that is there"),
      plain(
          "run", "force", [](C& c) -> Field { return &c.run.force; },
          "replace an existing run folder"),
  };
}

std::string describe(const WholeRange& range, std::string_view noun) {
  if (range.hi == kNoLimit) return fmt::format("{}, at least {}", noun, range.lo);
  return fmt::format("{} from {} to {}", noun, range.lo, range.hi);
}

std::string describe(const RealRange& range) {
  return fmt::format("a number {} {} and {} {}", range.lo_open ? "above" : "at least", range.lo,
                     range.hi_open ? "below" : "at most", range.hi);
}

struct Describe {
  const Key& key;

  std::string operator()(const std::string*) const {
    return key.choices.empty() ? "a string"
                               : fmt::format("one of {}", fmt::join(key.choices, ", "));
  }
  std::string operator()(const std::int64_t*) const {
    const std::string number = describe(key.whole, "a whole number");
    return key.word.empty() ? number : fmt::format("\"{}\" or {}", key.word, number);
  }
  std::string operator()(const std::uint64_t*) const {
    return describe(key.whole, "a whole number");
  }
  std::string operator()(const std::optional<std::int64_t>*) const {
    return describe(key.whole, "a whole number");
  }
  std::string operator()(const double*) const { return describe(key.real); }
  std::string operator()(const std::optional<double>*) const { return describe(key.real); }
  std::string operator()(const bool*) const { return "true or false"; }
  std::string operator()(const std::vector<std::string>*) const { return "a list of strings"; }
  std::string operator()(const std::vector<std::int64_t>*) const {
    return describe(key.whole, "a list of whole numbers, each");
  }
  std::string operator()(const std::vector<double>*) const {
    return "a number or a list of numbers, each" + describe(key.real).substr(8);
  }
  std::string operator()(const std::map<std::string, std::int64_t>*) const {
    return describe(key.whole, "a table of whole numbers by layer name, each");
  }
  std::string operator()(const std::map<std::string, std::vector<std::int64_t>>*) const {
    return describe(key.whole, "a table of lists of two whole numbers by layer name, each");
  }
};

}  // namespace

bool RealRange::contains(double value) const {
  return std::isfinite(value) && (lo_open ? value > lo : value >= lo) &&
         (hi_open ? value < hi : value <= hi);
}

const std::vector<Key>& keys() {
  static const std::vector<Key> table = build();
  return table;
}

std::vector<std::string_view> sections() {
  std::vector<std::string_view> names;
  for (const Key& key : keys()) {
    if (names.empty() || names.back() != key.section) names.push_back(key.section);
  }
  return names;
}

std::vector<std::string_view> names_in(std::string_view section) {
  std::vector<std::string_view> names;
  for (const Key& key : keys()) {
    if (key.section == section) names.push_back(key.name);
  }
  return names;
}

const Key* find_key(std::string_view section, std::string_view name) {
  for (const Key& key : keys()) {
    if (key.section == section && key.name == name) return &key;
  }
  return nullptr;
}

std::string expected(const Key& key) {
  FitConfig any;
  return std::visit(Describe{key}, key.field(any));
}

}  // namespace cuthresh::config
