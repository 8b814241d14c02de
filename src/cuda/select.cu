#include <algorithm>
#include <cstring>

#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/select.cuh"
#include "kernels/math/bracket.hpp"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 512;

}  // namespace

// All selections go through their passes together, and nothing comes back between passes: a pass
// that has nothing left to do returns at once.
void CudaBackend::run_selections(CudaPlan& p, std::span<const SelectState> states, bool over_all) {
  SelectHeader header{};
  std::int32_t passes = 0;
  for (const SelectState& state : states) {
    header.running += state.running;
    passes = std::max(passes, select_passes(state));
  }
  std::vector<std::byte> image;
  const auto append = [&image](std::span<const std::byte> bytes) {
    image.insert(image.end(), bytes.begin(), bytes.end());
  };
  append(std::as_bytes(std::span(&header, 1)));
  append(std::as_bytes(states));
  context_.upload(p.select_header(), image.data(), image.size());
  std::uint64_t* bins = p.bins();
  const auto count = static_cast<std::int32_t>(states.size());
  for (std::int32_t pass = 0; pass < std::max(passes, 1); ++pass) {
    if (passes > 0) {
      launch(context_, {"select_count_kernel", p.tile_count(), kThreads},
             select_count_kernel<GradientSource, kThreads>, p.list(), over_all, p.select_header(),
             p.select_states(), bins);
    }
    launch(context_, {"select_pick_kernel", count, kThreads}, select_pick_kernel<kThreads>,
           p.select_header(), p.select_states(), p.select_results(), bins, count);
  }
}

std::vector<MedianResult> CudaBackend::read_bracket_medians(
    ProxPlan& plan, std::span<const std::pair<float, float>> brackets) {
  CudaPlan& p = as_cuda_plan(plan);
  const bool over_all = check_brackets(brackets.size(), p.groups());
  check_gradients("read_bracket_medians", p.tensors());
  std::vector<MedianResult> results(brackets.size());
  if (results.empty()) return results;
  std::vector<SelectState> states;
  for (const auto& [lo, hi] : brackets) states.push_back(select_bracket_median(lo, hi));
  run_selections(p, states, over_all);
  const std::byte* from = context_.read(p.select_results(), results.size() * sizeof(SelectResult));
  for (std::size_t i = 0; i < results.size(); ++i) {
    SelectResult found{};
    std::memcpy(&found, from + i * sizeof found, sizeof found);
    results[i].inside = found.inside;
    if (found.found != 0) results[i].median = magnitude_from_key(found.key);
  }
  return results;
}

float CudaBackend::read_kth_gradient(ProxPlan& plan, std::int64_t k) {
  CudaPlan& p = as_cuda_plan(plan);
  check_rank(k, p.penalised());
  check_gradients("read_kth_gradient", p.tensors());
  const SelectState state = select_kth_largest(static_cast<std::uint64_t>(k));
  run_selections(p, {&state, 1}, true);
  // The key and whether there is one: how many keys there are is known here.
  SelectResult found{};
  const std::byte* from =
      context_.read(&p.select_results()->key, sizeof found.key + sizeof found.found);
  std::memcpy(&found.key, from, sizeof found.key);
  return magnitude_from_key(found.key);
}

}  // namespace cuthresh::cuda
