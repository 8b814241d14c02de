// The loops of list_loops.hpp. Included by loops.inl.

// Counters inside a strip are 32-bit, so that they vectorise beside 32-bit data.
constexpr int64_t kStrip = 1 << 16;

/// What is not used by the step or the dtype is null.
template <class Storage, class Step, class Compute, class Penalty>
StepCounts step_tensor(Step step, Compute* __restrict w, Storage* __restrict stored,
                       const Storage* __restrict g, Compute* __restrict v, int64_t n,
                       Penalty penalty) {
  using Traits = StorageTraits<Storage>;
  StepCounts counts;
  for (int64_t first = 0; first < n; first += kStrip) {
    const int64_t end = first + kStrip < n ? first + kStrip : n;
    int32_t nonzero = 0;
    int32_t nonfinite = 0;
    for (int64_t i = first; i < end; ++i) {
      Compute z;
      if constexpr (Step::kMomentum) {
        z = step(w[i], widen(g[i]), v[i]);
      } else if constexpr (Step::kGradient) {
        z = step(w[i], widen(g[i]));
      } else {
        z = step(w[i]);
      }
      w[i] = penalty(z, i);
      const Storage kept = Traits::narrow(w[i]);
      if constexpr (Traits::kMaster) stored[i] = kept;
      nonzero += is_nonzero(kept) ? 1 : 0;
      nonfinite += is_finite(kept) ? 0 : 1;
    }
    counts.nonzero += nonzero;
    counts.nonfinite += nonfinite;
  }
  return counts;
}

template <class Storage, class Compute, class Penalty>
StepCounts any_step(StepKind kind, const ListArrays<Storage>& a, int64_t n,
                    const StepRateOf<Compute>& rate, Penalty penalty) {
  Storage* const stored = StorageTraits<Storage>::kMaster ? a.stored : nullptr;
  Compute* const none = nullptr;
  switch (kind) {
    case StepKind::kPlain:
      break;
    case StepKind::kMomentum:
      return step_tensor<Storage>(MomentumStep<Compute>{rate}, a.weight, stored, a.g, a.v, n,
                                  penalty);
    case StepKind::kNesterov:
      return step_tensor<Storage>(NesterovStep<Compute>{rate}, a.weight, stored, a.g, a.v, n,
                                  penalty);
    case StepKind::kThreshold:
      return step_tensor<Storage>(ThresholdStep<Compute>{rate}, a.weight, stored, nullptr, none, n,
                                  penalty);
  }
  return step_tensor<Storage>(PlainStep<Compute>{rate}, a.weight, stored, a.g, none, n, penalty);
}

template <class Storage, class Compute>
StepCounts prox_step(StepKind kind, const ListArrays<Storage>& a, int64_t n,
                     const StepRateOf<Compute>& rate, Compute threshold) {
  return any_step(kind, a, n, rate, typename L1Penalty<Compute>::OnTile{threshold});
}

template <class Storage, class Compute>
StepCounts frozen_step(StepKind kind, const ListArrays<Storage>& a, int64_t n,
                       const StepRateOf<Compute>& rate, const uint32_t* bits) {
  return any_step(kind, a, n, rate, typename FrozenSupport<Compute>::OnTile{bits});
}

template <class Storage>
StepCounts count_entries(const Storage* w, int64_t n) {
  StepCounts counts;
  for (int64_t first = 0; first < n; first += kStrip) {
    const int64_t end = first + kStrip < n ? first + kStrip : n;
    int32_t nonzero = 0;
    int32_t nonfinite = 0;
    for (int64_t i = first; i < end; ++i) {
      nonzero += is_nonzero(w[i]) ? 1 : 0;
      nonfinite += is_finite(w[i]) ? 0 : 1;
    }
    counts.nonzero += nonzero;
    counts.nonfinite += nonfinite;
  }
  return counts;
}

template <class Storage, class Compute>
int64_t keep_largest(const ListArrays<Storage>& a, int64_t n, const KeepLargestOf<Compute>& keep,
                     int64_t ties_end) {
  using Traits = StorageTraits<Storage>;
  Compute* const w = a.weight;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    w[i] = keep(w[i], i < ties_end);
    const Storage kept = Traits::narrow(w[i]);
    if constexpr (Traits::kMaster) a.stored[i] = kept;
    count += is_nonzero(kept) ? 1 : 0;
  }
  return count;
}

template <class Storage>
int64_t count_nonzero(const Storage* w, int64_t n) {
  int64_t count = 0;
  for (int64_t first = 0; first < n; first += kStrip) {
    const int64_t end = first + kStrip < n ? first + kStrip : n;
    int32_t nonzero = 0;
    for (int64_t i = first; i < end; ++i) nonzero += is_nonzero(w[i]) ? 1 : 0;
    count += nonzero;
  }
  return count;
}

template <class Storage, class Compute>
KktKeys kkt(const Storage* w, const Storage* g, int64_t n, Compute lambda) {
  const KktResidual<Compute> residual{lambda};
  // Both keys of a block first, their maxima after that: in one loop with its branch on w, which
  // cannot be predicted, nothing vectorises, and it takes five times as long.
  constexpr int64_t kBlock = 512;
  uint32_t nonzero_keys[kBlock];
  uint32_t zero_keys[kBlock];
  uint32_t on_nonzero = 0;
  uint32_t on_zero = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t size = n - begin < kBlock ? n - begin : kBlock;
    for (int64_t i = 0; i < size; ++i) {
      const Compute value = widen(w[begin + i]);
      const Compute gradient = widen(g[begin + i]);
      const uint32_t live = is_nonzero(value) ? ~0U : 0U;
      nonzero_keys[i] =
          magnitude_key(static_cast<float>(residual.on_nonzero(value, gradient))) & live;
      zero_keys[i] = magnitude_key(static_cast<float>(residual.on_zero(gradient))) & ~live;
    }
    for (int64_t i = 0; i < size; ++i) {
      on_nonzero = nonzero_keys[i] > on_nonzero ? nonzero_keys[i] : on_nonzero;
      on_zero = zero_keys[i] > on_zero ? zero_keys[i] : on_zero;
    }
  }
  return {on_nonzero, on_zero};
}

template <class Storage>
void support(const Storage* w, int64_t n, uint32_t* bits) {
  for (int64_t first = 0; first < n; first += 32) {
    const int64_t size = n - first < 32 ? n - first : 32;
    uint32_t word = 0;
    for (int64_t i = 0; i < size; ++i) word |= is_nonzero(w[first + i]) ? 1U << i : 0U;
    bits[first / 32] = word;
  }
}

template <class Storage>
void refresh_master(const ListArrays<Storage>& a, int64_t n) {
  if constexpr (StorageTraits<Storage>::kMaster) {
    for (int64_t i = 0; i < n; ++i) a.weight[i] = refreshed_master(a.stored[i], a.weight[i]);
  }
}

template <class Storage>
struct GradientKey {
  using Value = Storage;
  CTH_HD static auto of(Value x) { return magnitude_key(widen(x)); }
};
template <class Storage>
struct WeightKey {
  using Value = typename StorageTraits<Storage>::Compute;
  CTH_HD static auto of(Value x) { return weight_key<Storage>(x); }
};

/// keys gets those of x that are in `wanted`; it has room for n.
template <class Of, class Value, class Key>
void append_keys(const Value* x, int64_t n, KeyRangeOf<Key> wanted, Key* keys) {
  int64_t count = 0;
  int64_t i = 0;
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<Of, GradientKey<float>> || std::is_same_v<Of, WeightKey<float>>) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i first = _mm512_set1_epi32(static_cast<int32_t>(wanted.first));
    const __m512i width = _mm512_set1_epi32(static_cast<int32_t>(wanted.last - wanted.first));
    for (; i + 16 <= n; i += 16) {
      const __m512i key = _mm512_and_epi32(_mm512_loadu_si512(x + i), magnitude);
      const __mmask16 in = _mm512_cmple_epu32_mask(_mm512_sub_epi32(key, first), width);
      if (in == 0) continue;
      // All sixteen, of which the next overwrites those that are not wanted: count is at most i,
      // and a masked compressing store takes a hundred cycles on some processors.
      _mm512_storeu_si512(keys + count, _mm512_maskz_compress_epi32(in, key));
      count += __builtin_popcount(in);
    }
  }
#endif
  for (; i < n; ++i) {
    const Key key = Of::of(x[i]);
    keys[count] = key;  // without a branch, which would be mispredicted
    count += wanted.contains(key) ? 1 : 0;
  }
}

template <class Of, class Value, class Key>
KeyCounts select_keys(const Value* x, int64_t n, KeyRangeOf<Key> range, KeyRangeOf<Key> wanted,
                      Key* keys) {
  constexpr int64_t kBlock = 4096;  // read twice, from the nearest cache
  const Key below_width = wanted.first - range.first;
  int64_t inside = 0;
  int64_t below = 0;
  int64_t among = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    int32_t in_range = 0;
    int32_t in_below = 0;
    int32_t in_wanted = 0;
    for (int64_t i = begin; i < end; ++i) {
      const Key key = Of::of(x[i]);
      in_range += range.contains(key) ? 1 : 0;
      in_below += key - range.first < below_width ? 1 : 0;
      in_wanted += wanted.contains(key) ? 1 : 0;
    }
    if (keys != nullptr && in_wanted > 0) {
      append_keys<Of>(x + begin, end - begin, wanted, keys + among);
    }
    inside += in_range;
    below += in_below;
    among += in_wanted;
  }
  return {inside, below, among};
}

template <class Of, class Value, class Key>
void histogram(const Value* x, int64_t n, KeyRangeOf<Key> range, uint32_t shift, uint64_t* bins) {
  const Key base = range.first >> shift;
  for (int64_t i = 0; i < n; ++i) {
    const Key key = Of::of(x[i]);
    if (range.contains(key)) ++bins[(key >> shift) - base];
  }
}

template <class Of, class Key>
constexpr KeyLoops<typename Of::Value, Key> key_loops() {
  return {select_keys<Of, typename Of::Value, Key>, histogram<Of, typename Of::Value, Key>};
}

template <class Storage>
constexpr ListLoops<Storage> list_loops() {
  using Compute = typename StorageTraits<Storage>::Compute;
  using Key = typename ListLoops<Storage>::Key;
  return {prox_step<Storage, Compute>,
          frozen_step<Storage, Compute>,
          count_entries<Storage>,
          keep_largest<Storage, Compute>,
          count_nonzero<Storage>,
          kkt<Storage, Compute>,
          support<Storage>,
          refresh_master<Storage>,
          key_loops<GradientKey<Storage>, Key>(),
          key_loops<WeightKey<Storage>, Key>()};
}
