#pragma once

// What the tests of this folder share: a machine with one GPU, a room on it, a small network.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/array.hpp"
#include "cuda/cuda_backend.hpp"
#include "cuthresh/error.hpp"
#include "nn/network.hpp"
#include "simt/recording.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {

/// A room, and the recording of what it asks of CUDA from its construction on.
struct CudaRoom {
  simt::DeviceScope machine{1};
  std::unique_ptr<Backend> backend = cuda::make_cuda_backend(cuda::Precision::kFp32);
};

/// Tensors of these sizes, tensor i in group i % groups, or in none where groups is 0.
struct TensorLists {
  std::vector<Array<float>> w, g;
  std::vector<ProxTensor> list;

  TensorLists(Backend& backend, const std::vector<std::int64_t>& sizes, std::int32_t groups,
              Random& random) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const auto n = static_cast<std::size_t>(sizes[i]);
      w.emplace_back(backend, std::span<const float>(random.vector(n, -1.0f, 1.0f)));
      g.emplace_back(backend, std::span<const float>(random.vector(n, -1.0f, 1.0f)));
      const std::int32_t group = groups == 0 ? -1 : static_cast<std::int32_t>(i) % groups;
      list.push_back({w.back().data(), g.back().data(), sizes[i], group});
    }
  }
};

/// Forward, loss, backward, step: what a training does over and over.
class StepLoop {
 public:
  StepLoop(Backend& backend, std::int64_t rows, bool cross_entropy)
      : backend_(backend),
        rows_(rows),
        cross_entropy_(cross_entropy),
        network_(backend, nn::MlpSpec{{5, 12, 9, 3}, Activation::kSilu, 0.01f}, rows),
        sum_(backend, 1) {
    Random random(3);
    network_.parameters().initialise(nn::Initialisation::kPytorch, 1);
    const auto n = static_cast<std::size_t>(rows);
    x_ = Array<float>(backend, std::span<const float>(random.vector(n * 5, -1.0f, 1.0f)));
    y_ = Array<float>(backend, std::span<const float>(random.vector(n * 3, -1.0f, 1.0f)));
    std::vector<std::int32_t> labels(n);
    for (std::int32_t& label : labels) label = static_cast<std::int32_t>(random.integer(0, 2));
    labels_ = Array<std::int32_t>(backend, std::span<const std::int32_t>(labels));
    std::vector<ProxTensor> tensors;
    nn::Parameters& p = network_.parameters();
    for (std::size_t i = 0; i < p.list().size(); ++i) {
      const std::int32_t group =
          p.list()[i].role == nn::Role::kBias ? -1 : static_cast<std::int32_t>(i) / 2;
      tensors.push_back({p.value(i), p.gradient(i), p.list()[i].numel, group});
    }
    plan_ = backend.make_plan(tensors, 3);
    backend.set_rate(*plan_, {0.1f});
    const std::vector<float> lambda(3, 1e-3f);
    backend.set_lambda(*plan_, lambda);
    backend.set_stop(*plan_, {});
  }

  void step() { step(rows_); }
  void step(std::int64_t rows) {
    LossArgs args;
    args.rows = rows;
    args.columns = 3;
    args.prediction = network_.forward(x_.data(), rows);
    args.target = y_.data();
    args.label = labels_.data();
    args.gradient = network_.output_gradient();
    args.gradient_scale = 0.01f;
    args.sum = sum_.data();
    if (cross_entropy_) {
      backend_.softmax_cross_entropy(args);
    } else {
      backend_.mse(args);
    }
    network_.backward(x_.data(), rows, false);
    backend_.prox_step(*plan_);
  }

  ProxPlan& plan() { return *plan_; }
  nn::Network& network() { return network_; }

 private:
  Backend& backend_;
  std::int64_t rows_;
  bool cross_entropy_;
  nn::Network network_;
  Array<float> x_, y_;
  Array<std::int32_t> labels_;
  Array<LossSum> sum_;
  std::unique_ptr<ProxPlan> plan_;
};

/// The message of the InternalError that f throws; "no error" when it throws none.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const InternalError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace cuthresh::testing
