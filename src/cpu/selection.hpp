#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/backend_impl.hpp"

namespace cuthresh::cpu {

template <class Key>
inline constexpr KeyRangeOf<Key> kAllKeys = {0U, kLargestKey<Key>};

enum class Selected : std::uint8_t { kGradients, kWeights };

/// Exact order statistics of |g| or |w| by its keys. A sample tells between which keys the wanted
/// one very likely lies; one read of everything counts what is below and keeps what is between.
/// Where the sample misled, or too much is between, radix passes find it. The result is that of a
/// sort whatever the sample, and all counts are integers, so the thread count does not matter.
template <class Storage, Selected kOf>
class Selection {
 public:
  using Key = typename ListLoops<Storage>::Key;
  using Range = KeyRangeOf<Key>;

  /// Over the tensors whose group `takes` says yes to.
  Selection(const CpuPlan& plan, const Threads& threads, const Loops& loops,
            std::function<bool(std::int32_t)> takes)
      : plan_(plan), threads_(threads), loops_(key_loops(loops)), takes_(std::move(takes)) {
    for (const ProxTensor& tensor : plan_.tensors) {
      if (takes_(tensor.group)) size_ += tensor.size;
    }
  }

  std::int64_t size() const { return size_; }

  /// How many keys are in `range`. `share` says where in it, from 0 to 1 and by rank, the key that
  /// will be asked for is expected.
  std::uint64_t survey(Range range, double share) {
    range_ = range;
    wanted_ = size_ > kSmall ? sampled(share) : range;
    collect();
    return static_cast<std::uint64_t>(counts_.inside);
  }

  /// The key of ascending rank `rank` (from 0) among those in the range surveyed.
  Key key_of_rank(std::uint64_t rank) {
    const auto below = static_cast<std::uint64_t>(counts_.below);
    const auto among = static_cast<std::uint64_t>(counts_.among);
    if (rank < below) return by_radix({range_.first, wanted_.first - 1U}, rank);
    if (rank >= below + among) {
      return by_radix({wanted_.last + 1U, range_.last}, rank - below - among);
    }
    if (wanted_.first == wanted_.last) return wanted_.first;
    if (!complete_) return by_radix(wanted_, rank - below);
    const auto nth = keys_.begin() + static_cast<std::ptrdiff_t>(rank - below);
    std::nth_element(keys_.begin(), nth, keys_.end());
    return *nth;
  }

  /// A bin holds 2^shift keys, and at most 4096 of them hold a range.
  static std::uint32_t bin_shift(Range range) {
    std::uint32_t shift = 0;
    while ((range.last >> shift) - (range.first >> shift) >= kBins) ++shift;
    return shift;
  }
  static Range bin_range(Range range, std::uint32_t shift, std::size_t bin) {
    const Key first = static_cast<Key>((range.first >> shift) + bin) << shift;
    const Key last = first + ((Key{1} << shift) - 1U);
    return {std::max(first, range.first), std::min(last, range.last)};
  }
  /// How many keys each bin has, the lowest first.
  std::vector<std::uint64_t> histogram(Range range, std::uint32_t shift) const {
    const auto width = static_cast<std::size_t>((range.last >> shift) - (range.first >> shift)) + 1;
    const auto parts = static_cast<std::size_t>(threads_.count());
    std::vector<std::uint64_t> bins(width * parts, 0);
    threads_.run(static_cast<int>(parts), [&](int part, int all) {
      for_share(part, all, [&](const PlanChunk&, const Value* x, std::int64_t n) {
        loops_.histogram(x, n, range, shift, bins.data() + width * static_cast<std::size_t>(part));
      });
    });
    for (std::size_t part = 1; part < parts; ++part) {
      for (std::size_t i = 0; i < width; ++i) bins[i] += bins[part * width + i];
    }
    bins.resize(width);
    return bins;
  }

 private:
  using Value = std::conditional_t<kOf == Selected::kGradients, Storage,
                                   typename StorageTraits<Storage>::Compute>;
  static constexpr std::int64_t kSmall = 1 << 16;  // so many are all kept
  static constexpr std::int64_t kFewest = 64;      // fewer in a sample say nothing
  static constexpr std::uint32_t kBins = 4096;

  static const KeyLoops<Value, Key>& key_loops(const Loops& loops) {
    if constexpr (kOf == Selected::kGradients) {
      return loops.lists<Storage>().gradients;
    } else {
      return loops.lists<Storage>().weights;
    }
  }

  /// The keys round the one of rank `share` in a sample of about n^⅔, which costs about as much as
  /// sorting out what it leaves. Four standard deviations to either side: of random data one survey
  /// in 16,000 misses.
  Range sampled(double share) const {
    std::vector<Key> keys = sample();
    const auto count = static_cast<std::int64_t>(keys.size());
    if (count < kFewest) return range_;
    const auto middle = static_cast<std::int64_t>(share * static_cast<double>(count - 1));
    const auto margin = static_cast<std::int64_t>(2.0 * std::sqrt(static_cast<double>(count))) + 1;
    const auto at = [&](std::int64_t rank) {
      const auto nth = keys.begin() + static_cast<std::ptrdiff_t>(rank);
      std::nth_element(keys.begin(), nth, keys.end());
      return *nth;
    };
    return {middle < margin ? range_.first : at(middle - margin),
            middle + margin >= count ? range_.last : at(middle + margin)};
  }

  /// The keys in the range among some at random distances: equal ones could all meet one column of
  /// every row. The same at every call and whatever the thread count, but for their order.
  std::vector<Key> sample() const {
    const auto stride = static_cast<std::uint64_t>(std::cbrt(static_cast<double>(size_)));
    std::vector<std::vector<Value>> parts(static_cast<std::size_t>(threads_.count()));
    threads_.run(static_cast<int>(parts.size()), [&](int part, int all) {
      // Gathered first and looked at later: a branch on a value just loaded, mispredicted, waits
      // for its cache miss before the next can begin, 0.2 µs each.
      std::vector<Value>& values = parts[static_cast<std::size_t>(part)];
      for_share(part, all, [&](const PlanChunk& chunk, const Value* x, std::int64_t n) {
        auto random = static_cast<std::uint32_t>(chunk.tensor * 0x9e3779b1U + chunk.begin);
        const auto below = [&](std::uint64_t bound) {
          random = random * 1664525U + 1013904223U;
          return static_cast<std::int64_t>(random * bound >> 32);
        };
        for (std::int64_t i = below(stride); i < n; i += 1 + below(2 * stride - 1)) {
          values.push_back(x[i]);
        }
      });
    });
    std::vector<Key> keys;
    for (const std::vector<Value>& values : parts) {
      const std::size_t before = keys.size();
      keys.resize(before + values.size());
      const KeyCounts counts =
          loops_.select_keys(values.data(), static_cast<std::int64_t>(values.size()), range_,
                             range_, keys.data() + before);
      keys.resize(before + static_cast<std::size_t>(counts.among));
    }
    return keys;
  }

  /// One read of everything: the counts, and the keys wanted while there is room for them.
  void collect() {
    struct Part {
      std::unique_ptr<Key[]> keys;  // touched only as far as it is needed
      KeyCounts counts;
      bool complete = true;
    };
    // Several times as many as a sample that did not mislead leaves.
    const std::int64_t room =
        kSmall + 8 * std::llround(std::pow(static_cast<double>(size_), 2.0 / 3.0));
    const bool keeps = wanted_.first != wanted_.last;
    std::vector<Part> parts(static_cast<std::size_t>(size_ > kSmall ? threads_.count() : 1));
    threads_.run(static_cast<int>(parts.size()), [&](int number, int all) {
      Part& part = parts[static_cast<std::size_t>(number)];
      for_share(number, all, [&](const PlanChunk&, const Value* x, std::int64_t n) {
        if (keeps && part.keys == nullptr) {
          part.keys.reset(new Key[static_cast<std::size_t>(room + CpuPlan::kChunk)]);
        }
        const bool fits = keeps && part.counts.among <= room;
        part.complete = part.complete && fits;
        const KeyCounts more = loops_.select_keys(
            x, n, range_, wanted_, fits ? part.keys.get() + part.counts.among : nullptr);
        part.counts += more;
      });
    });
    counts_ = {};
    complete_ = true;
    keys_.clear();
    for (const Part& part : parts) {
      counts_ += part.counts;
      complete_ = complete_ && part.complete;
      if (!complete_ || part.keys == nullptr) continue;
      keys_.insert(keys_.end(), part.keys.get(), part.keys.get() + part.counts.among);
    }
  }

  /// f(chunk, its entries, how many) for the chunks of a thread's share.
  template <class F>
  void for_share(int part, int all, F f) const {
    const auto at = [&](int i) {
      return plan_.chunks.size() * static_cast<std::size_t>(i) / static_cast<std::size_t>(all);
    };
    for (std::size_t i = at(part); i < at(part + 1); ++i) {
      const PlanChunk& chunk = plan_.chunks[i];
      if (!takes_(plan_.tensors[chunk.tensor].group)) continue;
      const ListArrays<Storage> arrays = plan_.template arrays_of<Storage>(chunk);
      if constexpr (kOf == Selected::kGradients) {
        f(chunk, arrays.g, chunk.end - chunk.begin);
      } else {
        f(chunk, static_cast<const Value*>(arrays.weight), chunk.end - chunk.begin);
      }
    }
  }

  /// Each pass counts the keys of the range into at most 4096 bins and goes on with the bin that
  /// holds the rank: three passes at most over a whole float range, six over one of float64, all of
  /// them reads.
  Key by_radix(Range range, std::uint64_t rank) const {
    for (;;) {
      const std::uint32_t shift = bin_shift(range);
      const std::vector<std::uint64_t> bins = histogram(range, shift);
      std::size_t bin = 0;
      while (rank >= bins[bin]) rank -= bins[bin++];
      range = bin_range(range, shift, bin);
      if (shift == 0) return range.first;
    }
  }

  const CpuPlan& plan_;
  const Threads& threads_;
  const KeyLoops<Value, Key>& loops_;
  std::function<bool(std::int32_t)> takes_;
  std::int64_t size_ = 0;
  Range range_;
  Range wanted_;
  KeyCounts counts_;
  bool complete_ = true;   // keys_ holds all that are wanted
  std::vector<Key> keys_;  // in no order
};

}  // namespace cuthresh::cpu
