#include "nn/parameters.hpp"

#include <cmath>

namespace cuthresh::nn {
namespace {

constexpr std::int64_t kAlignment = 16;  // floats: 64 bytes, a cache line and an AVX-512 register

std::int64_t assign_offsets(std::vector<Parameter>& list) {
  std::int64_t size = 0;
  for (Parameter& p : list) {
    p.offset = size;
    size += (p.numel + kAlignment - 1) / kAlignment * kAlignment;
  }
  return size;
}

float bound_of(const Parameter& p, Initialisation scheme) {
  const auto fan_in = static_cast<double>(p.fan_in);
  const auto fan_out = static_cast<double>(p.fan_out);
  switch (scheme) {
    case Initialisation::kPytorch:
      return static_cast<float>(1.0 / std::sqrt(fan_in));
    case Initialisation::kHe:
      return p.role == Role::kBias ? 0.0f : static_cast<float>(std::sqrt(6.0 / fan_in));
    case Initialisation::kGlorot:
      return p.role == Role::kBias ? 0.0f : static_cast<float>(std::sqrt(6.0 / (fan_in + fan_out)));
  }
  return 0.0f;
}

}  // namespace

Parameters::Parameters(Backend& backend, std::vector<Parameter> list)
    : backend_(backend), list_(std::move(list)) {
  const std::int64_t size = assign_offsets(list_);
  for (Array<float>* array : {&values_, &gradients_}) {
    *array = Array<float>(backend, size);
    array->zero();  // the gaps between tensors too, so that no copy reads what was never written
  }
}

void Parameters::initialise(Initialisation scheme, std::uint64_t seed) {
  drawn_ = {scheme, seed};
  draw();
  best_is_ = Where::kInitial;
}

void Parameters::initialise_here() {
  drawn_.reset();
  initial_ = Array<float>(backend_, elements());
  initial_.copy_from(values_);
  best_is_ = Where::kInitial;
}

void Parameters::draw() {
  for (std::size_t i = 0; i < list_.size(); ++i) {
    const Parameter& p = list_[i];
    const bool drawn = p.role == Role::kWeight || p.role == Role::kBias;
    const float bound = drawn ? bound_of(p, drawn_->scheme) : 0.0f;
    if (p.role == Role::kNormScale || p.role == Role::kRunningVariance) {
      const std::vector<float> ones(static_cast<std::size_t>(p.numel), 1.0f);
      backend_.upload(value(i), ones.data(), ones.size() * sizeof(float));
    } else if (bound == 0.0f) {
      backend_.zero(value(i), static_cast<std::size_t>(p.numel) * sizeof(float));
    } else {
      backend_.initialise_uniform(value(i), p.numel, bound, drawn_->seed,
                                  static_cast<std::uint32_t>(i));
    }
  }
}

void Parameters::restore_initial() {
  if (best_is_ == Where::kHere) copy_as_best();
  if (drawn_) {
    draw();
  } else if (initial_.size() > 0) {
    values_.copy_from(initial_);
  } else {
    values_.zero();
  }
}

void Parameters::start_from_here() {
  if (start_.size() == 0) start_ = Array<float>(backend_, elements());
  start_.copy_from(values_);
}

void Parameters::start_from(std::span<const float> values) {
  if (start_.size() == 0) start_ = Array<float>(backend_, elements());
  backend_.upload(start_.data(), values.data(), values.size_bytes());
}

void Parameters::restore_start() {
  if (start_.size() == 0) return restore_initial();
  if (best_is_ == Where::kHere) copy_as_best();
  values_.copy_from(start_);
}

void Parameters::keep_as_best() {
  best_is_ = Where::kHere;
}

void Parameters::copy_as_best() {
  if (best_.size() == 0) best_ = Array<float>(backend_, elements());
  best_.copy_from(values_);
  best_is_ = Where::kCopied;
}

void Parameters::restore_best() {
  if (best_is_ == Where::kInitial) restore_initial();
  if (best_is_ == Where::kCopied) values_.copy_from(best_);
}

void Parameters::release_all_but_values() {
  for (Array<float>* array : {&gradients_, &initial_, &start_, &best_}) *array = Array<float>();
}

bool matches_pattern(const std::string& name, const std::string& pattern) {
  // Greedy matching with one point to come back to, the last star: linear in all but contrived
  // cases.
  std::size_t n = 0;
  std::size_t p = 0;
  std::size_t star = std::string::npos;
  std::size_t resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || (pattern[p] == name[n] && pattern[p] != '*'))) {
      ++n;
      ++p;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace cuthresh::nn
