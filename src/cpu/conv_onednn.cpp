// Convolutions by oneDNN. A primitive runs on the thread that calls it; the batch is divided here,
// into pieces that depend on the shape and the rows alone, so that results do not depend on the
// number of threads.

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/checks_conv.hpp"
#include "cpu/conv.hpp"
#include "cpu/conv_stage.hpp"
#include "cpu/onednn_threads.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {

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
      const OneThread guard;
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
      const OneThread guard;
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
  using Key = std::pair<ConvKind, ConvShape>;

  ConvStage& stage_for(ConvKind kind, ConvShape s, std::int64_t samples, const Threads& threads) {
    s.rows = samples;
    const Key key = {kind, s.linear()};
    const auto found = stages_.find(key);
    if (found != stages_.end()) return *found->second;
    const OneThread guard;  // a primitive is made for the threads there are
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
                           "could not be set up for " + conv_text(s) + ": " + error.what(),
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
      const OneThread guard;
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
    for (std::int64_t row = 0; row < rows; row += kSumBlockRows) {
      float* to = row == 0 ? sums : sums + columns;
      loops_.activation_backward(epilogue_shape(s), kept + (begin + row) * columns,
                                 args.dy + (begin + row) * columns, to, nullptr,
                                 std::min(kSumBlockRows, rows - row), columns, columns);
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
    const OneThread guard;
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
