#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/blas.hpp"
#include "cuda/check.hpp"
#include "cuda/cuda_backend.hpp"
#include "cuda/device.hpp"
#include "cuda/dnn.hpp"
#include "cuda/pool.hpp"
#include "cuda/stream.hpp"

namespace cuthresh::cuda {

/// What an operation keeps on the device between calls. Each grows when a larger shape is first
/// seen and is kept, so that a training step allocates nothing after the first.
enum class Scratch : std::uint8_t {
  kBiasPartials,
  kLossPartials,
  kLossRows,
  kLossHits,
  kConvWorkspace,
  kConvFilter,
  kConvBias,
  kSmallNetwork,
  kSmallPartials,
  kCount
};

/// Everything that belongs to one device: stream, memory, handles, and the way back to the host.
/// Owned by one backend, used by one thread at a time. Each member that asks something of CUDA
/// makes the device current while it does.
class Context {
 public:
  /// On a stream of its own, or the caller's.
  Context(int device, Precision precision, std::optional<StreamView> stream = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Health& health() noexcept { return health_; }
  StreamView stream() const noexcept { return stream_; }
  /// All that follows is enqueued there, and comes after all that was enqueued before.
  void set_stream(StreamView stream);
  bool is_captured();
  /// While the room itself captures: what a graph cannot hold, or would hold wrongly, is an error
  /// that says what it was.
  void set_capturing(bool on) noexcept { capturing_ = on; }
  /// As long as graphs live, scratch that is outgrown is kept: they have its addresses.
  void add_graph() noexcept { ++graphs_; }
  void drop_graph() noexcept;
  void throttle(std::int64_t steps);
  void synchronize();
  /// The device is current as long as the result lives.
  OnDevice here() { return {health_, device_}; }
  int device() const noexcept { return device_; }
  int processors() const noexcept { return processors_; }
  const std::string& name() const noexcept { return name_; }

  /// Stream-ordered; 0 bytes give null. Throws with the bytes asked for and the bytes free.
  void* allocate(std::size_t bytes);
  void deallocate(void* pointer) noexcept;
  /// `from` may be freed on return: pageable memory has been copied by then, for pinned memory this
  /// waits.
  void upload(void* to, const void* from, std::size_t bytes);
  void copy(void* to, const void* from, std::size_t bytes);
  void zero(void* to, std::size_t bytes);

  /// The one way from the device to the host: waits, and counts the bytes, and `more` where numbers
  /// came packed that the interface counts at 8 bytes each.
  void to_host(void* to, const void* from, std::size_t bytes, std::size_t more = 0);
  std::uint64_t bytes_to_host() const noexcept { return bytes_to_host_; }
  /// For what a kernel wrote into the host's memory by itself.
  void count_to_host(std::size_t bytes) noexcept { bytes_to_host_ += bytes; }
  /// The same into pinned memory of the context's, valid until the next call.
  const std::byte* read(const void* from, std::size_t bytes, std::size_t more = 0);

  void* scratch(Scratch which, std::size_t bytes);
  /// 32-bit words that are zero, and that kernels leave zero.
  std::uint32_t* tickets(std::int64_t count);

  /// At most `wanted` blocks, at least one, and no more than the device holds at a time: kernels
  /// walk their work in grid strides, so more would only queue.
  static std::int64_t grid(std::int64_t wanted, std::int64_t resident);
  /// Blocks of this kernel that the whole device holds at a time.
  template <class... P>
  std::int64_t resident_blocks(void (*kernel)(P...), std::uint32_t threads) {
    const auto key = reinterpret_cast<const void*>(kernel);
    const auto found = resident_.find(key);
    if (found != resident_.end()) return found->second;
    const OnDevice current = here();
    int a_processor = 0;
    health_.check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&a_processor, kernel,
                                                                static_cast<int>(threads), 0),
                  "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    const std::int64_t all = static_cast<std::int64_t>(a_processor) * processors_;
    resident_.emplace(key, all);
    return all;
  }

  /// cuBLAS, loaded on first use; throws when it cannot be.
  Blas& blas();
  /// cuDNN, likewise.
  Dnn& dnn();

 private:
  struct Buffer {
    void* data = nullptr;
    std::size_t bytes = 0;
  };
  void grow(Buffer& buffer, std::size_t bytes);
  void refuse_in_capture(const std::string& what) const;
  void give_back_outgrown() noexcept;

  Health health_;
  int device_;
  Precision precision_;
  std::optional<Stream> own_stream_;  // none where the caller gave one
  StreamView stream_;
  Handover handover_;
  Pace pace_;
  Pool pool_;
  std::string name_;
  int processors_ = 0;
  std::uint64_t bytes_to_host_ = 0;
  bool capturing_ = false;
  std::int64_t graphs_ = 0;
  std::vector<void*> outgrown_;
  std::array<Buffer, static_cast<std::size_t>(Scratch::kCount)> scratch_;
  Buffer tickets_;
  void* pinned_ = nullptr;
  std::size_t pinned_bytes_ = 0;
  std::unordered_map<const void*, std::int64_t> resident_;
  void* workspace_ = nullptr;  // of blas_
  std::unique_ptr<Blas> blas_;
  std::unique_ptr<Dnn> dnn_;
};

}  // namespace cuthresh::cuda
