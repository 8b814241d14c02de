#include "bench/cases/lists.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "cuthresh/error.hpp"
#include "kernels/math/philox.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::uint64_t kRunSalt = std::uint64_t{1} << 62;  // far from the counters of entries
constexpr float kZeroGradient = 0.0625f;
constexpr float kLivingGradient = 2.0f;

/// All 161 parameters of a ResNet-50 in their order, 25,557,032 for (64, 1000): a convolution, the
/// scale and the shift of its normalisation, 53 times; then weights and biases of the classes.
std::vector<std::int64_t> resnet50(std::int64_t width, std::int64_t classes) {
  std::vector<std::int64_t> sizes;
  const auto normalised_conv = [&](std::int64_t in, std::int64_t out, std::int64_t window) {
    for (const std::int64_t size : {in * out * window * window, out, out}) sizes.push_back(size);
  };
  normalised_conv(3, width, 7);
  std::int64_t in = width;
  std::int64_t inner = width;
  for (const int blocks : {3, 4, 6, 3}) {
    for (int block = 0; block < blocks; ++block) {
      normalised_conv(in, inner, 1);
      normalised_conv(inner, inner, 3);
      normalised_conv(inner, 4 * inner, 1);
      if (block == 0) normalised_conv(in, 4 * inner, 1);
      in = 4 * inner;
    }
    inner *= 2;
  }
  for (const std::int64_t size : {in * classes, classes}) sizes.push_back(size);
  return sizes;
}

/// `count` tensors, in turn three quarters and one quarter of the sum of two.
std::vector<std::int64_t> large_and_small(std::int64_t count, std::int64_t of_two) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t small = of_two / 4;
    sizes.push_back(i % 2 == 0 ? of_two - small : small);
  }
  return sizes;
}

std::vector<std::int64_t> sizes_of(const std::string& name, bool small) {
  using Sizes = std::vector<std::int64_t>;
  if (name == "25k_4") return small ? Sizes{24, 515, 257, 3} : Sizes{768, 16384, 8192, 64};
  if (name == "687k_5") {
    return small ? Sizes{9, 577, 2306, 1023, 161} : Sizes{288, 18432, 73728, 589824, 5120};
  }
  if (name == "25m_161") return small ? resnet50(1, 10) : resnet50(64, 1000);
  if (name == "25m_1") return {small ? 4099 : 25'000'000};
  if (name == "64m") return {small ? 5003 : 64'000'000};
  if (name == "1g_200") return large_and_small(200, small ? 37 : 10'000'000);
  throw InternalError({"benchmark lists", "there is no such list", name, "add it to sizes_of"});
}

/// SplitMix64 (Steele, Lea, Flood, 2014) by its counter: a list of 1 G is made in a few seconds,
/// where Philox and its rounding would take four times as long.
std::uint64_t random_bits(std::uint64_t counter) {
  std::uint64_t z = kListSeed + counter * 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

/// In [0, 1), by the low 24 bits.
float fraction(std::uint64_t bits) {
  return static_cast<float>(bits & 0xFFFFFFU) * 0x1p-24f;
}

}  // namespace

std::string ListShape::text() const {
  return fmt::format("{} weights in {} tensor{}", weights, sizes.size(),
                     sizes.size() == 1 ? "" : "s");
}

ListShape make_list(const std::string& name, bool small) {
  ListShape list{name, sizes_of(name, small), {}, 0, 0};
  const std::int64_t alignment = small ? 1 : 16;
  for (const std::int64_t size : list.sizes) {
    list.offsets.push_back(list.extent);
    list.weights += size;
    list.extent += (size + alignment - 1) / alignment * alignment;
  }
  return list;
}

std::vector<float> lambdas_of(const ListShape& list, float least) {
  std::vector<float> lambda;
  for (std::size_t t = 0; t < list.sizes.size(); ++t) {
    lambda.push_back(least *
                     (1.0f + static_cast<float>(t) / static_cast<float>(list.sizes.size())));
  }
  return lambda;
}

void draw(std::int64_t first, std::span<float> to, float bound, std::uint32_t stream) {
  const std::int64_t end = first + static_cast<std::int64_t>(to.size());
  for (std::int64_t i = first; i < end;) {
    const Philox block = Philox::block(kListSeed, static_cast<std::uint64_t>(i / 4), stream,
                                       RandomPurpose::kInitialisation);
    for (std::int64_t word = i % 4; word < 4 && i < end; ++word, ++i) {
      to[static_cast<std::size_t>(i - first)] = uniform_symmetric(block.words[word], bound);
    }
  }
}

std::string Zeros::name() const {
  if (places == ZeroPlaces::kNone) return "dense";
  return fmt::format("zeros_{}_{}", percent,
                     places == ZeroPlaces::kRandom ? "random" : "clustered");
}

std::string Zeros::text() const {
  if (places == ZeroPlaces::kNone) return "no zeros";
  return fmt::format("{} % zeros {}", percent,
                     places == ZeroPlaces::kRandom ? "at random" : "in whole runs");
}

// At least 256 runs, so that 99 % of them leave two.
ListSource::ListSource(const ListShape& list, const Zeros& zeros) : zeros_(zeros) {
  while (run_ < 4096 && run_ * 512 <= list.extent) run_ *= 2;
}

ListValues ListSource::make_block(std::int64_t most, bool momentum) const {
  const auto n = static_cast<std::size_t>(std::min(most, kListBlock));
  return {std::vector<float>(n), std::vector<float>(n), std::vector<float>(momentum ? n : 0)};
}

void ListSource::fill(std::int64_t first, std::int64_t count, ListValues& to,
                      std::int64_t threads) const {
  in_parallel(threads, count,
              [&](std::int64_t begin, std::int64_t end) { fill_piece(first, begin, end, to); });
}

/// Entries [begin, end) of the block that starts at place `first`, run by run.
void ListSource::fill_piece(std::int64_t first, std::int64_t begin, std::int64_t end,
                            ListValues& to) const {
  for (std::int64_t i = begin; i < end;) {
    const std::int64_t run = (first + i) / run_;
    const std::int64_t stop = std::min(end, (run + 1) * run_ - first);
    const std::uint64_t percent = percent_in(run);
    for (; i < stop; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto place = static_cast<std::uint64_t>(first + i);
      const std::uint64_t one = random_bits(2 * place);
      const std::uint64_t other = random_bits(2 * place + 1);
      const bool zero = (other >> 32) * 100 >> 32 < percent;
      const float sign = static_cast<float>(static_cast<int>(one >> 63) * 2 - 1);
      to.w[at] = zero ? 0.0f : sign * (0.5f + 0.5f * fraction(one));
      to.g[at] =
          -sign * (zero ? kZeroGradient * fraction(one) : kLivingGradient + fraction(one >> 32));
      if (!to.v.empty()) to.v[at] = fraction(other) - 0.5f;
    }
  }
}

/// How many of a hundred entries of a run are zero.
std::uint64_t ListSource::percent_in(std::int64_t run) const {
  if (zeros_.places == ZeroPlaces::kNone) return 0;
  const auto percent = static_cast<std::uint64_t>(zeros_.percent);
  if (zeros_.places == ZeroPlaces::kRandom) return percent;
  // Of every so many runs in sequence one is alive, at random.
  const auto number = static_cast<std::uint64_t>(run);
  const std::uint64_t every = 100 / (100 - percent);
  return number % every == random_bits(kRunSalt + number / every) % every ? 0 : 100;
}

void for_blocks(const ListShape& list, const std::function<void(const ListPiece&)>& look) {
  for (std::size_t t = 0; t < list.sizes.size(); ++t) {
    for (std::int64_t begin = 0; begin < list.sizes[t]; begin += kListBlock) {
      look({t, list.offsets[t] + begin, std::min(kListBlock, list.sizes[t] - begin)});
    }
  }
}

void in_parallel(std::int64_t threads, std::int64_t size,
                 const std::function<void(std::int64_t, std::int64_t)>& work) {
  constexpr std::int64_t kLeast = 1 << 16;  // 0.5 ms of Philox, ten times what a thread costs
  const std::int64_t parts = std::clamp<std::int64_t>(size / kLeast, 1, threads);
  std::vector<std::jthread> others;
  for (std::int64_t part = 1; part < parts; ++part) {
    others.emplace_back(work, size * part / parts, size * (part + 1) / parts);
  }
  work(0, size / parts);
}

template <class Storage>
ListBuffersOf<Storage>::ListBuffersOf(Backend& room, const ListShape& list, bool weights,
                                      bool gradients, bool momentum)
    : w(room, weights ? list.extent : 0),
      g(room, gradients ? list.extent : 0),
      v(room, momentum ? list.extent : 0),
      master(room, weights && StorageTraits<Storage>::kMaster ? list.extent : 0) {}

template <class Storage>
void ListBuffersOf<Storage>::copy_from(const ListBuffersOf& other) {
  w.copy_from(other.w);
  g.copy_from(other.g);
  v.copy_from(other.v);
  master.copy_from(other.master);
}

template <class Storage>
std::vector<std::uint64_t> upload_list(const Room& room, const ListShape& list,
                                       const ListSource& source, ListBuffersOf<Storage>& to) {
  std::vector<std::uint64_t> nonzero(list.sizes.size(), 0);
  ListValues block = source.make_block(list.extent, to.v.size() > 0);
  for_blocks(list, [&](const ListPiece& piece) {
    source.fill(piece.first, piece.count, block, room.threads);
    const auto upload = [&]<class T>(Array<T>& array, const std::vector<float>& values,
                                     T (*convert)(float)) {
      if (array.size() == 0) return;
      std::vector<T> converted(static_cast<std::size_t>(piece.count));
      std::transform(values.begin(), values.begin() + piece.count, converted.begin(), convert);
      room.backend.upload(array.data() + piece.first, converted.data(),
                          converted.size() * sizeof(T));
    };
    upload(to.w, block.w, list_stored<Storage>);
    upload(to.g, block.g, list_stored<Storage>);
    upload(to.v, block.v, list_value<Storage>);
    upload(to.master, block.w, list_value<Storage>);
    nonzero[piece.tensor] += static_cast<std::uint64_t>(std::count_if(
        block.w.begin(), block.w.begin() + piece.count, [](float w) { return is_nonzero(w); }));
  });
  return nonzero;
}

#define CTH_INSTANTIATE(Storage)                            \
  template struct ListBuffersOf<Storage>;                   \
  template std::vector<std::uint64_t> upload_list<Storage>( \
      const Room&, const ListShape&, const ListSource&, ListBuffersOf<Storage>&)
CTH_INSTANTIATE(float);
CTH_INSTANTIATE(double);
CTH_INSTANTIATE(Bf16);
CTH_INSTANTIATE(Fp16);
#undef CTH_INSTANTIATE

}  // namespace cuthresh::bench
