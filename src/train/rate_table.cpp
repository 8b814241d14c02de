#include "train/rate_table.hpp"

#include <algorithm>
#include <cstddef>

namespace cuthresh::train {

RateTable::RateTable(Backend& backend, const Schedule& schedule)
    : backend_(backend),
      schedule_(schedule),
      rates_(static_cast<std::size_t>(kWindow), 0.0f),
      table_(backend, kWindow) {}

void RateTable::prepare(std::int64_t step, std::int64_t steps) {
  const std::int64_t window = step / kWindow;
  if (window == window_ && steps == steps_) return;
  window_ = window;
  steps_ = steps;
  const std::int64_t first = window * kWindow;
  const std::int64_t count = std::min(kWindow, steps - first);
  for (std::int64_t i = 0; i < count; ++i) {
    rates_[static_cast<std::size_t>(i)] = static_cast<float>(schedule_.at(first + i, steps));
  }
  backend_.upload(table_.data(), rates_.data(), static_cast<std::size_t>(count) * sizeof(float));
}

}  // namespace cuthresh::train
