#pragma once

// A context of the C ABI in any room of this machine, with memory there.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "capi/handles.hpp"
#include "core/array.hpp"
#include "cuthresh/cuthresh.h"
#include "support/engines.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {

#define EXPECT_CTH(call) EXPECT_EQ(call, CTH_OK) << cth_last_error()
#define ASSERT_CTH(call) ASSERT_EQ(call, CTH_OK) << cth_last_error()

/// A call that must fail with `status` and a message that holds `text`.
inline void expect_refused(cth_status got, cth_status status, const std::string& text) {
  EXPECT_EQ(cth_status_name(got), std::string(cth_status_name(status))) << cth_last_error();
  EXPECT_NE(std::string(cth_last_error()).find(text), std::string::npos)
      << "\"" << text << "\" is not in \"" << cth_last_error() << "\"";
}

/// The rooms without the engines, which differ in matrix products only.
inline std::vector<Room> list_rooms() {
  std::vector<Room> rooms = all_rooms();
  std::erase_if(rooms,
                [](const Room& room) { return room.engine != "tiled" && room.engine != "cuda"; });
  return rooms;
}

inline std::string room_name(const ::testing::TestParamInfo<Room>& info) {
  return info.param.name();
}

struct DestroyHandle {
  void operator()(cth_context* context) const { cth_context_destroy(context); }
  void operator()(cth_plan* plan) const { cth_plan_destroy(plan); }
  void operator()(cth_controller* controller) const { cth_controller_destroy(controller); }
};
using ContextHandle = std::unique_ptr<cth_context, DestroyHandle>;
using PlanHandle = std::unique_ptr<cth_plan, DestroyHandle>;
using ControllerHandle = std::unique_ptr<cth_controller, DestroyHandle>;

/// One tensor of a list, as a test writes it down. The gradient may be empty: there is none.
struct Entry {
  std::vector<float> w, g;
  std::int32_t group = 0;
  std::int32_t rate = 0;
};

/// A context and a list of tensors on its device.
class List {
 public:
  List(const Room& room, const std::vector<Entry>& entries)
      : device_{room.engine == "cuda" ? CTH_CUDA : CTH_CPU, 0},
        context_(capi::make_context(room.make(), device_)) {
    for (const Entry& entry : entries) {
      w_.emplace_back(backend(), std::span<const float>(entry.w));
      g_.emplace_back(backend(), std::span<const float>(entry.g));
      v_.emplace_back(backend(), std::span<const float>(std::vector<float>(entry.w.size(), 0.0f)));
      entries_.push_back(
          {tensor(w_.back()), tensor(g_.back()), tensor(v_.back()), entry.group, entry.rate});
    }
  }

  cth_context* context() const { return context_.get(); }
  Backend& backend() const { return *context_->state->backend; }
  std::vector<cth_plan_tensor>& entries() { return entries_; }
  Array<float>& weight(std::size_t i) { return w_[i]; }
  Array<float>& gradient(std::size_t i) { return g_[i]; }
  Array<float>& momentum(std::size_t i) { return v_[i]; }
  cth_tensor tensor(Array<float>& array) const {
    return {array.data(), array.size(), CTH_FLOAT32, device_.type, device_.index};
  }
  void set(Array<float>& array, const std::vector<float>& values) const {
    backend().upload(array.data(), values.data(), values.size() * sizeof(float));
  }

  /// Makes the plan that plan() is from here on.
  void make_plan(cth_step_kind kind = CTH_STEP_SGD) {
    cth_plan_options options = CTH_PLAN_OPTIONS_INIT;
    options.kind = kind;
    cth_plan* made = nullptr;
    ASSERT_CTH(cth_plan_create(context(), entries_.data(), entries_.size(), &options, &made));
    plan_.reset(made);
  }
  cth_plan* plan() const { return plan_.get(); }
  void drop_plan() { plan_.reset(); }

  void set_rates(const std::vector<cth_rate>& rates) const {
    ASSERT_CTH(cth_plan_set_rates(plan(), rates.data(), rates.size()));
  }
  void set_lambda(const std::vector<float>& lambda) const {
    ASSERT_CTH(cth_plan_set_lambda(plan(), lambda.data(), lambda.size()));
  }
  std::vector<float> lambda(std::size_t groups) const {
    std::vector<float> values(groups, -1.0f);
    EXPECT_CTH(cth_plan_read_lambda(plan(), values.data(), groups));
    return values;
  }
  std::vector<std::uint64_t> counts(std::size_t groups) const {
    std::vector<std::uint64_t> values(groups, 77);
    EXPECT_CTH(cth_plan_read_counts(plan(), values.data(), groups));
    return values;
  }
  cth_step_status status() const {
    cth_step_status status{};
    EXPECT_CTH(cth_plan_read_status(plan(), &status));
    return status;
  }

 private:
  capi::Device device_;
  ContextHandle context_;
  std::vector<Array<float>> w_, g_, v_;
  std::vector<cth_plan_tensor> entries_;
  PlanHandle plan_;
};

inline void expect_same_bits(const std::vector<float>& got, const std::vector<float>& want,
                             const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i]))
        << what << ", entry " << i << ": " << got[i] << " and not " << want[i];
  }
}

inline std::uint64_t nonzeros_of(const std::vector<float>& values) {
  return static_cast<std::uint64_t>(
      std::count_if(values.begin(), values.end(), [](float x) { return x != 0.0f; }));
}

}  // namespace cuthresh::testing
