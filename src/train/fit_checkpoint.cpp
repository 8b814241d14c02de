// Leaving a checkpoint of the one training, and going on from one.

#include <filesystem>
#include <system_error>

#include "cuthresh/error.hpp"
#include "train/fit_run.hpp"

namespace cuthresh::train {

std::optional<Checkpoint> Fit::find_checkpoint() const {
  const std::string path = checkpoint_path(config_);
  std::error_code ignored;
  if (!config_.run.resume || !std::filesystem::exists(path, ignored)) return std::nullopt;
  return read_checkpoint(path);
}

std::vector<std::string> Fit::check_resumed(std::int64_t finish_at) const {
  return check_checkpoint(checkpoint_path(config_), *resumed_, config_,
                          trained_on(network_.parameters().list(), data_), finish_at);
}

const TrainerState* Fit::begin_from_checkpoint(const ControlledRun& run) {
  if (!resumed_) return nullptr;
  const std::string path = checkpoint_path(config_);
  const std::vector<std::string> notes = check_resumed(run.schedule.finish_at);
  const TrainerState& state = resumed_->state;
  if (state.control.log_integral.size() != run.targets.size()) {
    throw InternalError({"Fit::begin_from_checkpoint", "a state of another number of targets",
                         std::to_string(run.targets.size()), "remove " + path});
  }
  history_.take_over(resumed_->history);
  start_ -=
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(resumed_->seconds));
  before_debias_ = resumed_->before_debias;
  observer_.note("going on after step " + std::to_string(state.control.steps) + " of " +
                 std::to_string(run.schedule.steps) + ", where " + path + " was left");
  for (const std::string& note : notes) observer_.note(note);
  return &state;
}

bool Fit::leaves_checkpoints() const {
  return one_run() && config_.run.checkpoint_minutes > 0.0;
}

bool Fit::save_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.state = trainer_.save_state();
  checkpoint.on = trained_on(network_.parameters().list(), data_);
  checkpoint.config = to_toml(config_);
  checkpoint.history = history_.text();
  checkpoint.seconds = seconds_since(start_);
  checkpoint.bytes_to_host = bytes_to_host();
  checkpoint.bytes_to_host_search = bytes_to_host_search();
  checkpoint.before_debias = before_debias_;
  try {
    write_checkpoint(checkpoint_path(config_), checkpoint);
    return true;
  } catch (const InputError& error) {
    observer_.note(std::string("no checkpoint is left: ") + error.what());
    return false;
  }
}

void Fit::interrupted(const StepStatus& status, std::int64_t steps) {
  const bool can_go_on = status.steps > 0 && status.steps < steps && !status.stopped;
  if (!leaves_checkpoints() || !can_go_on || !save_checkpoint()) return;
  observer_.note("interrupted after step " + std::to_string(status.steps) + " of " +
                 std::to_string(steps) + ": the same command goes on there (" +
                 checkpoint_path(config_) + ")");
}

void Fit::remove_checkpoint() {
  std::error_code error;
  std::filesystem::remove(checkpoint_path(config_), error);
  if (error) observer_.note("cannot remove " + checkpoint_path(config_) + ": " + error.message());
}

std::uint64_t Fit::bytes_to_host() const {
  std::uint64_t bytes = backend_.bytes_to_host() + (resumed_ ? resumed_->bytes_to_host : 0);
  for (const auto& room : beside_) bytes += room->chosen.backend->bytes_to_host();
  return bytes;
}

std::uint64_t Fit::bytes_to_host_search() const {
  std::uint64_t bytes = backend_.bytes_to_host() - trainer_.bytes_looked_at() +
                        (resumed_ ? resumed_->bytes_to_host_search : 0);
  for (const auto& room : beside_)
    bytes += room->chosen.backend->bytes_to_host() - room->trainer.bytes_looked_at();
  return bytes;
}

}  // namespace cuthresh::train
