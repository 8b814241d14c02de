#pragma once

// Entries of device arrays in 16-byte packs, the widest access there is: how a range divides into
// packs and a scalar head and tail, and loads and stores that name the global address space. A
// pointer that a kernel reads from a table compiles to generic LD/ST, which look the address space
// up for every access; these compile to ld.global and st.global.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/platform.hpp"
#if !defined(__CUDACC__)
#include <stdexcept>
#endif

namespace cuthresh {

inline constexpr std::size_t kPackBytes = 16;

/// kCount neighbouring entries, as many as fill one or more 16-byte accesses.
template <class T, int kCount = static_cast<int>(kPackBytes / sizeof(T))>
struct alignas(kPackBytes) Pack {
  static_assert(kCount * sizeof(T) % kPackBytes == 0);
  T value[kCount];
};

/// A range as [0, head) one by one, then `units` units, then the rest one by one.
template <class Index>
struct PackSplit {
  Index head;
  Index units;
};

CTH_HD bool is_pack_aligned(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % kPackBytes == 0;
}

/// Divides arrays that are walked together into units of kUnit entries that start at a 16-byte
/// boundary in each of them. Arrays that never do so at the same entry: all of it is head. `first`
/// has the smallest entries, so that its offset names the only head there can be.
template <int kUnit, class Index, class First, class... Rest>
CTH_HD PackSplit<Index> split_in_packs(Index size, const First* first, const Rest*... rest) {
  static_assert(kUnit * sizeof(First) == kPackBytes && (... && (sizeof(Rest) >= sizeof(First))));
  const std::size_t past = reinterpret_cast<std::uintptr_t>(first) % kPackBytes;
  const Index head = static_cast<Index>((kPackBytes - past) % kPackBytes / sizeof(First));
  if (head > size) return {size, 0};
  const bool together = is_pack_aligned(first + head) && (... && is_pack_aligned(rest + head));
  return together ? PackSplit<Index>{head, static_cast<Index>((size - head) / kUnit)}
                  : PackSplit<Index>{size, 0};
}

/// The entry that comes i-th among those outside the units.
template <int kUnit, class Index>
CTH_HD Index scalar_entry(const PackSplit<Index>& split, Index i) {
  return i < split.head ? i : i + split.units * kUnit;
}

namespace device {

#if defined(__CUDACC__)

// volatile and "memory" keep these in the order of the text, which therefore loads all that it can
// before it stores; ptxas still schedules them as plain loads and stores.
CTH_DEVICE void load_words(const void* from, std::uint32_t* to) {
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "l"(from)
               : "memory");
}
CTH_DEVICE void store_words(void* to, const std::uint32_t* from) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(from[0]), "r"(from[1]),
               "r"(from[2]), "r"(from[3])
               : "memory");
}
// Predicates, not branches: loads of several packs stay next to each other.
CTH_DEVICE void load_words_if(bool wanted, const void* from, std::uint32_t* to) {
  asm volatile(
      "{ .reg .pred wanted; setp.ne.u32 wanted, %5, 0; "
      "@wanted ld.global.v4.u32 {%0, %1, %2, %3}, [%4]; }"
      : "+r"(to[0]), "+r"(to[1]), "+r"(to[2]), "+r"(to[3])
      : "l"(from), "r"(wanted ? 1U : 0U)
      : "memory");
}
CTH_DEVICE void store_words_if(bool wanted, void* to, const std::uint32_t* from) {
  asm volatile(
      "{ .reg .pred wanted; setp.ne.u32 wanted, %5, 0; "
      "@wanted st.global.v4.u32 [%0], {%1, %2, %3, %4}; }" ::"l"(to),
      "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]), "r"(wanted ? 1U : 0U)
      : "memory");
}

template <class T>
CTH_DEVICE T load_global(const T* from) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
  if constexpr (sizeof(T) == 2) {
    std::uint16_t bits;
    asm volatile("ld.global.u16 %0, [%1];" : "=h"(bits) : "l"(from) : "memory");
    return __builtin_bit_cast(T, bits);
  } else if constexpr (sizeof(T) == 4) {
    std::uint32_t bits;
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(bits) : "l"(from) : "memory");
    return __builtin_bit_cast(T, bits);
  } else {
    std::uint64_t bits;
    asm volatile("ld.global.u64 %0, [%1];" : "=l"(bits) : "l"(from) : "memory");
    return __builtin_bit_cast(T, bits);
  }
}

template <class T>
CTH_DEVICE void store_global(T* to, T value) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
  // Not const: nvcc 13.0 crashes on a constant made by a bit cast of a template's argument.
  if constexpr (sizeof(T) == 2) {
    auto bits = __builtin_bit_cast(std::uint16_t, value);
    asm volatile("st.global.u16 [%0], %1;" ::"l"(to), "h"(bits) : "memory");
  } else if constexpr (sizeof(T) == 4) {
    auto bits = __builtin_bit_cast(std::uint32_t, value);
    asm volatile("st.global.u32 [%0], %1;" ::"l"(to), "r"(bits) : "memory");
  } else {
    auto bits = __builtin_bit_cast(std::uint64_t, value);
    asm volatile("st.global.u64 [%0], %1;" ::"l"(to), "l"(bits) : "memory");
  }
}

#else

// On a GPU a misaligned pack is a fault; here too, or no test would see it on a processor that
// forgives.
inline void expect_pack_aligned(const void* p) {
  if (!is_pack_aligned(p)) throw std::logic_error("misaligned 16-byte access in a kernel");
}
CTH_DEVICE void load_words(const void* from, std::uint32_t* to) {
  expect_pack_aligned(from);
  std::memcpy(to, from, kPackBytes);
}
CTH_DEVICE void store_words(void* to, const std::uint32_t* from) {
  expect_pack_aligned(to);
  std::memcpy(to, from, kPackBytes);
}
CTH_DEVICE void load_words_if(bool wanted, const void* from, std::uint32_t* to) {
  if (wanted) load_words(from, to);
}
CTH_DEVICE void store_words_if(bool wanted, void* to, const std::uint32_t* from) {
  if (wanted) store_words(to, from);
}
template <class T>
CTH_DEVICE T load_global(const T* from) {
  return *from;
}
template <class T>
CTH_DEVICE void store_global(T* to, T value) {
  *to = value;
}

#endif

/// The words of a pack.
template <class T, int kCount>
struct PackWords {
  static constexpr int kPacks = static_cast<int>(sizeof(Pack<T, kCount>) / kPackBytes);
  static constexpr int kEntries = static_cast<int>(kPackBytes / sizeof(T));  // of 16 bytes
  std::uint32_t word[4 * kPacks];
};

/// `from` lies at a 16-byte boundary.
template <int kCount, class T>
CTH_DEVICE Pack<T, kCount> load_pack(const T* from) {
  using Words = PackWords<T, kCount>;
  Words words;
  CTH_UNROLL
  for (int i = 0; i < Words::kPacks; ++i) {
    load_words(from + i * Words::kEntries, words.word + 4 * i);
  }
  return __builtin_bit_cast(Pack<T, kCount>, words);
}
template <class T>
CTH_DEVICE Pack<T> load_pack(const T* from) {
  return load_pack<static_cast<int>(kPackBytes / sizeof(T))>(from);
}
/// Zeros where it is not wanted: then nothing is read.
template <int kCount, class T>
CTH_DEVICE Pack<T, kCount> load_pack_if(bool wanted, const T* from) {
  using Words = PackWords<T, kCount>;
  Words words = {};
  CTH_UNROLL
  for (int i = 0; i < Words::kPacks; ++i) {
    load_words_if(wanted, from + i * Words::kEntries, words.word + 4 * i);
  }
  return __builtin_bit_cast(Pack<T, kCount>, words);
}

template <class T, int kCount>
CTH_DEVICE void store_pack(T* to, const Pack<T, kCount>& pack) {
  using Words = PackWords<T, kCount>;
  const Words words = __builtin_bit_cast(Words, pack);
  CTH_UNROLL
  for (int i = 0; i < Words::kPacks; ++i) {
    store_words(to + i * Words::kEntries, words.word + 4 * i);
  }
}
template <class T, int kCount>
CTH_DEVICE void store_pack_if(bool wanted, T* to, const Pack<T, kCount>& pack) {
  using Words = PackWords<T, kCount>;
  const Words words = __builtin_bit_cast(Words, pack);
  CTH_UNROLL
  for (int i = 0; i < Words::kPacks; ++i) {
    store_words_if(wanted, to + i * Words::kEntries, words.word + 4 * i);
  }
}

/// Whether any bit of it is set; −0 has one.
template <class T, int kCount>
CTH_DEVICE bool has_bits(const Pack<T, kCount>& pack) {
  using Words = PackWords<T, kCount>;
  const Words words = __builtin_bit_cast(Words, pack);
  std::uint32_t all = 0;
  CTH_UNROLL
  for (int i = 0; i < 4 * Words::kPacks; ++i) all |= words.word[i];
  return all != 0;
}

}  // namespace device
}  // namespace cuthresh
