#include <utility>

#include "bench/peer/case.hpp"
#include "bench/peer/formula.hpp"
#include "core/array.hpp"

namespace cuthresh::peer {
namespace {

constexpr float kBracketLow = 1e-5f;
constexpr float kBracketHigh = 1e-4f;

/// Tensors by formula, one after the other, each a group of its own. Nothing changes from call to
/// call, so nothing is set back.
class ListCase : public Case {
 public:
  ListCase(Backend& backend, const std::vector<std::int64_t>& sizes) : backend_(backend) {
    std::vector<ProxTensor> list;
    std::uint32_t first = 0;
    for (const std::int64_t size : sizes) {
      tensors_.push_back({{backend, by_formula(weight_at, first, size)},
                          {backend, by_formula(gradient_at, first, size)}});
      list.push_back({tensors_.back().w.data(), tensors_.back().g.data(), size,
                      static_cast<std::int32_t>(list.size())});
      first += static_cast<std::uint32_t>(size);
    }
    plan_ = backend.make_plan(list, static_cast<std::int32_t>(list.size()));
    backend.set_lambda(*plan_, std::vector<float>(list.size(), kLambda));
  }

  Timing time() override {
    Stopwatch watch;
    while (!watch.enough()) {
      backend_.synchronize();
      watch.start();
      for (std::int64_t i = 0; i < watch.steps(); ++i) call(backend_, *plan_);
      watch.lap(watch.steps());
    }
    return watch.timing();
  }

  Outcome check() override { return call(backend_, *plan_); }

 protected:
  /// Reads its result, and so waits for it.
  virtual Outcome call(Backend& backend, ProxPlan& plan) = 0;

 private:
  struct Tensor {
    Array<float> w, g;
  };

  Backend& backend_;
  std::vector<Tensor> tensors_;
  std::unique_ptr<ProxPlan> plan_;
};

class MedianCase final : public ListCase {
 public:
  MedianCase(Backend& backend, const std::vector<std::int64_t>& sizes)
      : ListCase(backend, sizes), brackets_(sizes.size(), {kBracketLow, kBracketHigh}) {}

 private:
  Outcome call(Backend& backend, ProxPlan& plan) override {
    Outcome outcome;
    for (const MedianResult& result : backend.read_bracket_medians(plan, brackets_)) {
      const std::string number =
          brackets_.size() == 1 ? "" : "_" + std::to_string(outcome.size() / 2 + 1);
      outcome.push_back({"inside" + number, result.inside});
      outcome.push_back({"median" + number, static_cast<double>(result.median.value_or(0.0f))});
    }
    return outcome;
  }

  std::vector<std::pair<float, float>> brackets_;
};

class KthCase final : public ListCase {
 public:
  KthCase(Backend& backend, std::int64_t size) : ListCase(backend, {size}), k_(size / 10) {}

 private:
  Outcome call(Backend& backend, ProxPlan& plan) override {
    return {{"kth", static_cast<double>(backend.read_kth_gradient(plan, k_))}};
  }

  std::int64_t k_;
};

class CountCase final : public ListCase {
 public:
  CountCase(Backend& backend, std::int64_t size) : ListCase(backend, {size}) {}

 private:
  Outcome call(Backend& backend, ProxPlan& plan) override {
    return {{"nnz", backend.read_nonzeros(plan).front()}};
  }
};

class CertificateCase final : public ListCase {
 public:
  CertificateCase(Backend& backend, std::int64_t size) : ListCase(backend, {size}) {}

 private:
  Outcome call(Backend& backend, ProxPlan& plan) override {
    const KktResult result = backend.read_kkt(plan).front();
    return {{"nnz", result.nonzeros},
            {"on_nonzero", static_cast<double>(result.on_nonzero)},
            {"on_zero", static_cast<double>(result.on_zero)}};
  }
};

}  // namespace

std::unique_ptr<Case> make_median_case(Backend& backend, const std::vector<std::int64_t>& sizes) {
  return std::make_unique<MedianCase>(backend, sizes);
}

std::unique_ptr<Case> make_kth_case(Backend& backend, std::int64_t size) {
  return std::make_unique<KthCase>(backend, size);
}

std::unique_ptr<Case> make_count_case(Backend& backend, std::int64_t size) {
  return std::make_unique<CountCase>(backend, size);
}

std::unique_ptr<Case> make_certificate_case(Backend& backend, std::int64_t size) {
  return std::make_unique<CertificateCase>(backend, size);
}

}  // namespace cuthresh::peer
