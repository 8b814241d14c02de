#pragma once

// Mean squared error and softmax cross-entropy (kernels/math/loss.hpp): gradients, and the sum of
// the losses over the batch in float64. Bytes per element: error gradient 12, error sum 8; softmax
// 8 with a gradient, read up to three times, the second and third time from cache. Limiter: memory;
// for sums the one chain of float64 additions that a partial sum is (8192 errors, 256 rows).
// Everything is equal to src/cpu/loss.cpp to the bit, sums included: Σ exp adds up in the order of
// the columns, losses in src/cpu's blocks, whatever the grid. Any alignment; a gradient may take
// the place of what it is the gradient of. tests/kernels/loss_kernels_test.cpp

#include <cstdint>

#include "kernels/block/reduce.cuh"
#include "kernels/math/elementary.hpp"
#include "kernels/math/loss.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

// What one partial sum is over, as in src/cpu/loss.cpp.
inline constexpr std::int64_t kLossBlockErrors = 8192;
inline constexpr std::int64_t kLossBlockRows = 256;
/// softmax_narrow_kernel up to this many columns (a thread reads a row: 128 bytes, one cache line),
/// else softmax_wide_kernel.
inline constexpr std::int64_t kNarrowColumns = 32;
/// Rows that a block of softmax_wide_kernel does at a time.
inline constexpr std::int64_t kWideRows = 4;

/// Device memory that a sum needs, one loss at a time; only the ticket needs a value, 0 before the
/// first launch, and every launch leaves it 0.
struct LossScratch {
  double* partials;         // [squared_error_partials or softmax_partials]
  double* row_losses;       // [rows]; cross-entropy only
  std::uint32_t* row_hits;  // [rows]; cross-entropy only
  std::uint32_t* ticket;    // [1]
};

/// Where a sum goes: set, or added to what is there. Null: it is not wanted (cross-entropy only).
struct LossTarget {
  double* loss;
  std::uint64_t* correct;
  bool accumulate;
};

CTH_HD std::int64_t squared_error_partials(std::int64_t size) {
  return (size + kLossBlockErrors - 1) / kLossBlockErrors;
}
CTH_HD std::int64_t softmax_partials(std::int64_t rows) {
  return (rows + kLossBlockRows - 1) / kLossBlockRows;
}

namespace device {

inline constexpr std::int64_t kErrorChunk = 1024;

/// True in all threads of the block that comes last of `count`, which then sees what all of them
/// wrote. All threads of each of these blocks call, once.
CTH_DEVICE bool is_last_of(std::uint32_t* ticket, std::uint32_t count, std::uint32_t& shared_last) {
  fence();
  sync_block();
  if (thread_index() == 0) {
    shared_last = atomic_add(ticket, 1U) == count - 1 ? 1U : 0U;
    if (shared_last != 0) atomic_add(ticket, 0U - count);  // for the next launch
  }
  sync_block();
  if (shared_last == 0) return false;
  fence();
  return true;
}
/// The same for all blocks of the launch.
CTH_DEVICE bool is_last_block(std::uint32_t* ticket, std::uint32_t& shared_last) {
  return is_last_of(ticket, block_count(), shared_last);
}

/// What is in the target and then the partial sums in order, through shared memory, so that only
/// the additions are a chain. The result is thread 0's.
template <std::uint32_t kThreads>
CTH_DEVICE double sum_in_order(const LossTarget& target, const double* from, std::int64_t count,
                               double (&shared)[kThreads]) {
  double sum = target.accumulate && thread_index() == 0 ? *target.loss : 0.0;
  for (std::int64_t first = 0; first < count; first += kThreads) {
    const std::int64_t i = first + thread_index();
    sync_block();
    if (i < count) shared[thread_index()] = load_fresh(from + i);
    sync_block();
    if (thread_index() != 0) continue;
    const std::int64_t end = count - first < kThreads ? count - first : kThreads;
    for (std::int64_t k = 0; k < end; ++k) sum += shared[k];
  }
  return sum;
}

template <std::uint32_t kThreads>
struct RowSums {
  double staged[kThreads];
  std::uint64_t hits;
  std::uint32_t last;
};

/// From the rows' losses to their sum, in the last block of the launch.
template <std::uint32_t kThreads>
CTH_DEVICE void finish_rows(RowSums<kThreads>& shared, std::int64_t rows,
                            const LossScratch& scratch, const LossTarget& target) {
  if (target.loss == nullptr) return;
  if (thread_index() == 0) shared.hits = 0;
  if (!is_last_block(scratch.ticket, shared.last)) return;
  const std::int64_t blocks = softmax_partials(rows);
  std::uint64_t hits = 0;
  for (std::int64_t block = thread_index(); block < blocks; block += kThreads) {
    const std::int64_t first = block * kLossBlockRows;
    const std::int64_t end = rows - first < kLossBlockRows ? rows : first + kLossBlockRows;
    double sum = 0.0;
    for (std::int64_t row = first; row < end; ++row) {
      sum += load_fresh(scratch.row_losses + row);
      hits += load_fresh(scratch.row_hits + row);
    }
    scratch.partials[block] = sum;
  }
  atomic_add(&shared.hits, hits);
  // The first barrier of the sum stands between these writes and their readers.
  const double loss = sum_in_order<kThreads>(target, scratch.partials, blocks, shared.staged);
  if (thread_index() != 0) return;
  *target.loss = loss;
  *target.correct = (target.accumulate ? *target.correct : 0U) + shared.hits;
}

}  // namespace device

/// gradient[i] = scale·(prediction[i] − target[i]).
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
squared_error_gradient_kernel(SquaredError error, const float* prediction, const float* target,
                              float* gradient, std::int64_t size) {
  const PackSplit<std::int64_t> split = split_in_packs<4>(size, prediction, target, gradient);
  const std::int64_t thread =
      std::int64_t{device::block_index()} * kThreads + device::thread_index();
  const std::int64_t threads = std::int64_t{device::block_count()} * kThreads;
  for (std::int64_t unit = thread; unit < split.units; unit += threads) {
    const std::int64_t at = split.head + 4 * unit;
    const Pack<float> p = device::load_pack(prediction + at);
    const Pack<float> t = device::load_pack(target + at);
    Pack<float> g;
    for (int i = 0; i < 4; ++i) g.value[i] = error.gradient(p.value[i], t.value[i]);
    device::store_pack(gradient + at, g);
  }
  for (std::int64_t i = thread; i < size - 4 * split.units; i += threads) {
    const std::int64_t at = scalar_entry<4>(split, i);
    gradient[at] = error.gradient(prediction[at], target[at]);
  }
}

/// The sum of (prediction − target)². A block does 8192 at a time, and while one thread adds 1024
/// of them up, all load the next 1024.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
squared_error_sum_kernel(SquaredError error, const float* prediction, const float* target,
                         std::int64_t size, LossScratch scratch, LossTarget sum) {
  struct Shared {
    double errors[2][device::kErrorChunk];
    double staged[kThreads];
    std::uint32_t last;
  };
  CTH_SHARED(Shared, shared);
  const std::int64_t blocks = squared_error_partials(size);
  for (std::int64_t block = device::block_index(); block < blocks; block += device::block_count()) {
    const std::int64_t first = block * kLossBlockErrors;
    const std::int64_t end = size - first < kLossBlockErrors ? size : first + kLossBlockErrors;
    double partial = 0.0;
    std::int64_t summed = first;  // thread 0 has added up to here
    std::uint32_t half = 0;
    for (std::int64_t chunk = first; summed < end; chunk += device::kErrorChunk) {
      for (std::int64_t i = chunk + device::thread_index();
           i < chunk + device::kErrorChunk && i < end; i += kThreads) {
        shared.errors[half][i - chunk] = error.loss(prediction[i], target[i]);
      }
      if (chunk > first) {  // the chunk before, in the other half
        if (device::thread_index() == 0) {
          const std::int64_t count =
              end - summed < device::kErrorChunk ? end - summed : device::kErrorChunk;
          for (std::int64_t i = 0; i < count; ++i) partial += shared.errors[half ^ 1U][i];
        }
        summed += device::kErrorChunk;
      }
      half ^= 1U;
      device::sync_block();
    }
    if (device::thread_index() == 0) scratch.partials[block] = partial;
  }
  if (!device::is_last_block(scratch.ticket, shared.last)) return;
  const double loss = device::sum_in_order<kThreads>(sum, scratch.partials, blocks, shared.staged);
  if (device::thread_index() != 0) return;
  *sum.loss = loss;
  if (!sum.accumulate) *sum.correct = 0;
}

/// Cross-entropy for at most kNarrowColumns columns: a thread a row. gradient may be null.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
softmax_narrow_kernel(SoftmaxCrossEntropy entropy, const float* logits, const std::int32_t* label,
                      float* gradient, std::int64_t rows, std::int64_t columns, LossScratch scratch,
                      LossTarget sum) {
  CTH_SHARED(device::RowSums<kThreads>, shared);
  const std::int64_t threads = std::int64_t{device::block_count()} * kThreads;
  for (std::int64_t row = std::int64_t{device::block_index()} * kThreads + device::thread_index();
       row < rows; row += threads) {
    const float* z = logits + row * columns;
    std::int64_t largest = 0;
    float top = z[0];
    for (std::int64_t j = 1; j < columns; ++j) {
      if (z[j] > top) {
        largest = j;
        top = z[j];
      }
    }
    float exponentials = 0.0f;
    for (std::int64_t j = 0; j < columns; ++j) exponentials += exp_float(z[j] - top);
    const std::int32_t wanted = label[row];
    if (sum.loss != nullptr) {
      scratch.row_losses[row] =
          static_cast<double>(log_float(exponentials)) - static_cast<double>(z[wanted] - top);
      scratch.row_hits[row] = largest == wanted ? 1U : 0U;
    }
    if (gradient == nullptr) continue;
    float* to = gradient + row * columns;
    for (std::int64_t j = 0; j < columns; ++j) {
      to[j] = entropy.gradient(exp_float(z[j] - top), exponentials, j == wanted);
    }
  }
  device::finish_rows<kThreads>(shared, rows, scratch, sum);
}

/// Cross-entropy for any number of columns: a quarter of the block a row. Exponentials are taken by
/// all threads, 1024 columns at a time, and added up in order by one thread a row.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
softmax_wide_kernel(SoftmaxCrossEntropy entropy, const float* logits, const std::int32_t* label,
                    float* gradient, std::int64_t rows, std::int64_t columns, LossScratch scratch,
                    LossTarget sum) {
  constexpr std::int64_t kChunk = 1024;
  constexpr std::uint32_t kTeam = kThreads / static_cast<std::uint32_t>(kWideRows);
  constexpr std::uint32_t kTeamWarps = kTeam / device::kWarp;
  static_assert(kTeam % device::kWarp == 0);
  struct Shared {
    device::RowSums<kThreads> rows;
    float exponentials[kWideRows][kChunk + 1];  // + 1: the threads that add meet four banks
    float top[kThreads / device::kWarp];        // a warp
    std::int64_t largest[kThreads / device::kWarp];
    float sum[kWideRows];
  };
  CTH_SHARED(Shared, shared);
  const std::uint32_t team = device::thread_index() / kTeam;
  const std::uint32_t member = device::thread_index() % kTeam;
  const std::uint32_t warp = device::thread_index() / device::kWarp;
  for (std::int64_t first = std::int64_t{device::block_index()} * kWideRows; first < rows;
       first += std::int64_t{device::block_count()} * kWideRows) {
    // A team without a row does another's work again, up to where it would write.
    const bool has_row = first + team < rows;
    const std::int64_t row = has_row ? first + team : rows - 1;
    const float* z = logits + row * columns;

    // The first of the largest; a NaN is never larger, so only one in front wins, as in src/cpu.
    float top = -__builtin_inff();
    std::int64_t largest = columns;
    const auto take = [&](float value, std::int64_t index) {
      if (value > top || (value == top && index < largest)) {
        top = value;
        largest = index;
      }
    };
    for (std::int64_t j = member; j < columns; j += kTeam) take(z[j], j);
    for (std::uint32_t mask = device::kWarp / 2; mask > 0; mask /= 2) {
      const float other = device::shuffle_xor(top, mask);
      const std::int64_t index = device::shuffle_xor(largest, mask);
      take(other, index);
    }
    if (device::lane() == 0) {
      shared.top[warp] = top;
      shared.largest[warp] = largest;
    }
    device::sync_block();
    for (std::uint32_t w = team * kTeamWarps; w < (team + 1) * kTeamWarps; ++w) {
      take(shared.top[w], shared.largest[w]);
    }
    if (z[0] != z[0]) {
      top = z[0];
      largest = 0;
    }

    float exponentials = 0.0f;  // of the row that this thread adds up, for threads 0 to 3
    for (std::int64_t chunk = 0; chunk < columns; chunk += kChunk) {
      const std::int64_t count = columns - chunk < kChunk ? columns - chunk : kChunk;
      for (std::int64_t j = member; j < count; j += kTeam) {
        shared.exponentials[team][j] = exp_float(z[chunk + j] - top);
      }
      device::sync_block();
      if (device::thread_index() < kWideRows) {
        for (std::int64_t j = 0; j < count; ++j) {
          exponentials += shared.exponentials[device::thread_index()][j];
        }
      }
      device::sync_block();
    }
    if (device::thread_index() < kWideRows) shared.sum[device::thread_index()] = exponentials;
    device::sync_block();
    exponentials = shared.sum[team];
    const std::int32_t wanted = label[row];
    // Before any gradient is written, which may take the place of the logits.
    if (has_row && member == 0 && sum.loss != nullptr) {
      scratch.row_losses[row] =
          static_cast<double>(log_float(exponentials)) - static_cast<double>(z[wanted] - top);
      scratch.row_hits[row] = largest == wanted ? 1U : 0U;
    }
    device::sync_block();
    if (!has_row || gradient == nullptr) continue;
    float* to = gradient + row * columns;
    for (std::int64_t j = member; j < columns; j += kTeam) {
      to[j] = entropy.gradient(exp_float(z[j] - top), exponentials, j == wanted);
    }
  }
  device::finish_rows<kThreads>(shared.rows, rows, scratch, sum);
}

/// Blocks of each launch that have work: more find nothing to do.
CTH_HD std::int64_t squared_error_gradient_tiles(std::int64_t size, std::uint32_t threads) {
  return (size + 4 * std::int64_t{threads} - 1) / (4 * std::int64_t{threads});
}
CTH_HD std::int64_t softmax_narrow_tiles(std::int64_t rows, std::uint32_t threads) {
  return (rows + threads - 1) / threads;
}
CTH_HD std::int64_t softmax_wide_tiles(std::int64_t rows) {
  return (rows + kWideRows - 1) / kWideRows;
}

}  // namespace cuthresh
