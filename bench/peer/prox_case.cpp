#include <algorithm>
#include <cmath>
#include <utility>

#include "bench/peer/case.hpp"
#include "core/array.hpp"

namespace cuthresh::peer {
namespace {

struct HostTensor {
  std::vector<float> w;
  std::vector<float> g;
};

/// The gradients never change and so push a weight the same way at each step. The weights are
/// therefore set back before each sample, outside the timing: a sample of 1 ms moves them by a few
/// hundred times 2e-5 from up to 0.09 and more, so nearly all stay nonzero, and none gets near the
/// denormals (the shrink leaves zero or an ulp of 1e-5).
class ProxCase final : public Case {
 public:
  ProxCase(Backend& backend, const std::vector<HostTensor>& host) : backend_(backend) {
    std::vector<ProxTensor> list;
    for (const HostTensor& h : host) {
      tensors_.push_back({{backend, h.w}, {backend, h.w}, {backend, h.g}});
      Tensor& t = tensors_.back();
      list.push_back({t.w.data(), t.g.data(), t.w.size(), static_cast<std::int32_t>(list.size())});
    }
    plan_ = backend.make_plan(list, static_cast<std::int32_t>(list.size()));
    backend.set_lambda(*plan_, std::vector<float>(list.size(), kLambda));
    backend.set_rate(*plan_, {kLearningRate});
  }

  Timing time() override {
    Stopwatch watch;
    while (!watch.enough()) {
      reset();
      watch.start();
      steps(watch.steps());
      watch.lap(watch.steps());
      require_all_steps(backend_.read_status(*plan_), steps_);
    }
    return watch.timing();
  }

  Outcome check() override {
    reset();
    steps(kCheckSteps);
    require_all_steps(backend_.read_status(*plan_), steps_);
    double sum = 0.0;
    std::int64_t size = 0;
    for (const Tensor& t : tensors_) {
      for (const float w : t.w.to_host()) sum += std::abs(static_cast<double>(w));
      size += t.w.size();
    }
    return {{"nnz", backend_.read_status(*plan_).total}, {"loss", sum / static_cast<double>(size)}};
  }

 private:
  struct Tensor {
    Array<float> w, initial, g;
  };

  void reset() {
    for (Tensor& t : tensors_) t.w.copy_from(t.initial);
    backend_.set_stop(*plan_, never());
    backend_.synchronize();
    steps_ = 0;
  }

  /// Each with its counts read.
  void steps(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      backend_.prox_step(*plan_);
      backend_.read_status(*plan_);
    }
    steps_ += count;
  }

  Backend& backend_;
  std::vector<Tensor> tensors_;
  std::unique_ptr<ProxPlan> plan_;
  std::int64_t steps_ = 0;  // since reset()
};

std::vector<HostTensor> read_weights(const ModelFile& state) {
  std::vector<HostTensor> list;
  for (std::size_t i = 1; i < kWidths.size(); ++i) {
    const std::string name = "fc" + std::to_string(i) + ".weight";
    const std::vector<std::int64_t> shape = {kWidths[i], kWidths[i - 1]};
    list.push_back({values_of(state, name, shape), values_of(state, "g." + name, shape)});
  }
  return list;
}

}  // namespace

std::unique_ptr<Case> make_small_prox_case(Backend& backend, const ModelFile& state) {
  return std::make_unique<ProxCase>(backend, read_weights(state));
}

std::unique_ptr<Case> make_large_prox_case(Backend& backend, const ModelFile& state) {
  constexpr std::size_t kLarge = 25'000'000;
  const std::vector<HostTensor> small = read_weights(state);
  HostTensor large;
  const auto append = [](std::vector<float>& to, const std::vector<float>& from) {
    const std::size_t count = std::min(from.size(), kLarge - to.size());
    to.insert(to.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(count));
  };
  large.w.reserve(kLarge);
  large.g.reserve(kLarge);
  while (large.w.size() < kLarge) {
    for (const HostTensor& part : small) {
      append(large.w, part.w);
      append(large.g, part.g);
    }
  }
  return std::make_unique<ProxCase>(backend, std::vector<HostTensor>{std::move(large)});
}

}  // namespace cuthresh::peer
