// A controlled run that is interrupted and gone on with.

#include "cuthresh/error.hpp"
#include "train/trainer.hpp"

namespace cuthresh::train {

TrainerState Trainer::save_state() {
  const std::uint64_t before = backend_.bytes_to_host();
  const auto read = [this](const float* from, std::int64_t elements) {
    std::vector<float> to(static_cast<std::size_t>(elements));
    if (elements > 0) backend_.download(to.data(), from, to.size() * sizeof(float));
    return to;
  };
  const nn::Parameters& parameters = network_.parameters();
  TrainerState state;
  state.values = read(parameters.values(), parameters.elements());
  state.momentum = read(momentum_.data(), momentum_.size());
  if (frozen_) state.chosen = read(parameters.best(), parameters.elements());
  state.control = backend_.read_control(*plan_);
  bytes_looked_at_ += backend_.bytes_to_host() - before;
  return state;
}

void Trainer::restore_state(const TrainerState& state) {
  nn::Parameters& parameters = network_.parameters();
  const auto upload = [this](float* to, const std::vector<float>& from, std::int64_t elements) {
    if (static_cast<std::int64_t>(from.size()) != elements) {
      throw InternalError({"Trainer::restore_state", "a state of another training",
                           std::to_string(from.size()), "report this as a defect of cuthresh"});
    }
    if (!from.empty()) backend_.upload(to, from.data(), from.size() * sizeof(float));
  };
  if (!state.chosen.empty()) {
    upload(parameters.values(), state.chosen, parameters.elements());
    freeze();
  }
  upload(parameters.values(), state.values, parameters.elements());
  upload(momentum_.data(), state.momentum, momentum_.size());
  backend_.restore_control(*plan_, state.control);
}

void Trainer::freeze() {
  network_.parameters().copy_as_best();
  backend_.freeze(*plan_);
  frozen_ = true;
}

}  // namespace cuthresh::train
