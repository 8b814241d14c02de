#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cuthresh/export.hpp"

namespace cuthresh {

/// [data]: what is learnt from.
struct DataConfig {
  std::string kind = "mackey-glass";  ///< "mackey-glass" | "libsvm" | "csv" | "idx" | "cifar10"
  std::string path;       ///< file for "libsvm" and "csv", folder for "idx" and "cifar10"; relative
                          ///< to the configuration file
  std::string test_path;  ///< a second file that is the test set; then no split is made
  std::vector<std::string> target_columns;  ///< "csv": columns to learn; empty: the last
  std::int64_t train_rows = 0;              ///< > 0: so many rows train, the others test; images:
                                            ///< only the first so many of the training part
  double train_fraction = 0.0;              ///< in (0, 1]: this share trains; 0: not given
  bool shuffle = false;                     ///< draw the rows of the split by run.seed
  std::string train_images;  ///< "idx": a file in place of the folder's; and three more
  std::string train_labels;
  std::string test_images;
  std::string test_labels;
  std::int64_t test_rows = 0;    ///< images: > 0: only the first so many of the test part
  std::vector<double> mean;      ///< images: of a channel, or one for all; empty: the kind's
  std::vector<double> std;       ///< the same: inputs are (pixel/255 − mean)/std
  std::int64_t random_crop = 0;  ///< images: pixels that a training image is moved by, at most
  bool random_flip = false;      ///< images: every second training image is mirrored, at random

  bool has_images() const { return kind == "idx" || kind == "cifar10"; }
};

/// [model]: the network.
struct ModelConfig {
  std::string kind = "mlp";          ///< mlp | layers | cnn-paper | lenet5 | resnet20
  std::vector<std::int64_t> widths;  ///< "mlp": inputs, hidden widths, outputs; two or more, ≥ 1
  std::vector<std::string> layers;   ///< "layers": a line a layer, "conv 32 3x3 pad 1 relu"
  std::int64_t classes = 0;          ///< outputs of the models known by name; 0: as many as labels
  std::string activation = "relu";   ///< identity | relu | leaky-relu | tanh | sigmoid | gelu |
                                     ///< silu; "layers" name theirs
  double leaky_slope = 0.01;         ///< slope of leaky-relu below zero, in [0, 1)
  std::string init = "pytorch";      ///< pytorch | he | glorot
};

/// What a number of steps between two samples holds for "never".
inline constexpr std::int64_t kNever = -1;

/// [train]: one training (Algorithm 3).
struct TrainConfig {
  std::string loss = "mse";           ///< mse | cross-entropy
  double learning_rate = 0.1;         ///< α > 0
  double momentum = 0.0;              ///< μ in [0, 1); 0: none
  bool nesterov = false;              ///< Nesterov's form of the momentum
  std::string schedule = "constant";  ///< of α: constant | step | cosine
  std::int64_t warmup = 0;            ///< steps from 0 up to α, before the schedule begins
  std::int64_t decay_every = 0;       ///< "step": steps after which α is multiplied, ≥ 1
  double decay_factor = 0.1;          ///< "step": by this, in (0, 1]
  double final_learning_rate = 0.0;   ///< "cosine": where α ends
  /// Steps a round, or passes over the training rows: exactly one of the two; 0: not given.
  std::int64_t steps = 0;
  std::int64_t epochs = 0;
  std::int64_t batch = 0;       ///< 0: full batch ("full"); else rows a step, ≥ 1
  std::int64_t eval_every = 0;  ///< steps between samples in history.csv; 0: steps/50; kNever
  std::int64_t test_every = 0;  ///< steps between test losses in history.csv; 0: rounds' ends only
};

/// [sparsity]: what is prescribed. Exactly one of target_nnz, target_sparsity and layers, except
/// with search.method = "fixed", where none is needed.
struct SparsityConfig {
  std::optional<std::int64_t> target_nnz;  ///< nonzero weights in all, ≥ 0
  std::optional<double> target_sparsity;  ///< share of zeros among the penalised weights, in [0, 1]
  /// Nonzero weights by layer name ("fc1"), Algorithm 2; layers that are named together ("fc2,
  /// fc3") share a target and a λ.
  std::map<std::string, std::int64_t> layers;
  /// "one-run": the fewest and the most nonzero weights of a layer that shares its target.
  std::map<std::string, std::vector<std::int64_t>> bounds;
  /// How one target is divided among layers, each with its own λ then: none | uniform | erdos-renyi
  std::string allocation = "none";
  double tolerance = 0.001;          ///< ρ in [0, 1): met when |nnz − target| ≤ ρ·target
  std::int64_t layers_required = 0;  ///< Algorithm 2: layers that must meet theirs; 0: all
  std::vector<std::string> penalise = {
      "*.weight"};  ///< name patterns (* and ?) of penalised parameters; those of batch
                    ///< normalisation only by a pattern that begins with "bn"
};

/// [search]: how λ is found: during one training, or by Algorithms 1 and 2.
struct SearchConfig {
  std::string method = "one-run";  ///< one-run | gradient-median | log-midpoint |
                                   ///< interpolate | fixed
  std::string stop = "first-hit";  ///< first-hit | converged
  std::vector<double> lambda;      ///< two numbers: the bracket; one: λ of "fixed", or
                                   ///< where that of "one-run" begins; none: automatic
  std::int64_t max_rounds = 100;   ///< budget of rounds, ≥ 1
  /// Trainings of a round, each at a λ of its own in the bracket, at the same time: 1 to 64; more
  /// than 1 for searches by rounds with one target in all.
  std::int64_t parallel = 1;
  /// A round begins with the weights of the latest round that ended with more nonzeros than wanted.
  bool warm_start = false;
  std::int64_t first_hit_after =
      0;  ///< "first-hit": steps of a round in which a crossing does not count
  /// "one-run": from which to which share of the steps the number of nonzeros is brought down.
  std::vector<double> ramp = {0.05, 0.6};
  double finish = 0.02;  ///< "one-run": share of the steps that keep exactly the target
  double debias = 0.2;   ///< "one-run": share of the last steps, which train the survivors alone
  /// "one-run": what log λ gains over all steps, a unit of error (log nnz − log wanted) that stays.
  double integral_gain = 30.0;
  double proportional_gain = 1.0;  ///< "one-run": what log λ has more, a unit of error there is
  bool compare_dense = false;  ///< train once more, with λ 0 and the same budget, and report it

  /// Rounds at most: one where no λ is searched by training anew.
  std::int64_t rounds() const { return method == "fixed" || method == "one-run" ? 1 : max_rounds; }
};

/// [run]: the run itself.
struct RunConfig {
  std::uint64_t seed = 123;
  std::string out = "runs/cuthresh";  ///< run folder; relative to the working directory
  std::string device = "auto";        ///< auto | cpu | cuda
  std::string engine = "auto";        ///< CPU matrix products: auto | onednn | tiled | reference
  std::string precision = "fp32";     ///< CUDA matrix products: fp32 | tf32
  std::string execution = "auto";     ///< how steps reach the device: auto | plain | graph | fused
  std::int64_t threads = 0;           ///< 0 to 1024; 0: one a core
  std::string init;  ///< safetensors file with the initial weights; empty: from the seed
  double checkpoint_minutes = 10.0;  ///< "one-run": between two checkpoints; 0: none
  bool resume = true;  ///< "one-run": go on from a checkpoint that an interrupted run left
  bool force = false;  ///< replace an existing run folder
};

struct FitConfig {
  DataConfig data;
  ModelConfig model;
  TrainConfig train;
  SparsityConfig sparsity;
  SearchConfig search;
  RunConfig run;
};

/// Reads a TOML configuration and applies `overrides` ("section.key=value", the value in TOML
/// syntax; a bare word is taken as a string). Relative paths in [data] and run.init are resolved
/// against the file's folder unless they come from an override. Every value is checked against its
/// type and range; an unknown key is an error that names the nearest known one. Throws InputError.
CTH_API FitConfig load_config(const std::string& path,
                              const std::vector<std::string>& overrides = {});

/// The same from text; `name` stands for the file in messages and `folder` for its place.
CTH_API FitConfig parse_config(const std::string& text, const std::string& name,
                               const std::string& folder,
                               const std::vector<std::string>& overrides = {});

/// The configuration with every key written out; parse_config reads it back to the same values.
CTH_API std::string to_toml(const FitConfig& config);

/// Checks ranges and what must agree between keys; called by load_config and by fit. Throws
/// InputError.
CTH_API void validate(const FitConfig& config);

}  // namespace cuthresh
