#pragma once

// Exact order statistics of |x| over the tensors of a list, by radix: a pass counts the keys
// (kernels/math/bracket.hpp) of the range that is left into 8192 bins, a pick keeps the bin that
// holds the wanted rank. All selections share the launches; at most three passes for all 2^31 keys,
// two for 2^26, five for the 2^63 of float64. An entry read an element and pass (limiter: memory);
// later passes leave most elements to one comparison. Integers throughout: the same result for any
// grid, tile order and scheduling. Nothing is written but bins and states; sources at any address,
// 128-bit loads between a scalar head and tail. Bins in shared memory are not privatised (32 KiB
// already): equal keys of a warp cost it 32 serial increments at worst.
// tests/kernels/select_kernels_test.cpp

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/reduce.cuh"
#include "kernels/math/bracket.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh {

inline constexpr std::uint32_t kSelectBins = 8192;
template <class Key>
inline constexpr std::int32_t kSelectPasses = sizeof(Key) == 4 ? 3 : 5;
inline constexpr std::int32_t kSelectMaxPasses = kSelectPasses<std::uint32_t>;
/// Tiles up to this size go to the global bins at once: emptying 8192 shared bins costs more than
/// one global atomic a thread, and a list of hundreds of biases would pay it for each.
inline constexpr std::int32_t kSelectDirect = 512;
/// Elements after which shared bins are emptied, so that 32 bits hold their counts.
inline constexpr std::int64_t kSelectFlush = std::int64_t{1} << 31;

/// How many selections still look for their key; in device memory.
struct SelectHeader {
  std::uint64_t running;
};

/// One selection: the key of a rank among the keys in [first, last], both ends included.
template <class Key>
struct SelectStateOf {
  std::uint64_t wanted;  // 0: the lower median; k > 0: the k-th largest
  std::uint64_t rank;    // ascending, from 0, in [first, last]; once counted
  std::uint64_t inside;  // keys in the range asked for; once counted
  Key first;             // once found: the key
  Key last;
  std::uint32_t shift;  // a bin holds 2^shift keys, the first bin from `first` on
  std::uint32_t running;
  std::uint32_t counted;
  std::uint32_t found;
  std::uint64_t equal = 0;  // once found: keys equal to it; rank: how many of them lie below
};
using SelectState = SelectStateOf<std::uint32_t>;

/// What the host reads. found = 0: there is no such rank; key is 0 then.
template <class Key>
struct SelectResultOf {
  std::uint64_t inside;
  Key key;
  Key found;
};
using SelectResult = SelectResultOf<std::uint32_t>;

/// The smallest shift with which kSelectBins bins cover [first, last].
template <class Key>
CTH_HD std::uint32_t select_shift(Key first, Key last) {
  std::uint32_t shift = 0;
  while (((last - first) >> shift) >= kSelectBins) ++shift;
  return shift;
}

/// The lower median of |x| strictly inside (lo, hi), 0 ≤ lo; NaN lies in no bracket. An empty
/// bracket makes a selection that is done: inside = 0, found = 0.
template <class Key = std::uint32_t>
CTH_HD SelectStateOf<Key> select_bracket_median(double lo, double hi) {
  SelectStateOf<Key> state{};
  if (!(lo >= 0.0 && lo < hi)) return state;
  const OpenKeys<Key> keys = keys_between(lo, hi, Key{});
  state.first = keys.first;
  state.last = keys.last;
  if (state.first > state.last) return state;  // neighbours: nothing lies between
  state.shift = select_shift(state.first, state.last);
  state.running = 1;
  return state;
}

/// The k-th largest |x| of all, k ≥ 1; zeros count, NaN orders above ∞. Fewer than k elements: not
/// found.
template <class Key = std::uint32_t>
CTH_HD SelectStateOf<Key> select_kth_largest(std::uint64_t k) {
  SelectStateOf<Key> state{};
  state.wanted = k;
  state.last = kLargestKey<Key>;
  state.shift = select_shift(state.first, state.last);
  state.running = k > 0 ? 1U : 0U;
  return state;
}

/// Passes (count, then pick) after which this selection is done for certain: each takes 13 bits.
template <class Key>
CTH_HD std::int32_t select_passes(const SelectStateOf<Key>& state) {
  if (state.running == 0) return 0;
  return static_cast<std::int32_t>((state.shift + 12U) / 13U) + 1;
}

/// Which selection a group ≥ 0 belongs to.
struct SelectGroups {
  bool over_all;           // all of them to selection 0
  const std::int32_t* of;  // else [groups] the number, −1: none; null: the group's own

  CTH_HD SelectGroups(bool all) : over_all(all), of(nullptr) {}
  CTH_HD explicit SelectGroups(const std::int32_t* map) : over_all(false), of(map) {}
  CTH_HD std::int64_t operator()(std::int64_t group) const {
    if (over_all) return 0;
    return of == nullptr ? group : of[group];
  }
};

/// Which array of a tensor is looked at, and the keys of its entries.
template <class Storage>
struct GradientSourceOf {
  using Value = Storage;
  using Key = decltype(magnitude_key(widen(Storage{})));
  CTH_DEVICE static const Value* of(const TensorRecord& tensor) {
    return static_cast<const Value*>(tensor.g);
  }
  CTH_HD static Key key(Value x) { return magnitude_key(widen(x)); }
};
/// The master copy where there is one.
template <class Storage>
struct WeightSourceOf {
  using Value = typename StorageTraits<Storage>::Compute;
  using Key = decltype(magnitude_key(Value{}));
  CTH_DEVICE static const Value* of(const TensorRecord& tensor) {
    return static_cast<const Value*>(StorageTraits<Storage>::kMaster ? tensor.master : tensor.w);
  }
  CTH_HD static Key key(Value x) { return weight_key<Storage>(x); }
};
using GradientSource = GradientSourceOf<float>;
using WeightSource = WeightSourceOf<float>;

namespace device {

/// f(key) for every one of n elements, shared out among the block's threads.
template <class Source, std::uint32_t kThreads, class F>
CTH_DEVICE void for_each_key(const typename Source::Value* x, std::int32_t n, F f) {
  using Value = typename Source::Value;
  constexpr int kLanes = static_cast<int>(kPackBytes / sizeof(Value));
  // Loads of 16 bytes under way a thread: a full tile in one round, but at most 4.
  constexpr auto kRounds = static_cast<int>(kTileElements / (kLanes * std::int64_t{kThreads}));
  constexpr int kAhead = kRounds < 1 ? 1 : kRounds > 4 ? 4 : kRounds;
  const PackSplit<std::int32_t> split = split_in_packs<kLanes>(n, x);
  const auto thread = static_cast<std::int32_t>(thread_index());
  constexpr auto kStep = static_cast<std::int32_t>(kThreads);
  for (std::int32_t base = thread; base < split.units; base += kAhead * kStep) {
    Pack<Value> pack[kAhead] = {};
    for (int i = 0; i < kAhead; ++i) {
      if (base + i * kStep < split.units) {
        pack[i] = load_pack(x + split.head + std::int64_t{kLanes} * (base + i * kStep));
      }
    }
    for (int i = 0; i < kAhead; ++i) {
      if (base + i * kStep >= split.units) break;
      for (int j = 0; j < kLanes; ++j) f(Source::key(pack[i].value[j]));
    }
  }
  for (std::int32_t i = thread; i < n - split.units * kLanes; i += kStep) {
    f(Source::key(load_global(x + scalar_entry<kLanes>(split, i))));
  }
}

/// Adds the block's bins to the selection's and empties them. Called by all threads.
template <std::uint32_t kThreads>
CTH_DEVICE void flush_bins(std::uint32_t* counts, std::uint32_t width, std::uint64_t* bins) {
  sync_block();
  for (std::uint32_t bin = thread_index(); bin < width; bin += kThreads) {
    if (counts[bin] == 0) continue;
    atomic_add(bins + bin, std::uint64_t{counts[bin]});
    counts[bin] = 0;
  }
  sync_block();
}

}  // namespace device

/// One pass over the list. bins: [selections][kSelectBins], zero before the first pass. Group −1
/// takes no part.
template <class Source, std::uint32_t kThreads, std::int64_t kFlush = kSelectFlush>
CTH_KERNEL(kThreads)
select_count_kernel(TensorList list, SelectGroups groups, const SelectHeader* header,
                    const SelectStateOf<typename Source::Key>* states, std::uint64_t* bins) {
  using Key = typename Source::Key;
  struct Shared {
    std::uint32_t counts[kSelectBins];
  };
  CTH_SHARED(Shared, shared);
  if (header->running == 0) return;  // all threads of all blocks do

  const TileRange range =
      tiles_of_block(list.tile_count, device::block_index(), device::block_count());
  std::int64_t selection = -1;
  SelectStateOf<Key> state{};
  std::uint32_t width = 0;    // bins that the selection uses
  std::int64_t pending = 0;   // elements that shared.counts may hold
  bool shared_ready = false;  // shared.counts was zeroed
  for (std::int64_t i = range.first; i < range.end; ++i) {
    const Tile tile = list.tiles[i];
    const TensorRecord& tensor = list.tensors[tile.tensor];
    if (tensor.group < 0) continue;
    const std::int64_t own = groups(tensor.group);
    if (own < 0) continue;
    if (own != selection) {
      if (pending > 0) {
        device::flush_bins<kThreads>(shared.counts, width, bins + selection * kSelectBins);
        pending = 0;
      }
      selection = own;
      state = states[selection];
      width = static_cast<std::uint32_t>((state.last - state.first) >> state.shift) + 1U;
    }
    if (state.running == 0) continue;
    const typename Source::Value* x = Source::of(tensor) + tile.begin;
    // key − first as unsigned is above last − first for keys on either side of the range.
    const Key first = state.first;
    const Key span = state.last - state.first;
    const std::uint32_t shift = state.shift;
    if (tile.size <= kSelectDirect) {
      std::uint64_t* to = bins + selection * kSelectBins;
      device::for_each_key<Source, kThreads>(x, tile.size, [&](Key key) {
        if (key - first <= span)
          device::atomic_add(to + ((key - first) >> shift), std::uint64_t{1});
      });
      continue;
    }
    if (!shared_ready) {
      for (std::uint32_t bin = device::thread_index(); bin < kSelectBins; bin += kThreads) {
        shared.counts[bin] = 0;
      }
      device::sync_block();
      shared_ready = true;
    }
    device::for_each_key<Source, kThreads>(x, tile.size, [&](Key key) {
      if (key - first <= span) {
        device::atomic_add(&shared.counts[(key - first) >> shift], std::uint32_t{1});
      }
    });
    pending += tile.size;
    if (pending >= kFlush) {
      device::flush_bins<kThreads>(shared.counts, width, bins + selection * kSelectBins);
      pending = 0;
    }
  }
  if (pending > 0) {
    device::flush_bins<kThreads>(shared.counts, width, bins + selection * kSelectBins);
  }
}

/// After each pass: narrows every running selection to the bin that holds its rank, writes the
/// results of those that are done, and leaves the bins zero. A block a selection; any grid is
/// right.
template <std::uint32_t kThreads, class Key = std::uint32_t>
CTH_KERNEL(kThreads)
select_pick_kernel(SelectHeader* header, SelectStateOf<Key>* states, SelectResultOf<Key>* results,
                   std::uint64_t* bins, std::int32_t selections) {
  constexpr std::uint32_t kWarps = kThreads / device::kWarp;
  constexpr std::uint32_t kRows = kSelectBins / kThreads;  // of 32 bins, one after another a warp
  static_assert(kSelectBins % kThreads == 0);
  struct Shared {
    std::uint64_t of_warp[kWarps];
  };
  CTH_SHARED(Shared, shared);
  const std::uint32_t lane = device::lane();
  const std::uint32_t warp = device::thread_index() / device::kWarp;

  for (std::int64_t s = device::block_index(); s < selections; s += device::block_count()) {
    const SelectStateOf<Key> state = states[s];
    if (state.running == 0) {
      if (device::thread_index() == 0) {
        results[s] = {state.inside, state.found != 0 ? state.first : Key{0}, state.found};
      }
      continue;
    }
    // The warp's bins in registers; bins beyond the range are zero and not read.
    std::uint64_t* own = bins + s * kSelectBins + warp * kRows * device::kWarp + lane;
    const auto width = static_cast<std::uint32_t>((state.last - state.first) >> state.shift) + 1U;
    const std::uint32_t base = warp * kRows * device::kWarp;
    std::uint64_t count[kRows];
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < kRows; ++i) {
      const std::uint32_t bin = base + i * device::kWarp + lane;
      count[i] = bin < width ? own[i * device::kWarp] : 0U;
      sum += count[i];
    }
    for (std::uint32_t i = 0; i < kRows; ++i) {
      if (count[i] != 0) own[i * device::kWarp] = 0;
    }
    sum = device::warp_sum(sum);
    if (lane == 0) shared.of_warp[warp] = sum;
    device::sync_block();  // also: every thread has read states[s]
    std::uint64_t before = 0;
    std::uint64_t total = 0;
    for (std::uint32_t w = 0; w < kWarps; ++w) {
      if (w < warp) before += shared.of_warp[w];
      total += shared.of_warp[w];
    }
    device::sync_block();  // of_warp is free for the next selection

    SelectStateOf<Key> next = state;
    if (state.counted == 0) {
      next.counted = 1;
      next.inside = total;
      next.rank = state.wanted == 0 ? (total - 1U) / 2U : total - state.wanted;
      if (total == 0 || state.wanted > total) {  // no such rank
        if (device::thread_index() == 0) {
          next.running = 0;
          states[s] = next;
          results[s] = {total, 0U, 0U};
          device::atomic_add(&header->running, ~std::uint64_t{0});
        }
        continue;
      }
    }
    if (next.rank < before || next.rank >= before + sum) continue;  // in another warp's bins
    std::uint64_t rank = next.rank - before;
    std::uint64_t chosen = 0;  // this lane's bin in the row that holds the rank
    std::uint32_t row = kRows;
    for (std::uint32_t i = 0; i < kRows; ++i) {
      const std::uint64_t in_row = device::warp_sum(count[i]);
      if (row != kRows) continue;
      if (rank < in_row) {
        row = i;
        chosen = count[i];
      } else {
        rank -= in_row;
      }
    }
    std::uint64_t end = chosen;  // sum of this lane's bin and those before it in the row
    for (std::uint32_t step = 1; step < device::kWarp; step *= 2) {
      const std::uint64_t other = device::shuffle_from(end, lane >= step ? lane - step : lane);
      end += lane >= step ? other : 0U;
    }
    if (rank >= end || rank < end - chosen) continue;
    next.rank = rank - (end - chosen);
    next.first = state.first + (Key{base + row * device::kWarp + lane} << state.shift);
    const Key last = next.first + ((Key{1} << state.shift) - 1U);
    next.last = last < state.last ? last : state.last;
    next.shift = select_shift(next.first, next.last);
    if (next.first == next.last) {
      next.running = 0;
      next.found = 1;
      next.equal = chosen;
      results[s] = {next.inside, next.first, 1U};
      device::atomic_add(&header->running, ~std::uint64_t{0});
    }
    states[s] = next;
  }
}

}  // namespace cuthresh
