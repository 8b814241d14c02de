#pragma once

// A list of tensors in a room, for tests of controlled runs.

#include <gtest/gtest.h>

#include <bit>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/array.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {

inline constexpr float kAlpha = 0.125f;
constexpr float kMomentum = 0.875f;

struct HostTensor {
  std::vector<float> w, g;
  std::int32_t group = 0;
};

/// A list in a room, with what it was made from.
class ControlList {
 public:
  ControlList(const Room& room, std::vector<HostTensor> tensors, std::int32_t groups,
              StepKind kind = StepKind::kPlain)
      : tensors_(std::move(tensors)), backend_(room.make()) {
    std::vector<ProxTensor> list;
    for (const HostTensor& t : tensors_) {
      w_.emplace_back(*backend_, std::span<const float>(t.w));
      g_.emplace_back(*backend_, std::span<const float>(t.g));
      v_.emplace_back(*backend_, std::span<const float>(std::vector<float>(t.w.size(), 0.0f)));
      list.push_back(
          {w_.back().data(), g_.back().data(), w_.back().size(), t.group, v_.back().data()});
    }
    plan_ = backend_->make_plan(list, groups, kind);
    backend_->set_rate(*plan_, {kAlpha, kMomentum});
    backend_->set_stop(*plan_, {});
  }

  Backend& backend() { return *backend_; }
  ProxPlan& plan() { return *plan_; }
  const std::vector<HostTensor>& host() const { return tensors_; }
  std::vector<float> weights(std::size_t t) const { return w_[t].to_host(); }
  void set_gradient(std::size_t t, const std::vector<float>& g) {
    tensors_[t].g = g;
    backend_->upload(g_[t].data(), g.data(), g.size() * sizeof(float));
  }
  void set_weights(std::size_t t, const std::vector<float>& w) {
    tensors_[t].w = w;
    backend_->upload(w_[t].data(), w.data(), w.size() * sizeof(float));
  }

 private:
  std::vector<HostTensor> tensors_;
  std::unique_ptr<Backend> backend_;
  std::vector<Array<float>> w_, g_, v_;
  std::unique_ptr<ProxPlan> plan_;
};

/// Of a few distinct magnitudes, so that many are equal; every eighth is zero.
inline std::vector<float> coarse(Random& random, std::size_t n) {
  std::vector<float> v(n);
  for (float& x : v) x = 0.25f * static_cast<float>(random.integer(-8, 8));
  for (std::size_t i = 0; i < n; i += 8) v[i] = 0.0f;
  return v;
}

inline void expect_bits(const std::vector<float>& got, const std::vector<float>& want,
                        std::size_t t) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i]))
        << "tensor " << t << ", entry " << i << ": " << got[i] << " and not " << want[i];
  }
}

}  // namespace cuthresh::testing
