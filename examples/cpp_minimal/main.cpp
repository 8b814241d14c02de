// A proximal gradient step with its count, then a training of a sparse linear model that ends with
// exactly the number of weights that was asked for. Exit status 0: both did what they promise.

#include <algorithm>
#include <cstdio>
#include <cuthresh/cuthresh.hpp>
#include <random>
#include <vector>

namespace {

constexpr std::size_t kRows = 200;
constexpr std::size_t kWeights = 50;
constexpr std::size_t kTrueWeights = 8;
constexpr int kSteps = 1000;

/// w − αg = {0.5, −0.25, 0.05, −0.1}, shrunk by αλ = 0.1: two of four are left.
std::uint64_t one_step(const cth::Context& context) {
  std::vector<float> w = {0.75f, -0.25f, 0.0f, -0.1f};
  const std::vector<float> g = {2.5f, 0.0f, -0.5f, 0.0f};
  cth::Plan plan(context, {cth::plan_tensor(cth::cpu(w), cth::cpu(g), 0)});
  plan.set_rates({{0.1f, 0.0f, 0.0f}});
  plan.set_lambda({1.0f});
  plan.step();
  std::printf("one step: %g %g %g %g\n", w[0], w[1], w[2], w[3]);
  return plan.counts()[0];
}

/// y = Xv + noise, where kTrueWeights entries of v are ±1 and the others zero.
struct Problem {
  Problem() : x(kRows * kWeights), y(kRows), w(kWeights), g(kWeights) {
    std::mt19937 random(7);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    for (float& value : x) value = uniform(random);
    for (float& value : w) value = 0.14f * uniform(random);
    for (std::size_t r = 0; r < kRows; ++r) {
      y[r] = 0.01f * uniform(random);
      for (std::size_t i = 0; i < kTrueWeights; ++i) {
        y[r] += (i % 2 == 0 ? 1.0f : -1.0f) * x[r * kWeights + 6 * i];
      }
    }
  }

  /// g = Xᵀ(Xw − y)/rows; the mean squared residual.
  double gradient() {
    double loss = 0.0;
    std::fill(g.begin(), g.end(), 0.0f);
    for (std::size_t r = 0; r < kRows; ++r) {
      const float* row = x.data() + r * kWeights;
      float residual = -y[r];
      for (std::size_t i = 0; i < kWeights; ++i) residual += row[i] * w[i];
      for (std::size_t i = 0; i < kWeights; ++i) g[i] += residual * row[i] / kRows;
      loss += static_cast<double>(residual) * residual / kRows;
    }
    return loss;
  }

  std::vector<float> x, y, w, g;
};

cth_target_report least_squares(const cth::Context& context, Problem& problem) {
  cth::Plan plan(context, {cth::plan_tensor(cth::cpu(problem.w), cth::cpu(problem.g), 0)});
  plan.set_rates({{0.5f, 0.0f, 0.0f}});
  cth::Controller controller(plan, {cth::target_nonzeros(kTrueWeights)},
                             cth::controller_options(kSteps));
  for (int step = 0; step < kSteps; ++step) {
    problem.gradient();
    plan.step();
    controller.update();
  }
  return controller.read()[0];
}

}  // namespace

int main() try {
  const cth::Context context = cth::Context::cpu();
  const std::uint64_t nonzeros = one_step(context);
  Problem problem;
  const cth_target_report report = least_squares(context, problem);
  const double loss = problem.gradient();
  const auto zeros = std::count(problem.w.begin(), problem.w.end(), 0.0f);
  const std::size_t left = kWeights - static_cast<std::size_t>(zeros);
  std::printf("least squares: %zu of %zu weights, mean squared residual %.2g\n", left, kWeights,
              loss);
  if (nonzeros == 2 && left == kTrueWeights && report.met == 1 && loss < 1e-3) return 0;
  std::fprintf(stderr, "expected 2 nonzeros after one step and 8 after the training\n");
  return 1;
} catch (const cth::Error& error) {
  std::fprintf(stderr, "%s: %s\n", cth_status_name(error.status()), error.what());
  return 1;
}
