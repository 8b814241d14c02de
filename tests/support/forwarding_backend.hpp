#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.hpp"

namespace cuthresh::testing {

/// A room that hands every call on to another: for those that change a few.
class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> room) : room_(std::move(room)) {}

  std::string description() const override { return room_->description(); }
  std::string unsupported(Operation operation) const override {
    return room_->unsupported(operation);
  }

  void* allocate(std::size_t bytes) override { return room_->allocate(bytes); }
  void deallocate(void* pointer) noexcept override { room_->deallocate(pointer); }
  void upload(void* to, const void* from, std::size_t bytes) override {
    room_->upload(to, from, bytes);
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    room_->copy(to, from, bytes);
  }
  void zero(void* to, std::size_t bytes) override { room_->zero(to, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override {
    room_->download(to, from, bytes);
  }
  std::uint64_t bytes_to_host() const override { return room_->bytes_to_host(); }
  void synchronize() override { room_->synchronize(); }
  void set_stream(void* stream) override { room_->set_stream(stream); }
  void throttle(std::int64_t steps) override { room_->throttle(steps); }
  Captured capture(const std::function<void()>& enqueue) override {
    return room_->capture(enqueue);
  }
  void replay(StepGraph& graph) override { room_->replay(graph); }

  void dense_forward(const DenseForward& args) override { room_->dense_forward(args); }
  void dense_backward(const DenseBackward& args) override { room_->dense_backward(args); }
  void mse(const LossArgs& args) override { room_->mse(args); }
  void softmax_cross_entropy(const LossArgs& args) override { room_->softmax_cross_entropy(args); }
  void gather_rows(void* to, const void* from, const std::int64_t* index, std::int64_t rows,
                   std::size_t row_bytes, const StepRows& of_step) override {
    room_->gather_rows(to, from, index, rows, row_bytes, of_step);
  }
  void initialise_uniform(float* to, std::int64_t size, float bound, std::uint64_t seed,
                          std::uint32_t stream) override {
    room_->initialise_uniform(to, size, bound, seed, stream);
  }

  void conv_forward(const ConvForward& args) override { room_->conv_forward(args); }
  void conv_backward(const ConvBackward& args) override { room_->conv_backward(args); }
  void pool_forward(const PoolForward& args) override { room_->pool_forward(args); }
  void pool_backward(const PoolBackward& args) override { room_->pool_backward(args); }
  void batch_norm_forward(const BatchNormForward& args) override {
    room_->batch_norm_forward(args);
  }
  void batch_norm_backward(const BatchNormBackward& args) override {
    room_->batch_norm_backward(args);
  }
  void pointwise_forward(const PointwiseForward& args) override { room_->pointwise_forward(args); }
  void pointwise_backward(const PointwiseBackward& args) override {
    room_->pointwise_backward(args);
  }
  void dropout(const Dropout& args) override { room_->dropout(args); }
  void add(float* to, const float* from, std::int64_t size) override { room_->add(to, from, size); }
  void transpose_samples(float* to, const float* from, std::int64_t rows, std::int64_t lines,
                         std::int64_t columns) override {
    room_->transpose_samples(to, from, rows, lines, columns);
  }
  void gather_images(const GatherImages& args) override { room_->gather_images(args); }

  std::unique_ptr<ProxPlan> make_plan(std::span<const ProxTensor> tensors, std::int32_t groups,
                                      StepKind kind) override {
    return room_->make_plan(tensors, groups, kind);
  }
  void set_lambda(ProxPlan& plan, std::span<const float> lambda) override {
    room_->set_lambda(plan, lambda);
  }
  void set_rates(ProxPlan& plan, std::span<const StepRate> rates) override {
    room_->set_rates(plan, rates);
  }
  void follow_rates(ProxPlan& plan, const float* learning_rate, std::int64_t length) override {
    room_->follow_rates(plan, learning_rate, length);
  }
  void set_gradients(ProxPlan& plan, std::span<const float* const> gradients) override {
    room_->set_gradients(plan, gradients);
  }
  void set_skip(ProxPlan& plan, const float* flag) override { room_->set_skip(plan, flag); }
  void set_stop(ProxPlan& plan, const StopRule& rule) override { room_->set_stop(plan, rule); }
  void prox_step(ProxPlan& plan) override { room_->prox_step(plan); }
  void small_network_step(ProxPlan& plan, const SmallNetworkStep& args) override {
    room_->small_network_step(plan, args);
  }
  void set_control(ProxPlan& plan, const ControlRule& rule,
                   std::span<const ControlTarget> targets) override {
    room_->set_control(plan, rule, targets);
  }
  void control(ProxPlan& plan) override { room_->control(plan); }
  void control(ProxPlan& plan, const std::int64_t* counts) override {
    room_->control(plan, counts);
  }
  void copy_counts(ProxPlan& plan, std::int64_t* counts) override {
    room_->copy_counts(plan, counts);
  }
  ControlState read_control(ProxPlan& plan) override { return room_->read_control(plan); }
  void restore_control(ProxPlan& plan, const ControlState& state) override {
    room_->restore_control(plan, state);
  }
  void keep_targets(ProxPlan& plan) override { room_->keep_targets(plan); }
  void freeze(ProxPlan& plan) override { room_->freeze(plan); }
  std::vector<float> read_lambda(ProxPlan& plan) override { return room_->read_lambda(plan); }
  bool known_to_have_stopped(const ProxPlan& plan) override {
    return room_->known_to_have_stopped(plan);
  }
  const StepStatus& read_status(ProxPlan& plan) override { return room_->read_status(plan); }
  std::vector<std::uint64_t> read_nonzeros(ProxPlan& plan) override {
    return room_->read_nonzeros(plan);
  }
  std::vector<MedianResult> read_bracket_medians(
      ProxPlan& plan, std::span<const std::pair<float, float>> brackets) override {
    return room_->read_bracket_medians(plan, brackets);
  }
  float read_kth_gradient(ProxPlan& plan, std::int64_t k) override {
    return room_->read_kth_gradient(plan, k);
  }
  std::vector<KktResult> read_kkt(ProxPlan& plan) override { return room_->read_kkt(plan); }

 private:
  std::unique_ptr<Backend> room_;
};

}  // namespace cuthresh::testing
