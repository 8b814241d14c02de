#include "bench/peer/case.hpp"

#include <algorithm>

#include "cuthresh/error.hpp"

namespace cuthresh::peer {

void Stopwatch::lap(std::int64_t steps) {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin_;
  const double a_step = elapsed.count() / static_cast<double>(steps);
  if (warm_) {
    seconds_ += elapsed.count();
    ms_.push_back(a_step * 1e3);
  } else {
    warm_ = true;
    steps_ = std::max<std::int64_t>(1, static_cast<std::int64_t>(1e-3 / a_step));
  }
}

Timing Stopwatch::timing() const {
  std::vector<double> sorted = ms_;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  return {sorted.front(), (sorted[(n - 1) / 2] + sorted[n / 2]) / 2, n};
}

const std::vector<float>& values_of(const ModelFile& state, const std::string& name,
                                    const std::vector<std::int64_t>& shape) {
  for (const NamedTensor& tensor : state.tensors) {
    if (tensor.name == name && tensor.shape == shape) return tensor.values;
  }
  std::string text;
  for (const std::int64_t extent : shape)
    text += (text.empty() ? "" : ", ") + std::to_string(extent);
  throw InputError({"state file", "has no tensor '" + name + "' of shape [" + text + "]", "",
                    "let tools/peers/compare.py write it"});
}

std::vector<std::int32_t> set_initial(Backend& backend, nn::Parameters& parameters,
                                      const ModelFile& state, const std::string& prefix) {
  std::vector<std::int32_t> groups;
  std::int32_t weights = 0;
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const nn::Parameter& p = parameters.list()[i];
    const std::vector<float>& values = values_of(state, prefix + p.name, p.shape);
    backend.upload(parameters.value(i), values.data(), values.size() * sizeof(float));
    groups.push_back(p.role == nn::Role::kWeight ? weights++ : -1);
  }
  parameters.initialise_here();
  return groups;
}

void require_all_steps(const StepStatus& status, std::int64_t steps) {
  if (status.steps == steps && !status.stopped) return;
  throw InternalError(
      {"steps", "ended early, with " + std::to_string(status.nonfinite) + " non-finite values",
       std::to_string(status.steps) + " of " + std::to_string(steps),
       "check the values in the state file"});
}

}  // namespace cuthresh::peer
