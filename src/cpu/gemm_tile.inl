// Matrix products in register tiles, part of loops.inl. Every element of c is one chain of fused
// multiply-adds over k in order, started from 0 or from c: exactly gemm_plain's, so the two agree
// to the bit on every instruction set, whatever the tile. Tiles change only which elements are
// worked on together.
//
// AVX-512: 12 x 32 floats in 24 registers, one broadcast from memory for two multiply-adds. AVX2: 6
// x 16.

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
  static CTH_HD Vector broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static CTH_HD Vector zero() { return _mm256_setzero_ps(); }
  static CTH_HD Vector multiply_add(Vector a, Vector b, Vector c) {
    return _mm256_fmadd_ps(a, b, c);
  }
};
#endif

struct TileArgs {
  int64_t k;
  const float* a;
  int64_t a_row;
  int64_t a_column;
  const float* b;
  int64_t ldb;
  bool accumulate;
  float* c;
  int64_t ldc;
  Lanes::Mask last;  // lanes of the tile's last vector that exist
};

// R rows by V vectors; `whole` says that the last vector is full, which spares the masks in the
// inner loop.
template <int R, int V, bool whole>
void tile(const TileArgs& t) {
  Lanes::Vector sum[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) {
      const float* from = t.c + r * t.ldc + v * Lanes::kWidth;
      if (!t.accumulate) {
        sum[r][v] = Lanes::zero();
      } else {
        sum[r][v] = v + 1 == V ? Lanes::load(from, t.last) : Lanes::load(from);
      }
    }
  }
  const float* a = t.a;
  const float* b = t.b;
  for (int64_t p = 0; p < t.k; ++p, a += t.a_column, b += t.ldb) {
    // b's rows lie far apart, which the hardware prefetcher does not follow into the first level.
    for (int v = 0; v < V; ++v) __builtin_prefetch(b + 8 * t.ldb + v * Lanes::kWidth);
    Lanes::Vector row[V];
    for (int v = 0; v < V; ++v) {
      row[v] = whole || v + 1 < V ? Lanes::load(b + v * Lanes::kWidth)
                                  : Lanes::load(b + v * Lanes::kWidth, t.last);
    }
    for (int r = 0; r < R; ++r) {
      const Lanes::Vector factor = Lanes::broadcast(a + r * t.a_row);
      for (int v = 0; v < V; ++v) sum[r][v] = Lanes::multiply_add(factor, row[v], sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) {
      float* to = t.c + r * t.ldc + v * Lanes::kWidth;
      Lanes::store(to, v + 1 == V ? t.last : Lanes::mask(Lanes::kWidth), sum[r][v]);
    }
  }
}

using TileFunction = void (*)(const TileArgs&);

template <int V, bool whole, int... R>
CTH_HD TileFunction pick_tile(int rows) {
  static constexpr TileFunction kTiles[] = {tile<R, V, whole>...};
  return kTiles[rows - 1];
}

template <int V, bool whole>
CTH_HD TileFunction tile_of(int rows) {
#if defined(__AVX512F__)
  return pick_tile<V, whole, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(rows);
#else
  return pick_tile<V, whole, 1, 2, 3, 4, 5, 6>(rows);
#endif
}

void gemm_tiled(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column,
                const float* b, int64_t ldb, bool accumulate, float* c, int64_t ldc) {
  // A tile's strip of a (12 x 512 floats, 24 KiB) stays in the first-level cache, b's panel (64
  // KiB) in the second. Between blocks of k the sums rest in c, which changes no bit.
  constexpr int64_t kBlock = 512;
  constexpr int64_t kPanel = 2 * Lanes::kWidth;
  for (int64_t first = 0; first < k || (first == 0 && k == 0); first += kBlock) {
    const int64_t depth = k - first < kBlock ? k - first : kBlock;
    for (int64_t j = 0; j < n; j += kPanel) {
      const int64_t columns = n - j < kPanel ? n - j : kPanel;
      const bool two = columns > Lanes::kWidth;
      const int64_t in_last = two ? columns - Lanes::kWidth : columns;
      const bool whole = in_last == Lanes::kWidth;
      for (int64_t i = 0; i < m; i += Lanes::kRows) {
        const int rows = static_cast<int>(m - i < Lanes::kRows ? m - i : Lanes::kRows);
        const TileFunction f = two ? (whole ? tile_of<2, true>(rows) : tile_of<2, false>(rows))
                                   : (whole ? tile_of<1, true>(rows) : tile_of<1, false>(rows));
        f({depth, a + i * a_row + first * a_column, a_row, a_column, b + first * ldb + j, ldb,
           accumulate || first > 0, c + i * ldc + j, ldc, Lanes::mask(in_last)});
      }
    }
  }
}

#else

void gemm_tiled(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column,
                const float* b, int64_t ldb, bool accumulate, float* c, int64_t ldc) {
  gemm_plain(m, n, k, a, a_row, a_column, b, ldb, accumulate, c, ldc);
}

#endif

// to[p, j] = from[j, p]: [n, k] with rows ld apart to dense [k, n], in squares of 4 x 4 turned in
// registers (single loads take four times as long; gathers are slow where microcode guards them).
void transpose(const float* __restrict from, int64_t ld, int64_t n, int64_t k,
               float* __restrict to) {
  int64_t j = 0;
#if defined(__AVX2__)
  for (; j + 4 <= n; j += 4) {
    const float* row = from + j * ld;
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) {
      __m128 r0 = _mm_loadu_ps(row + p);
      __m128 r1 = _mm_loadu_ps(row + ld + p);
      __m128 r2 = _mm_loadu_ps(row + 2 * ld + p);
      __m128 r3 = _mm_loadu_ps(row + 3 * ld + p);
      _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
      _mm_storeu_ps(to + p * n + j, r0);
      _mm_storeu_ps(to + (p + 1) * n + j, r1);
      _mm_storeu_ps(to + (p + 2) * n + j, r2);
      _mm_storeu_ps(to + (p + 3) * n + j, r3);
    }
    for (; p < k; ++p) {
      for (int64_t i = 0; i < 4; ++i) to[p * n + j + i] = row[i * ld + p];
    }
  }
#endif
  for (; j < n; ++j) {
    for (int64_t p = 0; p < k; ++p) to[p * n + j] = from[j * ld + p];
  }
}
