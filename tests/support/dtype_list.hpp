#pragma once

// A list of tensors of one dtype in a room, and the formulas of a step on it written out.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/array.hpp"
#include "kernels/scalar.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"
#include "support/soft_threshold.hpp"

namespace cuthresh::testing {

template <class Storage>
inline constexpr Dtype kDtypeOf = Dtype::kFloat32;
template <>
inline constexpr Dtype kDtypeOf<double> = Dtype::kFloat64;
template <>
inline constexpr Dtype kDtypeOf<Bf16> = Dtype::kBfloat16;
template <>
inline constexpr Dtype kDtypeOf<Fp16> = Dtype::kFloat16;

template <class Storage>
using ComputeOf = typename StorageTraits<Storage>::Compute;

/// What is stored of a number (tests/kernels/scalar_test.cpp covers the rounding).
template <class Storage>
Storage stored(ComputeOf<Storage> x) {
  return StorageTraits<Storage>::narrow(x);
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

/// One tensor as a test has it: what the room should hold. master: of 16 bits; else the weights.
template <class Storage>
struct DtypeTensor {
  using Compute = ComputeOf<Storage>;
  std::vector<Compute> master;
  std::vector<Storage> w, g;
  std::vector<Compute> v;
  std::int32_t group = 0;
  std::int32_t rate = 0;

  std::size_t size() const { return w.size(); }
  std::uint64_t nonzeros() const {
    std::uint64_t count = 0;
    for (const Storage& x : w) count += widen(x) != Compute(0) ? 1U : 0U;
    return count;
  }
  std::uint64_t nonfinite() const {
    std::uint64_t count = 0;
    for (const Storage& x : w) count += std::isfinite(widen(x)) ? 0U : 1U;
    return count;
  }
  void store(std::size_t i, Compute y) {
    master[i] = y;
    w[i] = stored<Storage>(y);
  }

  /// One step in words; PyTorch's SGD before the threshold.
  void step(StepKind kind, const StepRateOf<double>& given, double lambda, bool cuts = true) {
    const auto alpha = static_cast<Compute>(given.learning_rate);
    const auto mu = static_cast<Compute>(given.momentum);
    const auto decay = static_cast<Compute>(given.weight_decay);
    const Compute threshold =
        group < 0 || !cuts ? Compute(0) : alpha * static_cast<Compute>(lambda);
    for (std::size_t i = 0; i < w.size(); ++i) {
      Compute z = master[i];
      if (kind != StepKind::kThreshold) {
        Compute d = widen(g[i]);
        if (decay != Compute(0)) d = std::fma(decay, z, d);
        if (has_momentum(kind)) {
          const Compute kept = mu * v[i];
          v[i] = kept + d;
          d = kind == StepKind::kNesterov ? std::fma(mu, v[i], d) : v[i];
        }
        z = std::fma(-alpha, d, z);
      }
      store(i, soft_by_definition(z, threshold));
    }
  }
};

template <class Storage>
class DtypeList {
 public:
  using Compute = ComputeOf<Storage>;
  using Tensor = DtypeTensor<Storage>;
  static constexpr bool kMaster = StorageTraits<Storage>::kMaster;

  /// With `own_masters` the plan keeps the master copies.
  DtypeList(const Room& room, std::vector<Tensor> tensors, std::int32_t groups,
            StepKind kind = StepKind::kPlain, bool own_masters = false, std::int64_t offset = 0)
      : tensors_(std::move(tensors)), offset_(offset), own_(own_masters), backend_(room.make()) {
    std::vector<ProxTensor> list;
    for (Tensor& t : tensors_) {
      t.v.resize(t.size(), Compute(0));
      place(w_, t.w);
      place(g_, t.g);
      place(v_, t.v);
      place(master_, t.master);
      ProxTensor entry;
      entry.w = w_.back().data() + offset_;
      entry.g = t.g.empty() ? nullptr : g_.back().data() + offset_;
      entry.size = static_cast<std::int64_t>(t.size());
      entry.group = t.group;
      entry.v = v_.back().data() + offset_;
      entry.rate = t.rate;
      if constexpr (kMaster) {
        if (!own_) entry.master = master_.back().data() + offset_;
      }
      list.push_back(entry);
    }
    plan_ = backend_->make_plan(list, groups, kind, kDtypeOf<Storage>);
    backend_->set_stop(*plan_, {});
  }

  Backend& backend() { return *backend_; }
  ProxPlan& plan() { return *plan_; }
  std::vector<Tensor>& host() { return tensors_; }
  /// Weights in the room become these.
  void write(std::size_t t, const std::vector<Storage>& w) {
    backend_->upload(w_[t].data() + offset_, w.data(), w.size() * sizeof(Storage));
  }
  std::vector<Storage> weights(std::size_t t) { return taken(w_[t], tensors_[t].size()); }

  /// The room holds what host() says, to the bit, and nothing else was written.
  void expect_same(const char* when) {
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      const Tensor& want = tensors_[t];
      expect_array(weights(t), want.w, "w", t, when);
      expect_array(taken(v_[t], want.size()), want.v, "v", t, when);
      if (kMaster && !own_) {
        expect_array(taken(master_[t], want.size()), want.master, "master", t, when);
      }
    }
  }
  void expect_status(std::size_t groups, const char* when) {
    const StepStatus& status = backend_->read_status(*plan_);
    std::vector<std::uint64_t> nnz(groups, 0);
    std::uint64_t nonfinite = 0;
    for (const Tensor& t : tensors_) {
      if (t.group >= 0) nnz[static_cast<std::size_t>(t.group)] += t.nonzeros();
      nonfinite += t.nonfinite();
    }
    EXPECT_EQ(status.nnz, nnz) << when;
    EXPECT_EQ(status.nonfinite, nonfinite) << when;
    EXPECT_EQ(status.stopped, nonfinite > 0) << when;
    EXPECT_EQ(backend_->read_nonzeros(*plan_), nnz) << when;
  }

 private:
  template <class T>
  void place(std::vector<Array<T>>& arrays, const std::vector<T>& values) {
    std::vector<T> padded(values.size() + static_cast<std::size_t>(offset_), T{});
    std::copy(values.begin(), values.end(), padded.begin() + offset_);
    arrays.emplace_back(*backend_, std::span<const T>(padded));
  }
  template <class T>
  std::vector<T> taken(const Array<T>& array, std::size_t n) {
    const std::vector<T> all = array.to_host();
    for (std::int64_t i = 0; i < offset_; ++i) {
      EXPECT_TRUE(same_bits(all[static_cast<std::size_t>(i)], T{})) << "before the tensor";
    }
    return std::vector<T>(all.begin() + offset_, all.begin() + offset_ + static_cast<long>(n));
  }
  template <class T>
  static void expect_array(const std::vector<T>& got, const std::vector<T>& want, const char* what,
                           std::size_t tensor, const char* when) {
    for (std::size_t i = 0; i < want.size(); ++i) {
      const bool both_nan = std::isnan(widen(got[i])) && std::isnan(widen(want[i]));
      ASSERT_TRUE(both_nan || same_bits(got[i], want[i]))
          << when << ": " << what << " of tensor " << tensor << ", entry " << i << ": "
          << widen(got[i]) << " and not " << widen(want[i]);
    }
  }

  std::vector<Tensor> tensors_;
  std::int64_t offset_;
  bool own_;
  std::unique_ptr<Backend> backend_;
  std::vector<Array<Storage>> w_, g_;
  std::vector<Array<Compute>> v_, master_;
  std::unique_ptr<ProxPlan> plan_;
};

/// Random weights, with zeros, thresholds, subnormals, and (`nonfinite`) what is not finite among
/// them. Masters are not what is stored: they have more places.
template <class Storage>
DtypeTensor<Storage> random_dtype_tensor(Random& random, std::size_t n, std::int32_t group) {
  using Compute = ComputeOf<Storage>;
  DtypeTensor<Storage> t;
  t.group = group;
  for (std::size_t i = 0; i < n; ++i) {
    auto x = static_cast<Compute>(random.uniform(-1.0f, 1.0f));
    if constexpr (std::is_same_v<Storage, double>) x += 1e-9 * static_cast<double>(i % 7);
    const auto kind = random.integer(0, 15);
    if (kind == 0) x = Compute(0);
    if (kind == 1) x = Compute(0x1p-24);
    if (kind == 2) x = Compute(0x1p-26);  // of fp16 nothing is left
    if (kind == 3) x = Compute(0.125);
    t.master.push_back(x);
    t.w.push_back(stored<Storage>(x));
    t.g.push_back(stored<Storage>(static_cast<Compute>(random.uniform(-1.0f, 1.0f))));
  }
  return t;
}

/// The rooms without the engines, which differ in matrix products only.
inline std::vector<Room> dtype_rooms() {
  std::vector<Room> rooms = all_rooms();
  std::erase_if(
      rooms, [](const Room& room) { return room.engine != "cuda" && room.engine != "reference"; });
  return rooms;
}

}  // namespace cuthresh::testing
