#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "core/array.hpp"
#include "guarded.hpp"
#include "kernels/block/select.cuh"

namespace cuthresh::testing {

inline constexpr std::uint32_t kSelectThreads = 512;

struct SelectTensor {
  std::vector<float> x;
  std::int32_t group = 0;
  std::size_t offset = 0;
};

using SelectCountKernel = void (*)(TensorList, SelectGroups, const SelectHeader*,
                                   const SelectState*, std::uint64_t*);

// A list in "device" memory, and selections over it.
class SelectList {
 public:
  explicit SelectList(std::vector<SelectTensor> tensors, std::int32_t tile_size = 8192,
                      bool of_weights = false)
      : tensors_(std::move(tensors)) {
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      const SelectTensor& tensor = tensors_[t];
      arrays_.push_back(std::make_unique<Guarded<float>>(tensor.x, tensor.offset));
      TensorRecord record{};
      if (of_weights) {
        record.w = arrays_.back()->data();
      } else {
        record.g = arrays_.back()->data();
      }
      record.size = static_cast<std::int64_t>(tensor.x.size());
      record.group = tensor.group;
      records_.push_back(record);
      groups_ = std::max(groups_, tensor.group + 1);
      for (std::int64_t begin = 0; begin < record.size; begin += tile_size) {
        const std::int64_t left = record.size - begin;
        tiles_.push_back({begin, static_cast<std::int32_t>(t),
                          static_cast<std::int32_t>(std::min<std::int64_t>(left, tile_size))});
      }
    }
  }

  std::int32_t groups() const { return groups_; }
  void reverse_tiles() { std::reverse(tiles_.begin(), tiles_.end()); }

  // As the room runs it: as many passes as the states say, then everything must be done.
  std::vector<SelectResult> run(
      const std::vector<SelectState>& states, bool over_all, std::uint32_t grid,
      SelectCountKernel count = select_count_kernel<GradientSource, kSelectThreads>) {
    std::int32_t passes = 1;  // so that results of selections that are done at once get written
    SelectHeader header{0};
    for (const SelectState& state : states) {
      passes = std::max(passes, select_passes(state));
      header.running += state.running;
    }
    Guarded<SelectHeader> device_header(1, header);
    Guarded<SelectState> device_states{std::span<const SelectState>(states)};
    Guarded<SelectResult> results(states.size(), SelectResult{99, 99, 99});
    Guarded<std::uint64_t> bins(states.size() * kSelectBins, 0);
    const TensorList list{records_.data(), tiles_.data(), static_cast<std::int64_t>(tiles_.size()),
                          groups_};
    for (std::int32_t pass = 0; pass < passes; ++pass) {
      simt::launch(grid, kSelectThreads, count, list, over_all, device_header.data(),
                   device_states.data(), bins.data());
      simt::launch(grid, kSelectThreads, select_pick_kernel<kSelectThreads>, device_header.data(),
                   device_states.data(), results.data(), bins.data(),
                   static_cast<std::int32_t>(states.size()));
    }
    EXPECT_EQ(device_header.data()->running, 0U) << "not done after " << passes << " passes";
    EXPECT_EQ(bins.values(), std::vector<std::uint64_t>(bins.size(), 0));
    EXPECT_TRUE(bins.guards_hold() && results.guards_hold() && device_states.guards_hold());
    return results.values();
  }

  // Magnitudes in ascending order as float64; NaN last. group -1: of all groups.
  std::vector<double> sorted(std::int64_t group) const {
    std::vector<double> all;
    for (const SelectTensor& tensor : tensors_) {
      if (tensor.group < 0 || (group >= 0 && tensor.group != group)) continue;
      for (const float x : tensor.x) all.push_back(std::fabs(static_cast<double>(x)));
    }
    std::sort(all.begin(), all.end(),
              [](double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; });
    return all;
  }
  std::vector<double> sorted_inside(std::int64_t group, float lo, float hi) const {
    std::vector<double> inside;
    for (const double x : sorted(group)) {
      if (x > static_cast<double>(lo) && x < static_cast<double>(hi)) inside.push_back(x);
    }
    return inside;
  }

  // The same list in room A.
  std::unique_ptr<ProxPlan> plan(Backend& room, std::vector<Array<float>>& keep) const {
    std::vector<ProxTensor> list;
    for (const SelectTensor& tensor : tensors_) {
      keep.emplace_back(room, std::span<const float>(tensor.x));
      list.push_back({keep.back().data(), keep.back().data(),
                      static_cast<std::int64_t>(tensor.x.size()), tensor.group});
    }
    return room.make_plan(list, groups_);
  }

 private:
  std::vector<SelectTensor> tensors_;
  std::vector<std::unique_ptr<Guarded<float>>> arrays_;
  std::vector<TensorRecord> records_;
  std::vector<Tile> tiles_;
  std::int32_t groups_ = 0;
};

}  // namespace cuthresh::testing
