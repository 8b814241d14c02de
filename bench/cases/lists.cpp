#include "bench/cases/lists.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <thread>
#include <utility>

#include "cuthresh/error.hpp"
#include "kernels/math/philox.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::bench {
namespace {

enum ListStream : std::uint32_t {
  kWeightStream = 1,
  kGradientStream,
  kMomentumStream,
  kZeroStream
};

constexpr float kZeroGradient = 0.0625f;
constexpr float kLivingGradient = 2.0f;

/// All 161 parameters of a ResNet-50 in their order, 25,557,032 for (64, 1000): a convolution, the
/// scale and the shift of its normalisation, 53 times; then weights and biases of the classes.
std::vector<std::int64_t> resnet50(std::int64_t width, std::int64_t classes) {
  std::vector<std::int64_t> sizes;
  const auto normalised_conv = [&](std::int64_t in, std::int64_t out, std::int64_t window) {
    sizes.insert(sizes.end(), {in * out * window * window, out, out});
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
  sizes.insert(sizes.end(), {in * classes, classes});
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

/// Runs that a clustered list has one living among.
std::int64_t runs_a_living(int percent) {
  return 100 / (100 - percent);
}

}  // namespace

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

std::vector<ProxTensor> tensors_of(const ListShape& list, float* w, float* g, float* v) {
  std::vector<ProxTensor> tensors;
  for (std::size_t t = 0; t < list.sizes.size(); ++t) {
    const std::int64_t at = list.offsets[t];
    tensors.push_back({w + at, g + at, list.sizes[t], static_cast<std::int32_t>(t),
                       v == nullptr ? nullptr : v + at});
  }
  return tensors;
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
  in_parallel(threads, count, [&](std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t kPiece = 4096;
    for (; begin < end; begin += kPiece) {
      fill_piece(first, begin, std::min(begin + kPiece, end), to);
    }
  });
}

/// Entries [begin, end) of the block that starts at place `first`.
void ListSource::fill_piece(std::int64_t first, std::int64_t begin, std::int64_t end,
                            ListValues& to) const {
  const auto at = static_cast<std::size_t>(begin);
  const auto n = static_cast<std::size_t>(end - begin);
  const std::span<float> w = std::span(to.w).subspan(at, n);
  const std::span<float> g = std::span(to.g).subspan(at, n);
  draw(first + begin, w, 0.5f, kWeightStream);
  draw(first + begin, g, 1.0f, kGradientStream);
  if (!to.v.empty()) {
    draw(first + begin, std::span(to.v).subspan(at, n), 0.5f, kMomentumStream);
  }
  std::array<float, 4096> dice{};
  if (zeros_.places == ZeroPlaces::kRandom) {
    draw(first + begin, std::span(dice).first(n), 0.5f, kZeroStream);
  }
  const float below = static_cast<float>(zeros_.percent) / 100.0f - 0.5f;
  std::int64_t run = -1;
  bool zero = false;
  for (std::size_t i = 0; i < n; ++i) {
    if (zeros_.places == ZeroPlaces::kRandom) zero = dice[i] < below;
    if (zeros_.places == ZeroPlaces::kClustered) {
      const std::int64_t of = (first + begin + static_cast<std::int64_t>(i)) / run_;
      if (of != run) zero = run_is_zero(of);
      run = of;
    }
    w[i] = zero ? 0.0f : w[i] + std::copysign(0.5f, w[i]);
    g[i] = zero ? kZeroGradient * g[i] : -std::copysign(kLivingGradient + std::abs(g[i]), w[i]);
  }
}

/// Of every so many runs in sequence one is alive, at random.
bool ListSource::run_is_zero(std::int64_t run) const {
  const std::int64_t every = runs_a_living(zeros_.percent);
  const Philox words = Philox::block(kListSeed, static_cast<std::uint64_t>(run / every),
                                     kZeroStream, RandomPurpose::kInitialisation);
  return run % every != static_cast<std::int64_t>(words.words[0]) % every;
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

ListBuffers::ListBuffers(Backend& room, const ListShape& list, bool weights, bool gradients,
                         bool momentum)
    : w(room, weights ? list.extent : 0),
      g(room, gradients ? list.extent : 0),
      v(room, momentum ? list.extent : 0) {}

std::vector<std::uint64_t> upload_list(const Room& room, const ListShape& list,
                                       const ListSource& source, ListBuffers& to) {
  std::vector<std::uint64_t> nonzero(list.sizes.size(), 0);
  ListValues block = source.make_block(list.extent, to.v.size() > 0);
  for_blocks(list, [&](const ListPiece& piece) {
    source.fill(piece.first, piece.count, block, room.threads);
    const auto upload = [&](Array<float>& array, const std::vector<float>& values) {
      if (array.size() == 0) return;
      room.backend.upload(array.data() + piece.first, values.data(),
                          static_cast<std::size_t>(piece.count) * sizeof(float));
    };
    upload(to.w, block.w);
    upload(to.g, block.g);
    upload(to.v, block.v);
    nonzero[piece.tensor] += static_cast<std::uint64_t>(
        std::count_if(block.w.begin(), block.w.begin() + static_cast<std::ptrdiff_t>(piece.count),
                      [](float w) { return is_nonzero(w); }));
  });
  return nonzero;
}

}  // namespace cuthresh::bench
