// Loops of image layers (image_loops.hpp), included by loops.inl inside its namespaces, with its
// rules. Channels are innermost and vectorise.

// Loops in which an output may be one of the inputs, entry for entry.
#define CTH_ELEMENTWISE _Pragma("GCC ivdep")

constexpr int64_t kPoolStrip = 64;  // channels whose best entries are held at a time

// n channels of the window whose entry 0 would lie at `corner`, of which only the given part is in
// the image. Not inlined: with a constant n the compiler unrolls the loops and vectorises none.
template <bool keep>
__attribute__((noinline)) void max_strip(const PoolGeometry& g, const float* corner, PoolRange down,
                                         PoolRange across, int64_t n, float* __restrict y,
                                         uint8_t* __restrict winner) {
  const int64_t line = g.across.in * g.channels;
  float best[kPoolStrip];
  int32_t place[kPoolStrip];
  const float* __restrict first = corner + down.first * line + across.first * g.channels;
  const auto first_place = static_cast<int32_t>(down.first * g.across.window + across.first);
  for (int64_t c = 0; c < n; ++c) best[c] = first[c];
  for (int64_t c = 0; c < n; ++c) place[c] = first_place;
  for (int64_t r = down.first; r < down.end; ++r) {
    for (int64_t q = across.first; q < across.end; ++q) {
      // The first entry once more: it does not take over from itself.
      const float* __restrict x = corner + r * line + q * g.channels;
      const auto here = static_cast<int32_t>(r * g.across.window + q);
      for (int64_t c = 0; c < n; ++c) {
        const bool takes = MaxPool::takes(x[c], best[c]);
        best[c] = takes ? x[c] : best[c];
        place[c] = takes ? here : place[c];
      }
    }
  }
  for (int64_t c = 0; c < n; ++c) y[c] = best[c];
  if constexpr (keep) {
    for (int64_t c = 0; c < n; ++c) winner[c] = static_cast<uint8_t>(place[c]);
  }
}

template <bool keep>
void max_of_window(const PoolGeometry& g, const float* corner, PoolRange down, PoolRange across,
                   float* y, uint8_t* winner) {
  for (int64_t c = 0; c < g.channels; c += kPoolStrip) {
    const int64_t n = g.channels - c < kPoolStrip ? g.channels - c : kPoolStrip;
    max_strip<keep>(g, corner + c, down, across, n, y + c, keep ? winner + c : nullptr);
  }
}

template <bool keep>
void max_pool_lines(const PoolGeometry& g, const float* x, float* y, uint8_t* winner,
                    int64_t first_line, int64_t end_line) {
  const int64_t line = g.across.in * g.channels;
  for (int64_t l = first_line; l < end_line; ++l) {
    const int64_t sample = l / g.down.out;
    const int64_t row = l - sample * g.down.out;
    const PoolRange down = g.down.inside(row);
    const float* top = x + (sample * g.down.in + g.down.start(row)) * line;
    for (int64_t p = 0; p < g.across.out; ++p) {
      const PoolRange across = g.across.inside(p);
      const float* corner = top + g.across.start(p) * g.channels;
      const int64_t to = (l * g.across.out + p) * g.channels;
      uint8_t* kept = keep ? winner + to : nullptr;
      max_of_window<keep>(g, corner, down, across, y + to, kept);
    }
  }
}

void max_pool(const PoolGeometry& g, const float* x, float* y, uint8_t* winner, int64_t first,
              int64_t end) {
  if (winner != nullptr) {
    max_pool_lines<true>(g, x, y, winner, first, end);
  } else {
    max_pool_lines<false>(g, x, y, nullptr, first, end);
  }
}

void average_pool(const PoolGeometry& g, const float* x, float* y, int64_t first_line,
                  int64_t end_line) {
  const AveragePool mean{static_cast<float>(g.down.window * g.across.window)};
  const int64_t line = g.across.in * g.channels;
  for (int64_t l = first_line; l < end_line; ++l) {
    const int64_t sample = l / g.down.out;
    const int64_t row = l - sample * g.down.out;
    const PoolRange down = g.down.inside(row);
    const float* top = x + (sample * g.down.in + g.down.start(row)) * line;
    for (int64_t p = 0; p < g.across.out; ++p) {
      const PoolRange across = g.across.inside(p);
      const float* corner = top + g.across.start(p) * g.channels;
      float* __restrict to = y + (l * g.across.out + p) * g.channels;
      for (int64_t c = 0; c < g.channels; ++c) to[c] = 0.0f;
      for (int64_t r = down.first; r < down.end; ++r) {
        for (int64_t q = across.first; q < across.end; ++q) {
          const float* __restrict from = corner + r * line + q * g.channels;
          for (int64_t c = 0; c < g.channels; ++c) to[c] += from[c];
        }
      }
      for (int64_t c = 0; c < g.channels; ++c) to[c] = mean(to[c]);
    }
  }
}

// f(dx, dy offset, entry of the window, whether it is the first) for every window over every entry
// of the lines, then after(dx); zero where there is none.
template <class F, class After>
void for_covering(const PoolGeometry& g, float* dx, int64_t first_line, int64_t end_line, F f,
                  After after) {
  for (int64_t l = first_line; l < end_line; ++l) {
    const int64_t sample = l / g.down.in;
    const int64_t row = l - sample * g.down.in;
    const PoolRange down = g.down.covering(row);
    PoolRange across{0, 0};
    for (int64_t p = 0; p < g.across.in; ++p) {
      // g.across.covering(p), without its divisions.
      while (across.end < g.across.out && g.across.start(across.end) <= p) ++across.end;
      while (across.first < across.end && g.across.start(across.first) + g.across.window <= p) {
        ++across.first;
      }
      float* __restrict to = dx + (l * g.across.in + p) * g.channels;
      bool first = true;
      for (int64_t r = down.first; r < down.end; ++r) {
        for (int64_t q = across.first; q < across.end; ++q) {
          const int64_t from = ((sample * g.down.out + r) * g.across.out + q) * g.channels;
          const int64_t place = (row - g.down.start(r)) * g.across.window + p - g.across.start(q);
          f(to, from, static_cast<int32_t>(place), first);
          first = false;
        }
      }
      if (first) {
        for (int64_t c = 0; c < g.channels; ++c) to[c] = 0.0f;
      }
      after(to);
    }
  }
}

// to = 0 or, when it is not the first window, to, plus what n channels of an output pass on.
void max_share(const float* __restrict gradient, const uint8_t* __restrict won, int32_t place,
               bool sets, int64_t n, float* __restrict to) {
  if (sets) {
    for (int64_t c = 0; c < n; ++c) to[c] = 0.0f + MaxPool::share(won[c], place, gradient[c]);
  } else {
    for (int64_t c = 0; c < n; ++c) to[c] += MaxPool::share(won[c], place, gradient[c]);
  }
}

void max_pool_backward(const PoolGeometry& g, const float* dy, const uint8_t* winner, float* dx,
                       int64_t first, int64_t end) {
  for_covering(
      g, dx, first, end,
      [&](float* to, int64_t from, int32_t place, bool sets) {
        max_share(dy + from, winner + from, place, sets, g.channels, to);
      },
      [](float*) {});
}

void average_pool_backward(const PoolGeometry& g, const float* dy, float* dx, int64_t first,
                           int64_t end) {
  const AveragePool mean{static_cast<float>(g.down.window * g.across.window)};
  for_covering(
      g, dx, first, end,
      [&](float* __restrict to, int64_t from, int32_t, bool sets) {
        const float* __restrict gradient = dy + from;
        if (sets) {
          for (int64_t c = 0; c < g.channels; ++c) to[c] = 0.0f + gradient[c];
        } else {
          for (int64_t c = 0; c < g.channels; ++c) to[c] += gradient[c];
        }
      },
      [&](float* __restrict to) {
        for (int64_t c = 0; c < g.channels; ++c) to[c] = mean(to[c]);
      });
}

// f(channel, row offset) for the channels of a strip of kWidth, row by row; sums stay in registers.
template <int64_t kWidth, class F>
void sum_strip(int64_t rows, int64_t channels, int64_t first, float* __restrict sum, F f) {
  float total[kWidth];
  for (int64_t c = 0; c < kWidth; ++c) total[c] = 0.0f;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < kWidth; ++c) total[c] += f(r * channels + first + c, first + c);
  }
  for (int64_t c = 0; c < kWidth; ++c) sum[first + c] = total[c];
}
template <class F>
void sum_strips(int64_t rows, int64_t channels, float* sum, F f) {
  int64_t first = 0;
  for (; first + 64 <= channels; first += 64) sum_strip<64>(rows, channels, first, sum, f);
  for (; first + 16 <= channels; first += 16) sum_strip<16>(rows, channels, first, sum, f);
  for (; first < channels; ++first) sum_strip<1>(rows, channels, first, sum, f);
}

void column_sums(const float* __restrict x, int64_t rows, int64_t channels, float* sum) {
  sum_strips(rows, channels, sum, [x](int64_t at, int64_t) { return x[at]; });
}

void deviation_sums(const float* __restrict x, const float* __restrict mean, int64_t rows,
                    int64_t channels, float* sum) {
  sum_strips(rows, channels, sum,
             [x, mean](int64_t at, int64_t c) { return squared_deviation(x[at], mean[c]); });
}

void add_blocks(const float* __restrict partials, int64_t blocks, int64_t channels,
                float* __restrict total) {
  for (int64_t c = 0; c < channels; ++c) {
    float sum = 0.0f;
    for (int64_t first = 0; first < blocks; first += kNormGroupBlocks) {
      const int64_t end = first + kNormGroupBlocks < blocks ? first + kNormGroupBlocks : blocks;
      float group = 0.0f;
      for (int64_t i = first; i < end; ++i) group += partials[i * channels + c];
      sum += group;
    }
    total[c] = sum;
  }
}

void normalise(const BatchNormShape& shape, const float* __restrict x, const float* __restrict mean,
               const float* __restrict inverse_std, const float* __restrict gamma,
               const float* __restrict beta, float* z, float* y, int64_t rows) {
  const int64_t channels = shape.channels;
  with_activation(shape, [&](auto act) {
    for (int64_t r = 0; r < rows; ++r) {
      const float* __restrict from = x + r * channels;
      float* __restrict to = y + r * channels;
      float* __restrict kept = decltype(act)::kNeedsInput ? z + r * channels : nullptr;
      for (int64_t c = 0; c < channels; ++c) {
        const float t = batch_norm(from[c], mean[c], inverse_std[c], gamma[c], beta[c]);
        if constexpr (decltype(act)::kNeedsInput) kept[c] = t;
        to[c] = act(t);
      }
    }
  });
}

template <int64_t kWidth, class A>
void norm_sums_strip(A act, const float* __restrict kept, float* __restrict dy,
                     const float* __restrict x, const float* __restrict mean,
                     const float* __restrict inverse_std, int64_t rows, int64_t channels,
                     int64_t first, float* __restrict sum_dz, float* __restrict sum_dz_shape) {
  float plain[kWidth];
  float shaped[kWidth];
  for (int64_t c = 0; c < kWidth; ++c) plain[c] = shaped[c] = 0.0f;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * channels + first;
    for (int64_t c = 0; c < kWidth; ++c) {
      const float dz = dy[at + c] * act.derivative(kept[at + c]);
      dy[at + c] = dz;
      plain[c] += dz;
      shaped[c] += dz * normalised(x[at + c], mean[first + c], inverse_std[first + c]);
    }
  }
  for (int64_t c = 0; c < kWidth; ++c) sum_dz[first + c] = plain[c];
  for (int64_t c = 0; c < kWidth; ++c) sum_dz_shape[first + c] = shaped[c];
}

void norm_sums(const BatchNormShape& shape, const float* kept, float* dy, const float* x,
               const float* mean, const float* inverse_std, int64_t rows, float* sum_dz,
               float* sum_dz_shape) {
  const int64_t channels = shape.channels;
  with_activation(shape, [&](auto act) {
    int64_t first = 0;
    for (; first + 16 <= channels; first += 16) {
      norm_sums_strip<16>(act, kept, dy, x, mean, inverse_std, rows, channels, first, sum_dz,
                          sum_dz_shape);
    }
    for (; first < channels; ++first) {
      norm_sums_strip<1>(act, kept, dy, x, mean, inverse_std, rows, channels, first, sum_dz,
                         sum_dz_shape);
    }
  });
}

void norm_gradient(const BatchNormShape& shape, const float* dz, const float* x, const float* mean,
                   const float* inverse_std, const float* gamma, const float* sum_dz,
                   const float* sum_dz_shape, float* dx, int64_t rows) {
  const int64_t channels = shape.channels;
  const auto all_rows = static_cast<float>(shape.rows);
  // A strip of channels, whose constants are worked out once.
  constexpr int64_t kStripChannels = 64;
  float shift[kStripChannels], factor[kStripChannels], scale[kStripChannels],
      mean_dz[kStripChannels], mean_dz_shape[kStripChannels];
  for (int64_t first = 0; first < channels; first += kStripChannels) {
    const int64_t n = channels - first < kStripChannels ? channels - first : kStripChannels;
    for (int64_t c = 0; c < n; ++c) {
      const auto g =
          BatchNormGradient::of(mean[first + c], inverse_std[first + c], gamma[first + c],
                                sum_dz[first + c], sum_dz_shape[first + c], all_rows);
      shift[c] = g.mean;
      factor[c] = g.inverse_std;
      scale[c] = g.scale;
      mean_dz[c] = g.mean_dz;
      mean_dz_shape[c] = g.mean_dz_shape;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = dz + r * channels + first;
      const float* __restrict input = x + r * channels + first;
      float* to = dx + r * channels + first;
      CTH_ELEMENTWISE
      for (int64_t c = 0; c < n; ++c) {
        const BatchNormGradient g{shift[c], factor[c], scale[c], mean_dz[c], mean_dz_shape[c]};
        to[c] = g(from[c], input[c]);
      }
    }
  }
}

void pointwise(const PointwiseForward& args, int64_t begin, int64_t end) {
  const float* a = args.a;
  const float* b = args.b;
  float* z = args.z;
  float* y = args.y;
  with_activation(args, [=](auto act) {
    constexpr bool kKeeps = decltype(act)::kNeedsInput;
    if (b != nullptr) {
      CTH_ELEMENTWISE
      for (int64_t i = begin; i < end; ++i) {
        const float t = a[i] + b[i];
        if constexpr (kKeeps) z[i] = t;
        y[i] = act(t);
      }
    } else {
      CTH_ELEMENTWISE
      for (int64_t i = begin; i < end; ++i) {
        const float t = a[i];
        if constexpr (kKeeps) z[i] = t;
        y[i] = act(t);
      }
    }
  });
}

void pointwise_backward(const PointwiseBackward& args, int64_t begin, int64_t end) {
  with_activation(args, [&](auto act) {
    const float* __restrict kept = decltype(act)::kNeedsInput ? args.z : args.y;
    float* __restrict dy = args.dy;
    for (int64_t i = begin; i < end; ++i) dy[i] = dy[i] * act.derivative(kept[i]);
  });
}

void dropout(const DropoutMask& mask, const float* from, float* to, int64_t begin, int64_t end) {
  constexpr int64_t kBlocks = 16;  // Philox blocks side by side, one a lane
  uint32_t words[4 * kBlocks];
  for (int64_t first = begin; first < end; first += 4 * kBlocks) {
    uint32_t lanes[4][kBlocks];
    for (int64_t k = 0; k < kBlocks; ++k) {
      const Philox block = mask.words(first / 4 + k);
      lanes[0][k] = block.words[0];
      lanes[1][k] = block.words[1];
      lanes[2][k] = block.words[2];
      lanes[3][k] = block.words[3];
    }
    for (int64_t k = 0; k < kBlocks; ++k) {
      for (int64_t lane = 0; lane < 4; ++lane) words[4 * k + lane] = lanes[lane][k];
    }
    const int64_t n = end - first < 4 * kBlocks ? end - first : 4 * kBlocks;
    const float* x = from + first;
    float* y = to + first;
    CTH_ELEMENTWISE
    for (int64_t i = 0; i < n; ++i) y[i] = mask(x[i], words[i]);
  }
}

void transpose(const float* __restrict from, int64_t lines, int64_t columns, int64_t begin,
               int64_t end, float* __restrict to) {
  constexpr int64_t kBlock = 16;  // lines of one cache line each way
  for (int64_t line = 0; line < lines; line += kBlock) {
    const int64_t line_end = line + kBlock < lines ? line + kBlock : lines;
    for (int64_t column = begin; column < end; column += kBlock) {
      const int64_t column_end = column + kBlock < end ? column + kBlock : end;
      for (int64_t c = column; c < column_end; ++c) {
        for (int64_t l = line; l < line_end; ++l) to[c * lines + l] = from[l * columns + c];
      }
    }
  }
}

#undef CTH_ELEMENTWISE

constexpr LayerLoops kLayers = {
    max_pool,    average_pool,   max_pool_backward, average_pool_backward,
    column_sums, deviation_sums, add_blocks,        normalise,
    norm_sums,   norm_gradient,  pointwise,         pointwise_backward,
    dropout,     transpose};
