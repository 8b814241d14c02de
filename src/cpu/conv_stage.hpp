#pragma once

// One oneDNN convolution primitive (v2 API in Debian 12, v3 elsewhere) that runs on the thread that
// calls it.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "backend/image_ops.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {

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

/// One primitive for so many samples of a shape, with what each thread needs to run it.
class ConvStage {
 public:
  /// Throws dnnl::error when oneDNN fails for another reason than having no such primitive.
  ConvStage(ConvKind kind, const ConvShape& s, const dnnl::engine& engine, int parts);

  /// False where oneDNN has only its plain C++ loops, which are slower than ours.
  bool usable() const { return usable_; }
  std::size_t scratch_bytes() const { return scratch_desc_.get_size(); }
  /// Of the weights in this primitive's own format, padding included.
  std::size_t weights_bytes() const { return weights_desc_.get_size(); }
  bool same_format(const ConvStage& other) const { return weights_desc_ == other.weights_desc_; }

  /// Weights [out, in, height, width] into the primitive's format.
  void take_weights(const float* w);
  /// The reverse, for a gradient.
  void give_weights(const float* blocked, float* w);
  /// kForward: x, y; kData: dz, dx. On the calling thread, whose slot is `part`.
  void run(int part, const float* from, float* to, void* scratch);
  /// kWeights: x, dz, and dw in the primitive's format.
  void run_weights(int part, const float* x, const float* dz, float* dw, void* scratch);

 private:
  using Memory = dnnl::memory;
  struct Slot {
    Memory source, result, weights, scratch;
    dnnl::stream stream;
  };
  using Arguments = std::array<dnnl_exec_arg_t, 4>;

  void create(const dnnl::engine& engine);
  template <class Primitive, class Description>
  void keep(const Description& description);
  Memory::desc plain_weights() const;
  void execute(const Slot& slot, const Arguments& args) const;
  void reorder(Memory& from, Memory& to);

  ConvKind kind_;
  ConvShape shape_;
  bool usable_ = false;
  Memory::desc source_desc_, result_desc_, weights_desc_, scratch_desc_;
  dnnl::primitive primitive_;
  dnnl::reorder reorder_;
  Memory weights_, plain_;
  ConvBuffer own_weights_;
  std::vector<Slot> slots_;
};

}  // namespace cuthresh::cpu
