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
template <class Source>
void CudaBackend::run_selections(CudaPlan& p,
                                 std::span<const SelectStateOf<typename Source::Key>> states,
                                 bool over_all) {
  using Key = typename Source::Key;
  SelectHeader header{};
  std::int32_t passes = 0;
  for (const SelectStateOf<Key>& state : states) {
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
             select_count_kernel<Source, kThreads>, p.list(), over_all, p.select_header(),
             p.select_states<Key>(), bins);
    }
    launch(context_, {"select_pick_kernel", count, kThreads}, select_pick_kernel<kThreads, Key>,
           p.select_header(), p.select_states<Key>(), p.select_results<Key>(), bins, count);
  }
}

std::vector<MedianResultOf<double>> CudaBackend::read_bracket_medians(
    ProxPlan& plan, std::span<const std::pair<double, double>> brackets) {
  CudaPlan& p = as_cuda_plan(plan);
  const bool over_all = check_brackets(brackets.size(), p.groups());
  check_gradients("read_bracket_medians", p.tensors());
  std::vector<MedianResultOf<double>> results(brackets.size());
  if (results.empty()) return results;
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    using Source = GradientSourceOf<Storage>;
    using Key = typename Source::Key;
    std::vector<SelectStateOf<Key>> states;
    for (const auto& [lo, hi] : brackets) states.push_back(select_bracket_median<Key>(lo, hi));
    run_selections<Source>(p, states, over_all);
    using Result = SelectResultOf<Key>;
    const std::byte* from = context_.read(p.select_results<Key>(), results.size() * sizeof(Result));
    for (std::size_t i = 0; i < results.size(); ++i) {
      Result found{};
      std::memcpy(&found, from + i * sizeof found, sizeof found);
      results[i].inside = found.inside;
      if (found.found != 0) results[i].median = magnitude_from_key(found.key);
    }
  });
  return results;
}

double CudaBackend::read_kth_magnitude(ProxPlan& plan, std::int64_t k) {
  CudaPlan& p = as_cuda_plan(plan);
  check_rank(k, p.penalised());
  check_gradients("read_kth_gradient", p.tensors());
  return with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) -> double {
    using Source = GradientSourceOf<Storage>;
    using Key = typename Source::Key;
    const SelectStateOf<Key> state = select_kth_largest<Key>(static_cast<std::uint64_t>(k));
    run_selections<Source>(p, {&state, 1}, true);
    // The key and whether there is one: how many keys there are is known here.
    Key found{};
    const std::byte* from = context_.read(&p.select_results<Key>()->key, 2 * sizeof found);
    std::memcpy(&found, from, sizeof found);
    return magnitude_from_key(found);
  });
}

}  // namespace cuthresh::cuda
