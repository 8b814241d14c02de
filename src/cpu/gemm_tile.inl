// Matrix products in register tiles, part of loops.inl. Every element of c is one chain of fused
// multiply-adds over k in order, started from 0 or from c: exactly gemm_plain's, so the two agree
// to the bit on every instruction set, whatever the tile. Tiles change only which elements are
// worked on together.
//
// AVX-512: 12 x 32 floats in 24 registers, one broadcast from memory for two multiply-adds. AVX2: 6
// x 16. b is copied into panels as wide as a tile first: its rows lie 512 bytes apart in a layer
// 128 wide, so that a strip of them falls into 8 of the 64 sets of the first-level cache.

#if defined(__AVX512F__) || defined(__AVX2__)

#if defined(__AVX512F__)
struct Lanes {
  static constexpr int kWidth = 16;
  static constexpr int kRows = 12;
  using Vector = __m512;
  using Mask = __mmask16;
  static CTH_HD Mask mask(int64_t n) {
    return static_cast<Mask>(n >= 16 ? 0xffffU : (1U << n) - 1U);
  }
  static CTH_HD Vector load(const float* p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  static CTH_HD Vector load(const float* p) { return _mm512_loadu_ps(p); }
  static CTH_HD void store(float* p, Mask m, Vector v) { _mm512_mask_storeu_ps(p, m, v); }
  static CTH_HD void store_whole(float* p, Vector v) { _mm512_storeu_ps(p, v); }
  static CTH_HD Vector broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static CTH_HD Vector zero() { return _mm512_setzero_ps(); }
  static CTH_HD Vector multiply_add(Vector a, Vector b, Vector c) {
    return _mm512_fmadd_ps(a, b, c);
  }
};
#else
struct Lanes {
  static constexpr int kWidth = 8;
  static constexpr int kRows = 6;
  using Vector = __m256;
  using Mask = __m256i;
  static CTH_HD Mask mask(int64_t n) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 8 ? n : 8)), index);
  }
  static CTH_HD Vector load(const float* p, Mask m) { return _mm256_maskload_ps(p, m); }
  static CTH_HD Vector load(const float* p) { return _mm256_loadu_ps(p); }
  static CTH_HD void store(float* p, Mask m, Vector v) { _mm256_maskstore_ps(p, m, v); }
  static CTH_HD void store_whole(float* p, Vector v) { _mm256_storeu_ps(p, v); }
  static CTH_HD Vector broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static CTH_HD Vector zero() { return _mm256_setzero_ps(); }
  static CTH_HD Vector multiply_add(Vector a, Vector b, Vector c) {
    return _mm256_fmadd_ps(a, b, c);
  }
};
#endif

// Blocks: 128 of k, for which a panel of b (128 x 32 floats, 16 KiB) and a strip of a (128 x 12, 6
// KiB) share the first-level cache; 264 of m when a is packed, which takes 140 KiB of the second.
// Between blocks of k the sums rest in c, which changes no bit.
constexpr int64_t kPanel = 2 * Lanes::kWidth;
constexpr int64_t kDepth = 128;
constexpr int64_t kStrips = 22;
// Not a power of two (1120 bytes; AVX2: 560), so that the rows of a strip spread over the cache.
constexpr int64_t kStripStride = kStrips * Lanes::kRows + Lanes::kWidth;
constexpr int64_t kPackedB = kDepth * kPanel;
constexpr int64_t kPackedA = kDepth * kStripStride;
static_assert(kPackedB + kPackedA + Lanes::kWidth * kPanel <= kGemmScratch);

// to[p·stride + j] = from[j·ld + p] for j < n, p < k, in squares of 4 x 4 turned in registers
// (single loads take four times as long; gathers are slow where microcode guards them).
CTH_HD void turn(const float* from, int64_t ld, int64_t n, int64_t k, float* to, int64_t stride) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    const float* row = from + j * ld;
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) {
      __m128 r0 = _mm_loadu_ps(row + p);
      __m128 r1 = _mm_loadu_ps(row + ld + p);
      __m128 r2 = _mm_loadu_ps(row + 2 * ld + p);
      __m128 r3 = _mm_loadu_ps(row + 3 * ld + p);
      _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
      _mm_storeu_ps(to + p * stride + j, r0);
      _mm_storeu_ps(to + (p + 1) * stride + j, r1);
      _mm_storeu_ps(to + (p + 2) * stride + j, r2);
      _mm_storeu_ps(to + (p + 3) * stride + j, r3);
    }
    for (; p < k; ++p) {
      for (int64_t i = 0; i < 4; ++i) to[p * stride + j + i] = row[i * ld + p];
    }
  }
  for (; j < n; ++j) {
    for (int64_t p = 0; p < k; ++p) to[p * stride + j] = from[j * ld + p];
  }
}

// A panel of b: b(p, j) = b[p·row + j·column], one of the two being 1, into [depth, kPanel]. Lanes
// past the last column are zero.
void pack_b(const float* b, int64_t row, int64_t column, int64_t depth, int64_t columns,
            float* to) {
  if (column != 1) {
    turn(b, column, columns, depth, to, kPanel);
    for (int64_t p = 0; p < depth && columns < kPanel; ++p) {
      for (int64_t j = columns; j < kPanel; ++j) to[p * kPanel + j] = 0.0f;
    }
  } else if (columns == kPanel) {
    for (int64_t p = 0; p < depth; ++p, b += row, to += kPanel) {
      Lanes::store_whole(to, Lanes::load(b));
      Lanes::store_whole(to + Lanes::kWidth, Lanes::load(b + Lanes::kWidth));
    }
  } else {
    const Lanes::Mask first = Lanes::mask(columns);
    const Lanes::Mask second = Lanes::mask(columns > Lanes::kWidth ? columns - Lanes::kWidth : 0);
    for (int64_t p = 0; p < depth; ++p, b += row, to += kPanel) {
      Lanes::store_whole(to, Lanes::load(b, first));
      Lanes::store_whole(to + Lanes::kWidth, Lanes::load(b + Lanes::kWidth, second));
    }
  }
}

// A transposed a, whose rows are the columns of the product's a: the same rows, closer together.
void pack_a(const float* a, int64_t column, int64_t depth, int64_t rows, float* to) {
  const int64_t whole = rows / Lanes::kWidth * Lanes::kWidth;
  const Lanes::Mask rest = Lanes::mask(rows - whole);
  for (int64_t p = 0; p < depth; ++p, a += column, to += kStripStride) {
    for (int64_t i = 0; i < whole; i += Lanes::kWidth)
      Lanes::store_whole(to + i, Lanes::load(a + i));
    if (whole < rows) Lanes::store(to + whole, rest, Lanes::load(a + whole, rest));
  }
}

struct TileArgs {
  int64_t k;
  const float* a;
  int64_t a_row;
  int64_t a_column;
  const float* b;
  int64_t b_row;
  bool accumulate;
  float* c;
  int64_t c_row;
  Lanes::Mask last;  // lanes of the tile's last vector that exist in c
};

template <int N>
struct Constant {
  static constexpr int value = N;
};

// f(0) … f(N − 1) with indices the compiler knows from the start: sums indexed by a loop's variable
// are unrolled too late to stay in registers between the parts of a tile.
template <int N, class F>
CTH_HD void unroll(F& f) {
  if constexpr (N > 0) {
    unroll<N - 1>(f);
    f(Constant<N - 1>{});
  }
}
#define CTH_INLINE __attribute__((always_inline))

// R rows by V vectors. The arguments are copied, since c could be anything to the compiler; one of
// four pointers reaches each row of a with an offset that the address can hold (a pointer or an
// offset a row spills).
template <int R, int V>
void tile(const TileArgs& args) {
  const TileArgs t = args;
  Lanes::Vector sum[R * V];
  if (t.accumulate) {
    auto load = [&](auto i) CTH_INLINE {
      constexpr int r = decltype(i)::value / V;
      constexpr int v = decltype(i)::value % V;
      const float* from = t.c + r * t.c_row + v * Lanes::kWidth;
      sum[decltype(i)::value] = v + 1 == V ? Lanes::load(from, t.last) : Lanes::load(from);
    };
    unroll<R * V>(load);
  } else {
    auto clear = [&](auto i) CTH_INLINE { sum[decltype(i)::value] = Lanes::zero(); };
    unroll<R * V>(clear);
  }
  constexpr int kBases = (R + 2) / 3;
  const float* base[kBases];
  auto place = [&](auto i) CTH_INLINE {
    base[decltype(i)::value] = t.a + 3 * decltype(i)::value * t.a_row;
  };
  unroll<kBases>(place);
  const float* b = t.b;
  for (int64_t p = 0; p < t.k; ++p, b += t.b_row) {
    Lanes::Vector row[V];
    auto read = [&](auto v) CTH_INLINE {
      row[decltype(v)::value] = Lanes::load(b + decltype(v)::value * Lanes::kWidth);
    };
    unroll<V>(read);
    auto multiply = [&](auto i) CTH_INLINE {
      constexpr int r = decltype(i)::value;
      const Lanes::Vector factor = Lanes::broadcast(base[r / 3] + r % 3 * t.a_row);
      auto add = [&](auto v) CTH_INLINE {
        constexpr int at = r * V + decltype(v)::value;
        sum[at] = Lanes::multiply_add(factor, row[decltype(v)::value], sum[at]);
      };
      unroll<V>(add);
    };
    unroll<R>(multiply);
    auto advance = [&](auto i) CTH_INLINE { base[decltype(i)::value] += t.a_column; };
    unroll<kBases>(advance);
  }
  auto store = [&](auto i) CTH_INLINE {
    constexpr int r = decltype(i)::value / V;
    constexpr int v = decltype(i)::value % V;
    float* to = t.c + r * t.c_row + v * Lanes::kWidth;
    if constexpr (v + 1 == V) {
      Lanes::store(to, t.last, sum[decltype(i)::value]);
    } else {
      Lanes::store_whole(to, sum[decltype(i)::value]);
    }
  };
  unroll<R * V>(store);
}

using TileFunction = void (*)(const TileArgs&);

template <int V, int... R>
CTH_HD TileFunction pick_tile(int rows) {
  static constexpr TileFunction kTiles[] = {tile<R, V>...};
  return kTiles[rows - 1];
}

template <int V>
CTH_HD TileFunction tile_of(int rows) {
#if defined(__AVX512F__)
  return pick_tile<V, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(rows);
#else
  return pick_tile<V, 1, 2, 3, 4, 5, 6>(rows);
#endif
}

// c[rows, columns] of one strip of a and one panel of b, columns at most kPanel.
CTH_HD void multiply_tile(int64_t rows, int64_t columns, const TileArgs& args) {
  (columns > Lanes::kWidth ? tile_of<2> : tile_of<1>)(static_cast<int>(rows))(args);
}

CTH_HD Lanes::Mask last_lanes(int64_t columns) {
  return Lanes::mask(columns > Lanes::kWidth ? columns - Lanes::kWidth : columns);
}

// With fewer columns than lanes most of each vector would be idle; the product is then taken the
// other way round, cᵀ = bᵀ·aᵀ, a panel of c at a time: the same chains of multiply-adds.
void multiply_narrow(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row,
                     int64_t a_column, const float* b, int64_t b_row, int64_t b_column,
                     bool accumulate, float* c, int64_t ldc, float* scratch) {
  float* turned = scratch + kPackedB + kPackedA;  // [n, kPanel]
  for (int64_t i = 0; i < m; i += kPanel) {
    const int64_t rows = m - i < kPanel ? m - i : kPanel;
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t r = 0; r < rows; ++r) {
        turned[j * kPanel + r] = accumulate ? c[(i + r) * ldc + j] : 0.0f;
      }
    }
    const Lanes::Mask last = last_lanes(rows);
    for (int64_t first = 0; first < k; first += kDepth) {
      const int64_t depth = k - first < kDepth ? k - first : kDepth;
      pack_b(a + i * a_row + first * a_column, a_column, a_row, depth, rows, scratch);
      for (int64_t j = 0; j < n; j += Lanes::kRows) {
        multiply_tile(n - j < Lanes::kRows ? n - j : Lanes::kRows, rows,
                      {depth, b + first * b_row + j * b_column, b_column, b_row, scratch, kPanel,
                       true, turned + j * kPanel, kPanel, last});
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t r = 0; r < rows; ++r) c[(i + r) * ldc + j] = turned[j * kPanel + r];
    }
  }
}

void gemm_tiled(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column,
                const float* b, int64_t b_row, int64_t b_column, bool accumulate, float* c,
                int64_t ldc, float* scratch) {
  if (n < Lanes::kWidth && n < m) {
    multiply_narrow(m, n, k, a, a_row, a_column, b, b_row, b_column, accumulate, c, ldc, scratch);
    return;
  }
  if (m <= Lanes::kRows && b_column == 1 && n % kPanel == 0) {
    // One strip: a packed b would be read once only.
    for (int64_t j = 0; j < n; j += kPanel) {
      multiply_tile(
          m, kPanel,
          {k, a, a_row, a_column, b + j, b_row, accumulate, c + j, ldc, last_lanes(kPanel)});
    }
    return;
  }
  const bool pack = a_row == 1;
  const int64_t rows_at_once = pack ? kStrips * Lanes::kRows : m;
  for (int64_t first = 0; first < k || (first == 0 && k == 0); first += kDepth) {
    const int64_t depth = k - first < kDepth ? k - first : kDepth;
    for (int64_t top = 0; top < m; top += rows_at_once) {
      const int64_t rows = m - top < rows_at_once ? m - top : rows_at_once;
      const float* strips = a + top * a_row + first * a_column;
      int64_t column = a_column;
      if (pack) {
        pack_a(strips, a_column, depth, rows, scratch + kPackedB);
        strips = scratch + kPackedB;
        column = kStripStride;
      }
      for (int64_t j = 0; j < n; j += kPanel) {
        const int64_t columns = n - j < kPanel ? n - j : kPanel;
        pack_b(b + first * b_row + j * b_column, b_row, b_column, depth, columns, scratch);
        const Lanes::Mask last = last_lanes(columns);
        for (int64_t i = 0; i < rows; i += Lanes::kRows) {
          multiply_tile(rows - i < Lanes::kRows ? rows - i : Lanes::kRows, columns,
                        {depth, strips + i * a_row, a_row, column, scratch, kPanel,
                         accumulate || first > 0, c + (top + i) * ldc + j, ldc, last});
        }
      }
    }
  }
}

#else

void gemm_tiled(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column,
                const float* b, int64_t b_row, int64_t b_column, bool accumulate, float* c,
                int64_t ldc, float*) {
  gemm_plain(m, n, k, a, a_row, a_column, b, b_row, b_column, accumulate, c, ldc);
}

#endif
