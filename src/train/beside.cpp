#include "train/beside.hpp"

#include <utility>

#include "cuthresh/error.hpp"

namespace cuthresh::train {
namespace {

ChosenBackend same_room(const BackendOptions& options, const Backend& first) {
  ChosenBackend chosen = make_backend(options);
  if (chosen.backend->description() == first.description()) return chosen;
  throw InternalError(
      {"search.parallel",
       "a training beside the first one got another room than " + first.description(), chosen.why,
       "set run.device, or let fewer train at the same time"});
}

}  // namespace

Beside::Beside(const BackendOptions& options, const Backend& first,
               const nn::Network& network_of_run, const DataSplit& data,
               const TrainerSettings& settings, std::span<const std::int32_t> groups, Trainer& twin)
    : chosen(same_room(options, first)),
      network(*chosen.backend, network_of_run.graph(), network_of_run.max_rows()),
      trainer(*chosen.backend, network, data, settings, groups, &twin) {}

}  // namespace cuthresh::train
