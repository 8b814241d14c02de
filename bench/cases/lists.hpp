#pragma once

// Lists of weights that cases work on: sizes, places in a buffer, and random values that the host
// gives again for any piece, so that a check needs no copy of the whole list.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "backend/backend.hpp"
#include "bench/core/case.hpp"
#include "core/array.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh::bench {

/// Tensors in one buffer, as nn::Parameters lays them out: each on 64 bytes, where an entry has
/// four. Small lists (smoke) have no gaps, so that a check meets every alignment.
struct ListShape {
  std::string name;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> offsets;  ///< elements
  std::int64_t weights = 0;
  std::int64_t extent = 0;  ///< elements of a buffer, gaps included

  std::int64_t buffer_bytes() const { return extent * static_cast<std::int64_t>(sizeof(float)); }
  std::int32_t tensors() const { return static_cast<std::int32_t>(sizes.size()); }
  std::string text() const;  ///< "25408 weights in 4 tensors"
};

/// 25k_4: the Mackey-Glass network; 687k_5: the paper's convolutional one; 25m_161: a ResNet-50;
/// 25m_1, 64m: one tensor; 1g_200. When small, as many tensors with a few thousand weights in all.
ListShape make_list(const std::string& name, bool small);

/// Another λ for each tensor: from `least` up to twice that.
std::vector<float> lambdas_of(const ListShape& list, float least);

inline constexpr std::uint64_t kListSeed = 4711;
/// to[i] = what initialise_uniform writes to place first + i.
void draw(std::int64_t first, std::span<float> to, float bound, std::uint32_t stream);

enum class ZeroPlaces : std::uint8_t {
  kNone,
  kRandom,    ///< each for itself
  kClustered  ///< whole runs of 4096 entries, shorter in lists of less than a million
};

struct Zeros {
  ZeroPlaces places = ZeroPlaces::kNone;
  int percent = 0;  ///< 50, 90 or 99
  std::string name() const;
  std::string text() const;
};

/// Values at [first, first + count) of a list.
struct ListValues {
  std::vector<float> w, g, v;
};

/// Weights, gradients and momenta whose pattern of zeros every step keeps, however many are taken:
/// zeros have |g| ≤ 1/16 and |v| ≤ 1/2, which a momentum of up to 0.9 keeps below 0.63, and any λ
/// is at least 1; the others have 1/2 ≤ |w| ≤ 1 and 2 ≤ |g| ≤ 3, above any λ < 2, with the sign
/// that drives w away from zero.
class ListSource {
 public:
  ListSource(const ListShape& list, const Zeros& zeros);
  /// Room for `most` values; with v when `momentum`.
  ListValues make_block(std::int64_t most, bool momentum) const;
  void fill(std::int64_t first, std::int64_t count, ListValues& to, std::int64_t threads) const;

 private:
  void fill_piece(std::int64_t first, std::int64_t begin, std::int64_t end, ListValues& to) const;
  std::uint64_t percent_in(std::int64_t run) const;

  Zeros zeros_;
  std::int64_t run_ = 1;
};

/// Entries that the host looks at in one go.
inline constexpr std::int64_t kListBlock = std::int64_t{1} << 20;

/// A piece of a list, of one tensor.
struct ListPiece {
  std::size_t tensor = 0;
  std::int64_t first = 0;  ///< place in the buffer
  std::int64_t count = 0;
};
void for_blocks(const ListShape& list, const std::function<void(const ListPiece&)>& look);

/// work(begin, end) for parts of [0, size), one a thread where that pays.
void in_parallel(std::int64_t threads, std::int64_t size,
                 const std::function<void(std::int64_t, std::int64_t)>& work);

/// x in the type that a plan of `Storage` computes with; in float64 with places that x has not.
template <class Storage>
typename StorageTraits<Storage>::Compute list_value(float x) {
  if constexpr (std::is_same_v<Storage, double>) {
    return static_cast<double>(x) * (1.0 + 0x1p-26 / 3.0);
  } else {
    return x;
  }
}
/// The same as it is stored.
template <class Storage>
Storage list_stored(float x) {
  return StorageTraits<Storage>::narrow(list_value<Storage>(x));
}

/// One copy of a list in a room. What is not wanted is empty; a master copy goes with 16-bit
/// weights.
template <class Storage>
struct ListBuffersOf {
  using Compute = typename StorageTraits<Storage>::Compute;

  ListBuffersOf(Backend& room, const ListShape& list, bool weights, bool gradients, bool momentum);
  void copy_from(const ListBuffersOf& other);

  Array<Storage> w, g;
  Array<Compute> v, master;
};
using ListBuffers = ListBuffersOf<float>;

/// Every tensor with a group of its own. All but `w` may be null.
template <class Storage, class Compute = typename StorageTraits<Storage>::Compute>
std::vector<ProxTensor> tensors_of(const ListShape& list, Storage* w, Storage* g,
                                   std::type_identity_t<Compute>* v = nullptr,
                                   std::type_identity_t<Compute>* master = nullptr) {
  const auto from = [](auto* array, std::int64_t at) {
    return array == nullptr ? nullptr : array + at;
  };
  std::vector<ProxTensor> tensors;
  for (std::size_t t = 0; t < list.sizes.size(); ++t) {
    const std::int64_t at = list.offsets[t];
    ProxTensor tensor;
    tensor.w = w + at;
    tensor.g = from(g, at);
    tensor.size = list.sizes[t];
    tensor.group = static_cast<std::int32_t>(t);
    tensor.v = from(v, at);
    if constexpr (StorageTraits<Storage>::kMaster) tensor.master = from(master, at);
    tensors.push_back(tensor);
  }
  return tensors;
}

/// The values of `source` into `to`; returns the nonzero weights of each tensor.
template <class Storage>
std::vector<std::uint64_t> upload_list(const Room& room, const ListShape& list,
                                       const ListSource& source, ListBuffersOf<Storage>& to);

}  // namespace cuthresh::bench
