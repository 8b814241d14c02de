// What a step reads of its own number: rows, moves of images, what is dropped, learning rate,
// updates of λ; against the definitions.

#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/block/control.cuh"
#include "kernels/block/dropout.cuh"
#include "kernels/block/follow_rates.cuh"
#include "kernels/block/gather.cuh"
#include "kernels/block/gather_images.cuh"
#include "mutants/harness.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kStepThreads = 64;
constexpr std::int64_t kRowsAStep = 3;
constexpr std::int64_t kStepsAnEpoch = 2;

/// The order of an epoch: rows backwards; behind it row 0, where no step looks.
std::vector<std::int64_t> epoch_order() {
  std::vector<std::int64_t> order(kRowsAStep * kStepsAnEpoch);
  std::iota(order.rbegin(), order.rend(), std::int64_t{0});
  order.resize(100, 0);
  return order;
}

void check_rows(std::uint32_t grid, std::uint64_t taken) {
  const std::vector<std::int64_t> order = epoch_order();
  std::vector<std::int32_t> from(order.size());
  std::iota(from.begin(), from.end(), 100);
  std::vector<std::int32_t> to(kRowsAStep, -1);
  const RowsOfStep of_step{{&taken, 0}, kRowsAStep, kStepsAnEpoch};
  simt::launch(grid, kStepThreads, gather_rows_kernel<kStepThreads>, to.data(), from.data(),
               order.data(), kRowsAStep, sizeof from[0], of_step);
  const auto first = static_cast<std::int32_t>(taken) % 2 * 3;
  for (std::int32_t i = 0; i < 3; ++i) {
    require(to[static_cast<std::size_t>(i)] == 105 - first - i, "row " + std::to_string(i));
  }
}

void check_moves(std::uint32_t grid, std::uint64_t taken) {
  constexpr std::int32_t kSide = 5;
  const std::vector<std::int64_t> order = epoch_order();
  std::vector<std::uint8_t> from(order.size() * kSide * kSide);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint8_t>(i + 1);
  std::vector<float> to(kRowsAStep * kSide * kSide, -1.0f);
  const float scale = 1.0f;
  const float shift = 0.0f;
  const ImageGather images{.to = to.data(),
                           .from = from.data(),
                           .index = order.data(),
                           .scale = &scale,
                           .shift = &shift,
                           .rows = kRowsAStep,
                           .height = kSide,
                           .width = kSide,
                           .channels = 1,
                           .crop = 2,
                           .seed = 77,
                           .of_step = {{&taken, 0}, kRowsAStep, kStepsAnEpoch},
                           .flip = true};
  simt::launch(grid, kStepThreads, gather_images_kernel<kStepThreads>, images);
  for (std::int32_t r = 0; r < kRowsAStep; ++r) {
    const ImageMove move =
        ImageMove::draw(77, static_cast<std::uint32_t>(taken), r, kSide, 2, true);
    const auto row = static_cast<std::int32_t>(taken) % 2 * 3 + r;
    const std::uint8_t* image = from.data() + order[static_cast<std::size_t>(row)] * kSide * kSide;
    for (std::int32_t i = 0; i < kSide * kSide; ++i) {
      const std::int32_t y = move.row(i / kSide);
      const std::int32_t x = move.column(i % kSide);
      const bool inside = y >= 0 && y < kSide && x >= 0 && x < kSide;
      const float want = inside ? static_cast<float>(image[y * kSide + x]) : 0.0f;
      require(to[static_cast<std::size_t>(r * kSide * kSide + i)] == want,
              "pixel " + std::to_string(i) + " of image " + std::to_string(r));
    }
  }
}

void check_dropped(std::uint32_t grid, std::uint64_t taken) {
  const std::vector<float> from(300, 1.0f);
  std::vector<float> to(300, -1.0f);
  simt::launch(grid, kStepThreads, dropout_kernel<kStepThreads>, DropoutMask::of(5, 2, 0, 0.5f),
               StepNumber{&taken, 0}, from.data(), to.data(), std::int64_t{300});
  const DropoutMask mask = DropoutMask::of(5, 2, static_cast<std::uint32_t>(taken), 0.5f);
  for (std::int64_t i = 0; i < 300; ++i) {
    const float want = mask(1.0f, mask.words(i / 4).words[i % 4]);
    require(to[static_cast<std::size_t>(i)] == want, "dropped entry " + std::to_string(i));
  }
}

void check_rates(std::uint32_t grid, std::uint64_t taken) {
  const std::vector<float> table = {0.5f, 0.25f, 0.125f};
  std::vector<StepRate> rates(2, StepRate{9.0f, 0.5f, 0.75f});
  simt::launch(grid, kStepThreads, follow_rates_kernel<float, kStepThreads>, rates.data(),
               std::int64_t{2}, table.data(), std::int64_t{3}, StepNumber{&taken, 0});
  for (const StepRate& rate : rates) {
    require(rate.learning_rate == table[taken % 3], "the learning rate");
    require(rate.momentum == 0.5f && rate.weight_decay == 0.75f, "the rest of a rate");
  }
}

void check_updates(std::uint32_t grid, std::uint64_t taken) {
  ControlRule rule = {0, 1, 0.5f, 1.0f, 3.0f};
  rule.every = 2;
  rule.end = 5;
  ControlGroup group = {100, 10, -1.0f, -1.0f};
  ControlGroup expected = group;
  const std::int32_t target_of = 0;
  const GroupBounds bounds = {0, 100};
  struct {
    StepHeader header{};
    std::uint64_t nnz = 50;
  } status;
  status.header.steps = taken;
  float lambda = 7.0f;
  const ControlArguments args = {rule,    &group, &target_of, &bounds, &status.header,
                                 &lambda, 1,      1,          nullptr, nullptr};
  simt::launch(grid, kStepThreads, control_kernel<kStepThreads>, args);
  const bool updates = taken == 0 || taken == 2 || taken == 4;
  const float want =
      updates ? controlled_lambda(rule, expected, 50, static_cast<std::int64_t>(taken)) : 7.0f;
  require(lambda == want, "λ after " + std::to_string(taken) + " steps");
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] {
    for_each_launch({1, 3}, [](std::uint32_t grid) {
      for (std::uint64_t taken = 0; taken < 8; ++taken) {
        check_rows(grid, taken);
        check_moves(grid, taken);
        check_dropped(grid, taken);
        check_rates(grid, taken);
        check_updates(grid, taken);
      }
    });
  });
}
