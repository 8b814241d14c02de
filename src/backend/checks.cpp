#include "backend/checks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "backend/check_values.hpp"

namespace cuthresh {
namespace {

/// Bytes [begin, end) of tensor `tensor`.
struct Range {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::size_t tensor = 0;
  bool written = false;
};

/// Weights and momentum are written, so they may share no byte with what else is read or written.
void check_overlaps(const char* where, std::span<const ProxTensor> tensors, bool momentum,
                    Dtype dtype) {
  std::vector<Range> ranges;
  ranges.reserve(4 * tensors.size());
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    if (tensors[t].size == 0) continue;
    const auto size = static_cast<std::uintptr_t>(tensors[t].size);
    const std::uintptr_t bytes = size * storage_bytes(dtype);
    const std::uintptr_t wide = size * compute_bytes(dtype);
    const auto w = reinterpret_cast<std::uintptr_t>(tensors[t].w);
    const auto g = reinterpret_cast<std::uintptr_t>(tensors[t].g);
    ranges.push_back({w, w + bytes, t, true});
    if (g != w && g != 0) ranges.push_back({g, g + bytes, t, false});
    const auto also_written = [&](const void* array) {
      const auto begin = reinterpret_cast<std::uintptr_t>(array);
      ranges.push_back({begin, begin + wide, t, true});
    };
    if (momentum) also_written(tensors[t].v);
    if (has_master(dtype) && tensors[t].master != nullptr) also_written(tensors[t].master);
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  // Of all ranges that began before, the one that reaches farthest, and the same of the written
  // ones.
  const Range* reach = nullptr;
  const Range* written = nullptr;
  for (const Range& range : ranges) {
    const Range* other = range.written ? reach : written;
    if (other != nullptr && other->end > range.begin) {
      refuse(where,
             "tensors " + std::to_string(std::min(range.tensor, other->tensor)) + " and " +
                 std::to_string(std::max(range.tensor, other->tensor)) +
                 " overlap: weights and momentum may share no memory with other arrays",
             hex(reinterpret_cast<const void*>(range.begin)), "give every tensor its own memory");
    }
    if (reach == nullptr || range.end > reach->end) reach = &range;
    if (range.written && (written == nullptr || range.end > written->end)) written = &range;
  }
}

std::string text_of(double value) {
  return std::to_string(value);
}

/// As it is computed with.
double rounded(double value, Dtype dtype) {
  return dtype == Dtype::kFloat64 ? value : static_cast<double>(static_cast<float>(value));
}

std::string tensor_name(const char* where, std::size_t tensor) {
  return std::string(where) + ", tensor " + std::to_string(tensor);
}

void check_shape(const std::string& where, const DenseShape& s) {
  check_extent(where, "rows", s.rows, 0);
  check_extent(where, "in", s.in, 1);
  check_extent(where, "out", s.out, 1);
  check_product(where, "x", s.rows, s.in);
  check_product(where, "y", s.rows, s.out);
  check_product(where, "w", s.out, s.in);
}

}  // namespace

void check_list(std::span<const ProxTensor> tensors, std::int32_t groups, StepKind kind,
                Dtype dtype) {
  const char* const where = "make_plan";
  const bool momentum = has_momentum(kind);
  if (tensors.empty()) {
    refuse(where, "the list has no tensor", "0", "pass at least one tensor");
  }
  if (static_cast<std::int64_t>(tensors.size()) > kMaxListEntries || groups < 0 ||
      groups > kMaxListEntries) {
    refuse(where, "at most 2^24 tensors and from 0 to 2^24 groups",
           std::to_string(tensors.size()) + " tensors, " + std::to_string(groups) + " groups",
           "join tensors");
  }
  std::int64_t elements = 0;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const ProxTensor& tensor = tensors[t];
    const std::string entry = tensor_name(where, t);
    check_extent(entry, "the size", tensor.size, 0);
    if (tensor.group < -1 || tensor.group >= groups) {
      refuse(entry, "the group must lie in [-1, " + std::to_string(groups) + ")",
             std::to_string(tensor.group), "number the groups from 0; -1 for none");
    }
    if (tensor.rate < 0 || tensor.rate >= kMaxListEntries) {
      refuse(entry, "the rate must lie in [0, 2^24)", std::to_string(tensor.rate),
             "number the rates from 0");
    }
    if (tensor.size == 0) continue;
    check_pointer(entry, "w", tensor.w, storage_bytes(dtype));
    if (tensor.g != nullptr) check_pointer(entry, "g", tensor.g, storage_bytes(dtype));
    if (momentum) check_pointer(entry, "v", tensor.v, compute_bytes(dtype));
    if (has_master(dtype) && tensor.master != nullptr) {
      check_pointer(entry, "master", tensor.master);
    }
    elements += tensor.size;
    check_extent(where, "the size of the whole list", elements, 0);
  }
  check_overlaps(where, tensors, momentum, dtype);
}

std::size_t count_rates(std::span<const ProxTensor> tensors) {
  std::int32_t last = 0;
  for (const ProxTensor& tensor : tensors) last = std::max(last, tensor.rate);
  return static_cast<std::size_t>(last) + 1;
}

bool same_gradients(std::span<const ProxTensor> tensors, std::span<const void* const> gradients) {
  return std::equal(tensors.begin(), tensors.end(), gradients.begin(), gradients.end(),
                    [](const ProxTensor& tensor, const void* g) { return tensor.g == g; });
}

std::vector<ProxTensor> with_gradients(std::span<const ProxTensor> tensors,
                                       std::span<const void* const> gradients, StepKind kind,
                                       Dtype dtype) {
  const char* const where = "set_gradients";
  if (gradients.size() != tensors.size()) {
    refuse(where, "one a tensor is wanted, " + std::to_string(tensors.size()),
           std::to_string(gradients.size()), "pass as many as the list has tensors");
  }
  std::vector<ProxTensor> list(tensors.begin(), tensors.end());
  for (std::size_t t = 0; t < list.size(); ++t) {
    if (gradients[t] == list[t].g) continue;
    list[t].g = gradients[t];
    if (list[t].g != nullptr && list[t].size > 0) {
      check_pointer(tensor_name(where, t), "g", list[t].g, storage_bytes(dtype));
    }
  }
  check_overlaps(where, list, has_momentum(kind), dtype);
  return list;
}

void check_gradients(const char* where, std::span<const ProxTensor> tensors) {
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    if (tensors[t].g != nullptr || tensors[t].size == 0 || tensors[t].group < 0) continue;
    refuse(tensor_name(where, t), "the tensor has no gradient to be read", "null",
           "give it one by set_gradients");
  }
}

void check_lambda(std::span<const double> lambda, std::size_t groups, Dtype dtype) {
  if (lambda.size() != groups) {
    refuse("set_lambda", "one value a group is wanted, " + std::to_string(groups),
           std::to_string(lambda.size()), "pass as many as the plan has groups");
  }
  for (std::size_t i = 0; i < lambda.size(); ++i) {
    if (lambda[i] >= 0.0 && std::isfinite(rounded(lambda[i], dtype))) continue;
    refuse("set_lambda, group " + std::to_string(i), "lambda must be finite and not negative",
           text_of(lambda[i]), "pass 0 for a group without a penalty");
  }
}

void check_rates(std::span<const StepRateOf<double>> rates, std::size_t count, Dtype dtype) {
  const char* const where = "set_rates";
  if (rates.size() != count) {
    refuse(where, "one value a rate of the list is wanted, " + std::to_string(count),
           std::to_string(rates.size()), "pass as many as the largest rate of a tensor and one");
  }
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const StepRateOf<double> rate = {rounded(rates[i].learning_rate, dtype),
                                     rounded(rates[i].momentum, dtype),
                                     rounded(rates[i].weight_decay, dtype)};
    const std::string entry = std::string(where) + ", rate " + std::to_string(i);
    if (!(rate.learning_rate >= 0.0 && std::isfinite(rate.learning_rate))) {
      refuse(entry, "the learning rate must be finite and not negative",
             text_of(rate.learning_rate), "pass a positive number");
    }
    if (!(rate.momentum >= 0.0 && rate.momentum < 1.0)) {
      refuse(entry, "the momentum must be at least 0 and below 1", text_of(rate.momentum),
             "pass such a number, 0.9 for instance");
    }
    if (!(rate.weight_decay >= 0.0 && std::isfinite(rate.weight_decay))) {
      refuse(entry, "the weight decay must be finite and not negative", text_of(rate.weight_decay),
             "pass 0 for none");
    }
  }
}

void check_skip(const float* flag) {
  if (flag != nullptr) check_pointer("set_skip", "the flag", flag);
}

void check_stop(const StopRule& rule, std::size_t groups) {
  if (rule.bands.size() > 1 && rule.bands.size() != groups) {
    refuse("set_stop", "no band, one for the total or one a group is wanted",
           std::to_string(rule.bands.size()), "pass as many as the plan has groups");
  }
  if (rule.required < 0 || rule.required > static_cast<std::int64_t>(rule.bands.size())) {
    refuse("set_stop",
           "the bands that must hold at once are from 0 to " + std::to_string(rule.bands.size()),
           std::to_string(rule.required), "require no more bands than there are");
  }
}

bool check_brackets(std::size_t brackets, std::size_t groups) {
  const bool over_all = brackets == 1 && groups != 1;
  if (!over_all && brackets != groups) {
    refuse("read_bracket_medians", "one bracket in all or one a group is wanted",
           std::to_string(brackets), "pass as many as the plan has groups");
  }
  return over_all;
}

void check_narrow(const char* where, Dtype dtype) {
  if (dtype != Dtype::kFloat64) return;
  refuse(where, "magnitudes of float64 tensors do not fit into float32", "float64",
         "read them in float64");
}

void check_rank(std::int64_t k, std::int64_t size) {
  if (k >= 1 && k <= size) return;
  refuse("read_kth_gradient",
         "k must be from 1 to the number of penalised weights, " + std::to_string(size),
         std::to_string(k), "ask for a rank that exists");
}

void check_dense(const DenseForward& args) {
  const std::string where = "dense_forward";
  check_shape(where, args.shape);
  if (args.shape.rows == 0) return;
  check_pointer(where, "x", args.x);
  check_pointer(where, "w", args.w);
  check_pointer(where, "b", args.b);
  check_pointer(where, "y", args.y);
  if (needs_preactivation(args.shape.activation)) check_pointer(where, "z", args.z);
}

void check_dense(const DenseBackward& args) {
  const std::string where = "dense_backward";
  check_shape(where, args.shape);
  check_pointer(where, "dw", args.dw);
  check_pointer(where, "db", args.db);
  if (args.shape.rows == 0) return;
  check_pointer(where, "x", args.x);
  check_pointer(where, "w", args.w);
  check_pointer(where, "dy", args.dy);
  const bool from_z = needs_preactivation(args.shape.activation);
  check_pointer(where, from_z ? "z" : "y", from_z ? args.z : args.y);
  if (args.dx != nullptr) check_pointer(where, "dx", args.dx);
}

void check_loss(const LossArgs& args, Loss loss) {
  const std::string where = loss == Loss::kMse ? "mse" : "softmax_cross_entropy";
  check_extent(where, "rows", args.rows, 0);
  check_extent(where, "columns", args.columns, 1);
  check_product(where, "the prediction", args.rows, args.columns);
  if (args.sum != nullptr) check_pointer(where, "sum", args.sum, alignof(LossSum));
  if (args.gradient != nullptr) check_pointer(where, "gradient", args.gradient);
  if (args.rows == 0) return;
  check_pointer(where, "prediction", args.prediction);
  if (loss == Loss::kMse) {
    check_pointer(where, "target", args.target);
  } else {
    check_pointer(where, "label", args.label);
  }
}

void check_gather(const void* to, const void* from, const std::int64_t* index, std::int64_t rows) {
  const std::string where = "gather_rows";
  check_extent(where, "rows", rows, 0);
  if (rows == 0) return;
  check_pointer(where, "to", to, 1);
  check_pointer(where, "from", from, 1);
  check_pointer(where, "index", index, alignof(std::int64_t));
}

void check_float32(const char* where, Dtype dtype) {
  if (dtype == Dtype::kFloat32) return;
  refuse(where, "is for plans of float32", "another dtype", "make a plan of float32");
}

void check_rate_table(const float* learning_rate, std::int64_t length, Dtype dtype) {
  const char* const where = "follow_rates";
  check_float32(where, dtype);
  check_extent(where, "length", length, 1);
  check_pointer(where, "the learning rates", learning_rate);
}

void check_uniform(const float* to, std::int64_t size, float bound) {
  const std::string where = "initialise_uniform";
  check_extent(where, "the size", size, 0);
  if (!std::isfinite(bound)) {
    refuse(where, "the bound must be finite", text_of(static_cast<double>(bound)),
           "pass a finite number");
  }
  if (size > 0) check_pointer(where, "to", to);
}

}  // namespace cuthresh
