#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/array.hpp"

namespace cuthresh::nn {

/// How initial values are drawn; all uniform on [−bound, bound).
enum class Initialisation : std::uint8_t {
  kPytorch,  ///< bound = 1/√fan_in for weights and biases (torch.nn.Linear's default)
  kHe,       ///< weights √(6/fan_in), biases 0
  kGlorot    ///< weights √(6/(fan_in + fan_out)), biases 0
};

enum class Role : std::uint8_t {
  kWeight,
  kBias,
  kNormScale,
  kNormShift,
  kRunningMean,     ///< not trained: moved by batch normalisation
  kRunningVariance  ///< likewise
};

struct Parameter {
  std::string name;                 ///< "fc1.weight"
  std::string layer;                ///< "fc1"
  std::vector<std::int64_t> shape;  ///< PyTorch's: [out, in] or [out]
  std::int64_t numel = 0;
  std::int64_t fan_in = 1;
  std::int64_t fan_out = 1;
  Role role = Role::kWeight;
  std::int64_t offset = 0;  ///< elements from the start of the arena, a multiple of 16

  bool trained() const { return role != Role::kRunningMean && role != Role::kRunningVariance; }
};

/// All parameters of a network, running statistics among them, in one device allocation, and their
/// gradients in a second of the same layout. Further ones hold what has to be there again later,
/// and are made when it would else be lost: the initial values where they were not drawn, those
/// that a training starts at where these are others, the best where a training follows.
class Parameters {
 public:
  /// Assigns offsets; allocates. Values are zero.
  Parameters(Backend& backend, std::vector<Parameter> list);

  const std::vector<Parameter>& list() const { return list_; }
  /// Of the arena, the gaps between tensors included.
  std::int64_t elements() const { return values_.size(); }
  /// The arena of the values.
  float* values() { return values_.data(); }
  const float* values() const { return values_.data(); }
  float* value(std::size_t i) { return values_.data() + list_[i].offset; }
  float* gradient(std::size_t i) { return gradients_.data() + list_[i].offset; }

  /// Initial values: of weights and biases from the seed, element e of parameter i is word e%4 of
  /// Philox block e/4, stream i; scales and variances 1, shifts and means 0. They are the values
  /// now, and the best.
  void initialise(Initialisation scheme, std::uint64_t seed);
  /// Or the values that there are.
  void initialise_here();
  /// Drawn anew, or copied.
  void restore_initial();

  /// Where trainings start: at the initial values, or at those that were there when
  /// start_from_here() was called last.
  void start_from_here();
  /// Or at these, elements() of them.
  void start_from(std::span<const float> values);
  void start_from_initial() { start_ = Array<float>(); }
  void restore_start();

  /// The values that there are, which are not copied before another restore overwrites them: a
  /// training begins with one.
  void keep_as_best();
  /// The same, copied: a training goes on from here.
  void copy_as_best();
  void restore_best();
  /// That copy.
  const float* best() const { return best_.data(); }

  /// Before the values are all that is needed: the memory of the rest is given back.
  void release_all_but_values();

 private:
  struct Draw {
    Initialisation scheme;
    std::uint64_t seed;
  };
  enum class Where : std::uint8_t { kInitial, kHere, kCopied };
  void draw();

  Backend& backend_;
  std::vector<Parameter> list_;
  Array<float> values_, gradients_;
  std::optional<Draw> drawn_;  // how the initial values are
  Array<float> initial_;       // or they are these, or zero
  Array<float> start_;         // empty: the initial values
  Where best_is_ = Where::kInitial;
  Array<float> best_;
};

/// "*" stands for any characters, "?" for one.
bool matches_pattern(const std::string& name, const std::string& pattern);

}  // namespace cuthresh::nn
