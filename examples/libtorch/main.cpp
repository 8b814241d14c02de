// A libtorch training loop whose optimizer is cuthresh's step: after one training exactly a tenth
// of the weights is left. Exit status 0: it is so, and the network has learnt.

#include <torch/torch.h>

#include <cstdio>
#include <cuthresh/cuthresh.hpp>
#include <exception>
#include <vector>

namespace {

constexpr std::int64_t kSteps = 2000;
constexpr std::int64_t kBatch = 100;
constexpr double kSparsity = 0.9;

struct Mlp : torch::nn::Module {
  Mlp() {
    first = register_module("first", torch::nn::Linear(10, 64));
    second = register_module("second", torch::nn::Linear(64, 64));
    third = register_module("third", torch::nn::Linear(64, 1));
  }
  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(first->forward(x));
    x = torch::relu(second->forward(x));
    return third->forward(x);
  }
  torch::nn::Linear first{nullptr}, second{nullptr}, third{nullptr};
};

struct Data {
  explicit Data(std::int64_t rows)
      : x(2.0f * torch::rand({rows, 10}) - 1.0f),
        y(torch::sin(3.0f * x.select(1, 0)) + x.select(1, 1) * x.select(1, 2)) {
    y = y.unsqueeze(1);
  }
  torch::Tensor x, y;
};

cth_tensor view(const torch::Tensor& tensor) {
  TORCH_CHECK(tensor.is_contiguous() && tensor.device().is_cpu(), "contiguous, on the CPU");
  return cth::cpu(tensor.data_ptr<float>(), tensor.numel());
}

/// The step over all parameters of a module, SGD with momentum: weights in one group a layer,
/// biases not penalised.
class SparseSgd {
 public:
  SparseSgd(const torch::nn::Module& module, const cth::Context& context)
      : parameters_(module.parameters()), plan_(make_plan(context)) {
    plan_.set_rates({{0.05f, 0.9f, 0.0f}});
  }

  void step() {
    gradients_.clear();
    for (const torch::Tensor& parameter : parameters_) {
      gradients_.push_back(parameter.grad().data_ptr<float>());
    }
    plan_.set_gradients(gradients_);  // they may lie elsewhere than in the step before
    plan_.step();
  }
  const cth::Plan& plan() const { return plan_; }

 private:
  cth::Plan make_plan(const cth::Context& context) {
    std::vector<cth_plan_tensor> list;
    std::int32_t groups = 0;
    for (const torch::Tensor& parameter : parameters_) {
      momenta_.push_back(torch::zeros_like(parameter));
      const std::int32_t group = parameter.dim() > 1 ? groups++ : -1;
      list.push_back(cth::plan_tensor(view(parameter), {}, group, view(momenta_.back())));
    }
    cth_plan_options options = CTH_PLAN_OPTIONS_INIT;
    options.kind = CTH_STEP_MOMENTUM;
    return {context, list, options};
  }

  std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> momenta_;
  std::vector<const void*> gradients_;
  cth::Plan plan_;
};

double loss_of(Mlp& network, const Data& data) {
  const torch::NoGradGuard no_gradients;
  return torch::mse_loss(network.forward(data.x), data.y).item<double>();
}

int run() {
  torch::manual_seed(1);
  const Data training(2000);
  const Data test(1000);
  Mlp network;
  const cth::Context context = cth::Context::cpu(torch::get_num_threads());
  SparseSgd optimizer(network, context);
  cth::Controller controller(optimizer.plan(), {cth::target_sparsity(kSparsity)},
                             cth::controller_options(kSteps));
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const torch::Tensor rows = torch::randint(training.x.size(0), {kBatch}, torch::kInt64);
    network.zero_grad();
    torch::mse_loss(network.forward(training.x.index_select(0, rows)),
                    training.y.index_select(0, rows))
        .backward();
    optimizer.step();
    controller.update();
  }

  std::int64_t weights = 0;
  std::int64_t left = 0;
  for (const torch::Tensor& parameter : network.parameters()) {
    if (parameter.dim() < 2) continue;
    weights += parameter.numel();
    left += parameter.count_nonzero().item<std::int64_t>();
  }
  const double loss = loss_of(network, test);
  const double variance = test.y.var().item<double>();
  std::printf("%lld of %lld weights, test loss %.3g; variance of what is learnt %.3g\n",
              static_cast<long long>(left), static_cast<long long>(weights), loss, variance);
  const cth_target_report report = controller.read()[0];
  const bool exact = left == static_cast<std::int64_t>(report.target) && report.met == 1 &&
                     10 * report.target == static_cast<std::uint64_t>(weights);
  return exact && loss < 0.1 * variance ? 0 : 1;
}

}  // namespace

int main() try { return run(); } catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
