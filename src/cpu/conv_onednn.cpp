// oneDNN's convolution primitives (v2 API in Debian 12, v3 elsewhere). Each runs on the thread that
// calls it; the batch is divided here, into pieces that depend on the shape and the rows alone, so
// that results do not depend on the number of threads.

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/conv.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {

using dnnl::memory;

/// oneDNN asks OpenMP how many threads to take: one, while this lives.
struct ConvOneThread {
  int before = omp_get_max_threads();
  ConvOneThread() { omp_set_num_threads(1); }
  ~ConvOneThread() { omp_set_num_threads(before); }
  ConvOneThread(const ConvOneThread&) = delete;
  ConvOneThread& operator=(const ConvOneThread&) = delete;
};

/// Memory that only grows, on cache lines.
class ConvBuffer {
 public:
  void* at_least(std::size_t bytes) {
    if (bytes <= bytes_) return data_.get();
    const std::size_t rounded = (bytes + 63) / 64 * 64;
    data_.reset(std::aligned_alloc(64, rounded));
    bytes_ = data_ == nullptr ? 0 : rounded;
    if (data_ == nullptr) {
      throw InternalError({"convolution", "could not allocate", std::to_string(bytes) + " bytes",
                           "use a smaller network or batch, or a machine with more memory"});
    }
    return data_.get();
  }
  float* floats(std::int64_t count) {
    return static_cast<float*>(at_least(static_cast<std::size_t>(count) * sizeof(float)));
  }

 private:
  struct Free {
    void operator()(void* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<void, Free> data_;
  std::size_t bytes_ = 0;
};

enum class ConvKind : std::uint8_t { kForward, kData, kWeights };

std::string shape_text(const ConvShape& s) {
  return std::to_string(s.rows) + " x " + std::to_string(s.in.height) + " x " +
         std::to_string(s.in.width) + " x " + std::to_string(s.in.channels) + " to " +
         std::to_string(s.out_channels) + " channels, window " + std::to_string(s.window.height) +
         " x " + std::to_string(s.window.width);
}

/// A dnnl_status_t that should have been success.
void check_dnnl(dnnl_status_t status, const ConvShape& s) {
  if (status == dnnl_success) return;
  throw InternalError({"oneDNN convolution", "failed for " + shape_text(s),
                       "status " + std::to_string(static_cast<int>(status)),
                       "try run.engine = \"tiled\""});
}

/// One primitive for so many samples of a shape, with what each thread needs to run it.
class ConvStage {
 public:
  ConvStage(ConvKind kind, const ConvShape& s, const dnnl::engine& engine, int parts)
      : kind_(kind), shape_(s) {
    try {
      create(engine);
    } catch (const dnnl::error& error) {
      if (error.status != dnnl_unimplemented && error.status != dnnl_invalid_arguments) throw;
      return;
    }
    const memory::desc plain = plain_weights();
    weights_ = memory(weights_desc_, engine, DNNL_MEMORY_NONE);
    plain_ = memory(plain, engine, DNNL_MEMORY_NONE);
    const auto scratch_desc = scratch_desc_;
    for (int i = 0; i < parts; ++i) {
      slots_.push_back({memory(source_desc_, engine, DNNL_MEMORY_NONE),
                        memory(result_desc_, engine, DNNL_MEMORY_NONE),
                        memory(weights_desc_, engine, DNNL_MEMORY_NONE),
                        memory(scratch_desc, engine, DNNL_MEMORY_NONE), dnnl::stream(engine)});
    }
    reorder_ =
        kind == ConvKind::kWeights
            ? dnnl::reorder(dnnl::reorder::primitive_desc(engine, weights_desc_, engine, plain))
            : dnnl::reorder(dnnl::reorder::primitive_desc(engine, plain, engine, weights_desc_));
  }

  /// False where oneDNN has only its plain C++ loops, which are slower than ours.
  bool usable() const { return usable_; }
  std::size_t scratch_bytes() const { return scratch_desc_.get_size(); }
  /// Of the weights in this primitive's own format, padding included.
  std::size_t weights_bytes() const { return weights_desc_.get_size(); }
  bool same_format(const ConvStage& other) const { return weights_desc_ == other.weights_desc_; }

  /// Weights [out, in, height, width] into the primitive's format.
  void take_weights(const float* w) {
    float* own = static_cast<float*>(own_weights_.at_least(weights_bytes()));
    set(plain_, w);
    set(weights_, own);
    reorder(plain_, weights_);
    for (Slot& slot : slots_) set(slot.weights, own);
  }
  /// The reverse, for a gradient.
  void give_weights(const float* blocked, float* w) {
    set(weights_, blocked);
    set(plain_, w);
    reorder(weights_, plain_);
  }

  /// kForward: x, y; kData: dz, dx. On the calling thread, whose slot is `part`.
  void run(int part, const float* from, float* to, void* scratch) {
    Slot& slot = slots_[static_cast<std::size_t>(part)];
    set(slot.source, from);
    set(slot.result, to);
    set(slot.scratch, scratch);
    const bool forward = kind_ == ConvKind::kForward;
    const std::array<dnnl_exec_arg_t, 4> args = {
        {{forward ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, slot.source.get()},
         {DNNL_ARG_WEIGHTS, slot.weights.get()},
         {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, slot.result.get()},
         {DNNL_ARG_SCRATCHPAD, slot.scratch.get()}}};
    execute(slot, args);
  }
  /// kWeights: x, dz, and dw in the primitive's format.
  void run_weights(int part, const float* x, const float* dz, float* dw, void* scratch) {
    Slot& slot = slots_[static_cast<std::size_t>(part)];
    set(slot.source, x);
    set(slot.result, dz);
    set(slot.weights, dw);
    set(slot.scratch, scratch);
    const std::array<dnnl_exec_arg_t, 4> args = {{{DNNL_ARG_SRC, slot.source.get()},
                                                  {DNNL_ARG_DIFF_DST, slot.result.get()},
                                                  {DNNL_ARG_DIFF_WEIGHTS, slot.weights.get()},
                                                  {DNNL_ARG_SCRATCHPAD, slot.scratch.get()}}};
    execute(slot, args);
  }

 private:
  struct Slot {
    memory source, result, weights, scratch;
    dnnl::stream stream;
  };

  static void set(memory& m, const void* data) { m.set_data_handle(const_cast<void*>(data)); }

  void execute(const Slot& slot, const std::array<dnnl_exec_arg_t, 4>& args) const {
    check_dnnl(dnnl_primitive_execute(primitive_.get(), slot.stream.get(),
                                      static_cast<int>(args.size()), args.data()),
               shape_);
  }
  void reorder(memory& from, memory& to) {
    const std::array<dnnl_exec_arg_t, 2> args = {
        {{DNNL_ARG_FROM, from.get()}, {DNNL_ARG_TO, to.get()}}};
    check_dnnl(dnnl_primitive_execute(reorder_.get(), slots_[0].stream.get(),
                                      static_cast<int>(args.size()), args.data()),
               shape_);
  }

  memory::desc plain_weights() const {
    return {{shape_.out_channels, shape_.in.channels, shape_.window.height, shape_.window.width},
            memory::data_type::f32,
            memory::format_tag::oihw};
  }

  template <class Primitive, class Description>
  void keep(const Description& description) {
    const std::string_view name = description.impl_info_str();
    usable_ = name.substr(0, 3) != "ref";
    primitive_ = Primitive(description);
    scratch_desc_ = description.scratchpad_desc();
  }

  void create(const dnnl::engine& engine) {
    constexpr auto kFloat = memory::data_type::f32;
    constexpr auto kDirect = dnnl::algorithm::convolution_direct;
    const ConvShape& s = shape_;
    const ImageShape out = s.out();
    const memory::desc x({s.rows, s.in.channels, s.in.height, s.in.width}, kFloat,
                         memory::format_tag::nhwc);
    const memory::desc y({s.rows, out.channels, out.height, out.width}, kFloat,
                         memory::format_tag::nhwc);
    const memory::desc w({s.out_channels, s.in.channels, s.window.height, s.window.width}, kFloat,
                         memory::format_tag::any);
    const memory::dims strides{s.window.stride_height, s.window.stride_width};
    const memory::dims pads{s.window.pad_height, s.window.pad_width};
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    using Forward = dnnl::convolution_forward;
    using Data = dnnl::convolution_backward_data;
    using Weights = dnnl::convolution_backward_weights;
#if DNNL_VERSION_MAJOR >= 3
    const Forward::primitive_desc forward(engine, dnnl::prop_kind::forward_training, kDirect, x, w,
                                          y, strides, pads, pads, attributes);
#else
    const Forward::primitive_desc forward(
        Forward::desc(dnnl::prop_kind::forward_training, kDirect, x, w, y, strides, pads, pads),
        attributes, engine);
#endif
    source_desc_ = x;
    result_desc_ = y;
    if (kind_ == ConvKind::kForward) {
      weights_desc_ = forward.weights_desc();
      keep<Forward>(forward);
    } else if (kind_ == ConvKind::kData) {
#if DNNL_VERSION_MAJOR >= 3
      const Data::primitive_desc data(engine, kDirect, x, w, y, strides, pads, pads, forward,
                                      attributes);
#else
      const Data::primitive_desc data(Data::desc(kDirect, x, w, y, strides, pads, pads), attributes,
                                      engine, forward);
#endif
      source_desc_ = y;
      result_desc_ = x;
      weights_desc_ = data.weights_desc();
      keep<Data>(data);
    } else {
#if DNNL_VERSION_MAJOR >= 3
      const Weights::primitive_desc weights(engine, kDirect, x, w, y, strides, pads, pads, forward,
                                            attributes);
#else
      const Weights::primitive_desc weights(Weights::desc(kDirect, x, w, y, strides, pads, pads),
                                            attributes, engine, forward);
#endif
      weights_desc_ = weights.diff_weights_desc();
      keep<Weights>(weights);
    }
  }

  ConvKind kind_;
  ConvShape shape_;
  bool usable_ = false;
  memory::desc source_desc_, result_desc_, weights_desc_, scratch_desc_;
  dnnl::primitive primitive_;
  dnnl::reorder reorder_;
  memory weights_, plain_;
  ConvBuffer own_weights_;
  std::vector<Slot> slots_;
};

/// How a batch is cut: `count` pieces of `samples` samples, the last one shorter.
struct ConvCut {
  std::int64_t samples;
  std::int64_t count;
  std::int64_t rows;

  static ConvCut of(std::int64_t rows, std::int64_t samples) {
    const std::int64_t each = std::clamp<std::int64_t>(samples, 1, rows);
    return {each, (rows + each - 1) / each, rows};
  }
  std::int64_t first(std::int64_t i) const { return i * samples; }
  std::int64_t size(std::int64_t i) const { return std::min(samples, rows - i * samples); }
};

/// The largest power of two (at most 32) of samples of this size in so many bytes.
std::int64_t samples_in(std::int64_t bytes, std::int64_t elements) {
  const std::int64_t most = bytes / static_cast<std::int64_t>(sizeof(float));
  std::int64_t samples = 1;
  while (samples < 32 && 2 * samples * elements <= most) samples *= 2;
  return samples;
}

/// Pieces whose output the epilogue still finds in the second-level cache.
ConvCut forward_cut(const ConvShape& s) {
  return ConvCut::of(s.rows, samples_in(512 << 10, s.in.elements() + s.out().elements()));
}

/// Every piece of the backward pass has a weight gradient of its own, which are added up at the
/// end: 2 to 32 of them, together at most 4 MiB where 2 allow it. For a batch of 128 and 64 to 128
/// channels on 7 x 7, pieces of 16 samples took 8.7 ms on two Cascade Lake cores, of 8 samples 9.0,
/// of 4 samples 9.9.
ConvCut backward_cut(const ConvShape& s) {
  constexpr std::int64_t kElements = (4 << 20) / static_cast<std::int64_t>(sizeof(float));
  const std::int64_t pieces = std::clamp<std::int64_t>(kElements / s.weights(), 2, 32);
  const std::int64_t least = (s.rows + pieces - 1) / pieces;
  return ConvCut::of(
      s.rows, std::max(least, samples_in(1 << 20, 2 * s.in.elements() + s.out().elements())));
}

class OneDnnConv final : public Conv {
 public:
  explicit OneDnnConv(const Loops& loops)
      : loops_(loops), plain_(make_plain_conv(loops)), engine_(dnnl::engine::kind::cpu, 0) {}

  void forward(const ConvForward& args, const Threads& threads) override {
    const ConvShape& s = args.shape;
    const ConvCut cut = forward_cut(s);
    const Pair stages = stages_for(ConvKind::kForward, s, cut, threads);
    if (!stages.usable()) return plain_->forward(args, threads);
    {
      const ConvOneThread guard;
      stages.whole->take_weights(args.w);
      if (stages.last != stages.whole) stages.last->take_weights(args.w);
    }
    const float* bias = args.b;
    if (bias == nullptr) {
      zeros_.resize(static_cast<std::size_t>(s.out_channels), 0.0f);
      bias = zeros_.data();
    }
    const bool epilogue = args.b != nullptr || s.activation != Activation::kIdentity;
    const ImageShape out = s.out();
    pieces(cut, threads, [&](int part, std::int64_t i) {
      const std::int64_t first = cut.first(i);
      float* y = args.y + first * out.elements();
      stages.of(cut, i).run(part, args.x + first * s.in.elements(), y, scratch_of(part));
      if (!epilogue) return;
      loops_.bias_activation(epilogue_shape(s), bias,
                             args.z == nullptr ? nullptr : args.z + first * out.elements(), y,
                             cut.size(i) * out.positions(), out.channels, out.channels);
    });
  }

  void backward(const ConvBackward& args, const Threads& threads) override {
    const ConvShape& s = args.shape;
    const ConvCut cut = backward_cut(s);
    const bool wants_dx = args.dx != nullptr;
    const Pair data = wants_dx ? stages_for(ConvKind::kData, s, cut, threads) : Pair{};
    const Pair weights = stages_for(ConvKind::kWeights, s, cut, threads);
    if ((wants_dx && !data.usable()) || !weights.usable()) return plain_->backward(args, threads);
    if (wants_dx) {
      const ConvOneThread guard;
      data.whole->take_weights(args.w);
      if (data.last != data.whole) data.last->take_weights(args.w);
    }
    const ImageShape out = s.out();
    const auto blocked = static_cast<std::int64_t>(weights.whole->weights_bytes() / sizeof(float));
    float* sums = weight_sums_.floats(cut.count * blocked);
    float* bias_sums = bias_sums_.floats(2 * cut.count * s.out_channels);
    // The last piece may have a format of its own.
    float* odd = nullptr;
    if (weights.last != weights.whole && !weights.last->same_format(*weights.whole)) {
      odd = static_cast<float*>(odd_weights_.at_least(weights.last->weights_bytes()));
    }
    pieces(cut, threads, [&](int part, std::int64_t i) {
      const std::int64_t first = cut.first(i);
      backward_activation(args, first, cut.size(i), bias_sums + 2 * i * s.out_channels);
      const float* dz = args.dy + first * out.elements();
      if (wants_dx) {
        data.of(cut, i).run(part, dz, args.dx + first * s.in.elements(), scratch_of(part));
      }
      const bool is_odd = odd != nullptr && i == cut.count - 1;
      weights.of(cut, i).run_weights(part, args.x + first * s.in.elements(), dz,
                                     is_odd ? odd : sums + i * blocked, scratch_of(part));
    });
    add_pieces(args, cut, weights, sums, odd, blocked, threads);
    if (args.db == nullptr) return;
    for (std::int64_t c = 0; c < s.out_channels; ++c) {
      float sum = args.accumulate ? args.db[c] : 0.0f;
      for (std::int64_t i = 0; i < cut.count; ++i) sum += bias_sums[2 * i * s.out_channels + c];
      args.db[c] = sum;
    }
  }

 private:
  /// The stage of whole pieces and that of the last one, the same where it is whole.
  struct Pair {
    ConvStage* whole = nullptr;
    ConvStage* last = nullptr;
    bool usable() const { return whole->usable() && last->usable(); }
    ConvStage& of(const ConvCut& cut, std::int64_t i) const {
      return i == cut.count - 1 ? *last : *whole;
    }
  };
  using Key = std::array<std::int64_t, 12>;

  ConvStage& stage_for(ConvKind kind, ConvShape s, std::int64_t samples, const Threads& threads) {
    const Window& w = s.window;
    const Key key = {static_cast<std::int64_t>(kind),
                     samples,
                     s.in.height,
                     s.in.width,
                     s.in.channels,
                     s.out_channels,
                     w.height,
                     w.width,
                     w.stride_height,
                     w.stride_width,
                     w.pad_height,
                     w.pad_width};
    const auto found = stages_.find(key);
    if (found != stages_.end()) return *found->second;
    const ConvOneThread guard;  // a primitive is made for the threads there are
    s.rows = samples;
    auto stage = std::make_unique<ConvStage>(kind, s, engine_, threads.count());
    if (stage->usable()) {
      scratch_.resize(static_cast<std::size_t>(threads.count()));
      for (ConvBuffer& buffer : scratch_) buffer.at_least(stage->scratch_bytes());
    }
    return *stages_.emplace(key, std::move(stage)).first->second;
  }

  Pair stages_for(ConvKind kind, const ConvShape& s, const ConvCut& cut, const Threads& threads) {
    try {
      ConvStage& whole = stage_for(kind, s, cut.samples, threads);
      ConvStage& last = stage_for(kind, s, cut.size(cut.count - 1), threads);
      return {&whole, &last};
    } catch (const dnnl::error& error) {
      throw InternalError({"oneDNN convolution",
                           "could not be set up for " + shape_text(s) + ": " + error.what(),
                           "status " + std::to_string(static_cast<int>(error.status)),
                           "try run.engine = \"tiled\""});
    }
  }

  void* scratch_of(int part) { return scratch_[static_cast<std::size_t>(part)].at_least(0); }

  /// f(part, piece) for every piece, each part a contiguous range.
  template <class F>
  void pieces(const ConvCut& cut, const Threads& threads, F f) {
    const int parts = static_cast<int>(std::min<std::int64_t>(threads.count(), cut.count));
    threads.run(parts, [&](int part, int all) {
      const ConvOneThread guard;
      const std::int64_t end = cut.count * (part + 1) / all;
      for (std::int64_t i = cut.count * part / all; i < end; ++i) f(part, i);
    });
  }

  /// dy ← ∂L/∂z of some samples; sums: their bias gradient, and as much again to work in.
  void backward_activation(const ConvBackward& args, std::int64_t first, std::int64_t samples,
                           float* sums) {
    const ConvShape& s = args.shape;
    if (s.activation == Activation::kIdentity && args.db == nullptr) return;
    const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
    const std::int64_t columns = s.out_channels;
    const std::int64_t begin = first * s.out().positions();
    const std::int64_t rows = samples * s.out().positions();
    for (std::int64_t row = 0; row < rows; row += kConvBiasRows) {
      float* to = row == 0 ? sums : sums + columns;
      loops_.activation_backward(epilogue_shape(s), kept + (begin + row) * columns,
                                 args.dy + (begin + row) * columns, to, nullptr,
                                 std::min(kConvBiasRows, rows - row), columns, columns);
      if (row != 0) loops_.add(to, columns, sums);
    }
  }

  /// dw from the pieces' sums, added in order.
  void add_pieces(const ConvBackward& args, const ConvCut& cut, const Pair& weights, float* sums,
                  const float* odd, std::int64_t blocked, const Threads& threads) {
    const std::int64_t plain = args.shape.weights();
    const std::int64_t same = cut.count - (odd == nullptr ? 0 : 1);
    threads.ranges(blocked, 1 << 14, 16, [&](std::int64_t begin, std::int64_t end) {
      // In strips that stay in the first-level cache.
      for (std::int64_t at = begin; at < end; at += 2048) {
        const std::int64_t size = std::min<std::int64_t>(2048, end - at);
        for (std::int64_t i = 1; i < same; ++i) {
          loops_.add(sums + i * blocked + at, size, sums + at);
        }
      }
    });
    const ConvOneThread guard;
    if (!args.accumulate && odd == nullptr) {
      weights.whole->give_weights(sums, args.dw);
      return;
    }
    float* one = plain_weights_.floats(plain);
    if (args.accumulate) {
      weights.whole->give_weights(sums, one);
      loops_.add(one, plain, args.dw);
    } else {
      weights.whole->give_weights(sums, args.dw);
    }
    if (odd == nullptr) return;
    weights.last->give_weights(odd, one);
    loops_.add(one, plain, args.dw);
  }

  const Loops& loops_;
  std::unique_ptr<Conv> plain_;
  dnnl::engine engine_;
  std::map<Key, std::unique_ptr<ConvStage>> stages_;
  std::vector<ConvBuffer> scratch_;  // a part
  std::vector<float> zeros_;
  ConvBuffer weight_sums_, bias_sums_, odd_weights_, plain_weights_;
};

}  // namespace

std::unique_ptr<Conv> make_onednn_conv(const Loops& loops) {
  return std::make_unique<OneDnnConv>(loops);
}

}  // namespace cuthresh::cpu
