#pragma once

// What the tests that need a GPU share: sizes, a training, and of bench/ the room's stream and CUDA
// graphs.

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/core/cuda_graph.hpp"
#include "core/array.hpp"
#include "nn/network.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {

/// CTH_GPU_SMALL is set for compute-sanitizer, which takes up to a thousandfold the time.
inline bool is_small() {
  return std::getenv("CTH_GPU_SMALL") != nullptr;
}
inline std::int64_t sized(std::int64_t full, std::int64_t small) {
  return is_small() ? small : full;
}

using bench::expect_success;
using bench::Graph;
using bench::stream_of;

/// A network with data, its loss and its step: what a training does over and over.
class StepLoop {
 public:
  StepLoop(Backend& room, std::uint32_t seed)
      : room_(room),
        rows_(sized(1000, 40)),
        network_(room, nn::MlpSpec{widths(), Activation::kRelu, 0.01f}, rows_),
        sum_(room, 1) {
    Random random(seed);
    network_.parameters().initialise(nn::Initialisation::kPytorch, seed);
    network_.parameters().restore_initial();
    const auto n = static_cast<std::size_t>(rows_);
    x_ = Array<float>(room, std::span<const float>(random.vector(n * 6, -1.0f, 1.0f)));
    y_ = Array<float>(room, std::span<const float>(random.vector(n, -1.0f, 1.0f)));
    std::vector<ProxTensor> tensors;
    nn::Parameters& p = network_.parameters();
    for (std::size_t i = 0; i < p.list().size(); ++i) {
      const std::int32_t group = p.list()[i].role == nn::Role::kBias ? -1 : groups_++;
      tensors.push_back({p.value(i), p.gradient(i), p.list()[i].numel, group});
    }
    plan_ = room.make_plan(tensors, groups_);
    set(1e-3f, 0.1f);
    room.set_stop(*plan_, {});
  }

  void set(float lambda, float alpha) {
    const std::vector<float> all(static_cast<std::size_t>(groups_), lambda);
    room_.set_lambda(*plan_, all);
    room_.set_rate(*plan_, {alpha});
  }
  void step() {
    LossArgs args;
    args.rows = rows_;
    args.columns = 1;
    args.prediction = network_.forward(x_.data(), rows_);
    args.target = y_.data();
    args.gradient = network_.output_gradient();
    args.gradient_scale = 2.0f / static_cast<float>(rows_);
    args.sum = sum_.data();
    room_.mse(args);
    network_.backward(x_.data(), rows_, false);
    room_.prox_step(*plan_);
  }

  ProxPlan& plan() { return *plan_; }
  const StepStatus& status() { return room_.read_status(*plan_); }
  std::int64_t groups() const { return groups_; }
  std::int64_t weights() const {
    std::int64_t sum = 0;
    for (const nn::Parameter& p : network_.parameters().list()) sum += p.numel;
    return sum;
  }
  double loss() { return sum_.to_host().front().loss; }
  /// Bits of all parameters.
  std::vector<std::uint32_t> parameters() {
    std::vector<std::uint32_t> all;
    nn::Parameters& p = network_.parameters();
    for (std::size_t i = 0; i < p.list().size(); ++i) {
      std::vector<float> values(static_cast<std::size_t>(p.list()[i].numel));
      room_.download(values.data(), p.value(i), values.size() * sizeof(float));
      for (const float v : values) all.push_back(std::bit_cast<std::uint32_t>(v));
    }
    return all;
  }

 private:
  static std::vector<std::int64_t> widths() {
    if (is_small()) return {6, 12, 9, 1};
    return {6, 128, 128, 64, 1};
  }

  Backend& room_;
  std::int64_t rows_;
  nn::Network network_;
  Array<float> x_, y_;
  Array<LossSum> sum_;
  std::int32_t groups_ = 0;
  std::unique_ptr<ProxPlan> plan_;
};

}  // namespace cuthresh::testing
