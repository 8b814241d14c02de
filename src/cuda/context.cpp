#include "cuda/context.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "cuthresh/error.hpp"

namespace cuthresh::cuda {
namespace {

// What NVIDIA recommends for Hopper and Blackwell; older devices ask for 4 MiB.
constexpr std::size_t kBlasWorkspace = std::size_t{32} << 20;

}  // namespace

Context::Context(int device, Precision precision, std::optional<StreamView> stream)
    : device_(device),
      precision_(precision),
      own_stream_(stream ? std::nullopt : std::optional<Stream>(std::in_place, health_, device)),
      stream_(stream ? *stream : own_stream_->view()),
      handover_(health_),
      pace_(health_),
      pool_(health_, device) {
  cudaDeviceProp properties{};
  health_.check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  name_ = properties.name;
  health_.check(cudaDeviceGetAttribute(&processors_, cudaDevAttrMultiProcessorCount, device),
                "cudaDeviceGetAttribute");
}

Context::~Context() {
  const OnDevice current(health_, device_, std::nothrow);
  dnn_.reset();
  blas_.reset();
  for (const Buffer& buffer : scratch_) deallocate(buffer.data);
  give_back_outgrown();
  deallocate(tickets_.data);
  deallocate(workspace_);
  if (pinned_ != nullptr) health_.note(cudaFreeHost(pinned_), "cudaFreeHost");
}

void Context::set_stream(StreamView stream) {
  if (stream.get() == stream_.get()) return;
  health_.require_usable("set_stream");
  const OnDevice current = here();
  handover_.order(stream_, stream);
  stream_ = stream;
  if (blas_ != nullptr) blas_->set_stream(stream);
  if (dnn_ != nullptr) dnn_->set_stream(stream);
}

bool Context::is_captured() {
  const OnDevice current = here();
  return cuda::is_captured(health_, stream_);
}

void Context::throttle(std::int64_t steps) {
  health_.require_usable("throttle");
  const OnDevice current = here();
  pace_.step(stream_, steps);
}

void Context::refuse_in_capture(const std::string& what) const {
  if (!capturing_) return;
  throw InternalError({"CUDA graph", "a captured step " + what,
                       "not the first time that it is taken",
                       "take a plain step of the same shape before the capture"});
}

void Context::drop_graph() noexcept {
  if (--graphs_ == 0) give_back_outgrown();
}

void Context::give_back_outgrown() noexcept {
  for (void* const buffer : outgrown_) deallocate(buffer);
  outgrown_.clear();
}

void Context::synchronize() {
  refuse_in_capture("waits for the device");
  const OnDevice current = here();
  health_.check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
}

void* Context::allocate(std::size_t bytes) {
  health_.require_usable("cudaMallocFromPoolAsync");
  if (bytes == 0) return nullptr;
  refuse_in_capture("allocates " + std::to_string(bytes) + " bytes");
  const OnDevice current = here();
  void* pointer = nullptr;
  const cudaError_t status = cudaMallocFromPoolAsync(&pointer, bytes, pool_.get(), stream().get());
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    std::size_t free = 0;
    std::size_t total = 0;
    const bool known = cudaMemGetInfo(&free, &total) == cudaSuccess;
    throw InternalError(
        {"GPU memory", "could not allocate",
         std::to_string(bytes) + " bytes" +
             (known ? ", " + std::to_string(free) + " free of " + std::to_string(total) : ""),
         "use a smaller network or batch, or end what else runs on this GPU"});
  }
  health_.check(status, "cudaMallocFromPoolAsync of " + std::to_string(bytes) + " bytes");
  return pointer;
}

void Context::deallocate(void* pointer) noexcept {
  if (pointer == nullptr) return;
  const OnDevice current(health_, device_, std::nothrow);
  health_.note(cudaFreeAsync(pointer, stream().get()), "cudaFreeAsync");
}

void Context::upload(void* to, const void* from, std::size_t bytes) {
  health_.require_usable("upload");
  if (bytes == 0) return;
  refuse_in_capture("uploads " + std::to_string(bytes) + " bytes from the host");
  const OnDevice current = here();
  cudaPointerAttributes attributes{};
  health_.check(cudaPointerGetAttributes(&attributes, from), "cudaPointerGetAttributes");
  health_.check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream().get()),
                "cudaMemcpyAsync");
  if (attributes.type != cudaMemoryTypeUnregistered) synchronize();
}

void Context::copy(void* to, const void* from, std::size_t bytes) {
  health_.require_usable("copy");
  if (bytes == 0) return;
  const OnDevice current = here();
  health_.check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream().get()),
                "cudaMemcpyAsync");
}

void Context::zero(void* to, std::size_t bytes) {
  health_.require_usable("zero");
  if (bytes == 0) return;
  const OnDevice current = here();
  health_.check(cudaMemsetAsync(to, 0, bytes, stream().get()), "cudaMemsetAsync");
}

void Context::to_host(void* to, const void* from, std::size_t bytes, std::size_t more) {
  health_.require_usable("to_host");
  if (bytes == 0) return;
  refuse_in_capture("reads " + std::to_string(bytes) + " bytes back");
  const OnDevice current = here();
  health_.check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream().get()),
                "cudaMemcpyAsync");
  bytes_to_host_ += bytes + more;
  synchronize();
}

const std::byte* Context::read(const void* from, std::size_t bytes, std::size_t more) {
  refuse_in_capture("reads " + std::to_string(bytes) + " bytes back");
  if (bytes > pinned_bytes_) {
    const OnDevice current = here();
    health_.require_usable("cudaMallocHost");
    // A page at least: status, medians and certificates of 64 layers fit without growing.
    const std::size_t wanted = std::max<std::size_t>(bytes, 4096);
    void* larger = nullptr;
    health_.check(cudaMallocHost(&larger, wanted), "cudaMallocHost");
    if (pinned_ != nullptr) health_.note(cudaFreeHost(pinned_), "cudaFreeHost");
    pinned_ = larger;
    pinned_bytes_ = wanted;
  }
  to_host(pinned_, from, bytes, more);
  return static_cast<const std::byte*>(pinned_);
}

void Context::grow(Buffer& buffer, std::size_t bytes) {
  // Doubling: shapes that grow step by step would otherwise free and allocate at each.
  const std::size_t wanted = std::max({bytes, 2 * buffer.bytes, std::size_t{4096}});
  refuse_in_capture("needs " + std::to_string(wanted) + " bytes of scratch");
  if (graphs_ > 0) {
    outgrown_.push_back(buffer.data);
  } else {
    deallocate(buffer.data);
  }
  buffer = {};
  buffer.data = allocate(wanted);
  buffer.bytes = wanted;
}

void* Context::scratch(Scratch which, std::size_t bytes) {
  Buffer& buffer = scratch_[static_cast<std::size_t>(which)];
  if (bytes > buffer.bytes) grow(buffer, bytes);
  return buffer.data;
}

std::uint32_t* Context::tickets(std::int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(std::uint32_t);
  if (bytes > tickets_.bytes) {
    grow(tickets_, bytes);
    zero(tickets_.data, tickets_.bytes);
  }
  return static_cast<std::uint32_t*>(tickets_.data);
}

std::int64_t Context::grid(std::int64_t wanted, std::int64_t resident) {
  return std::max<std::int64_t>(1, std::min(wanted, resident));
}

Blas& Context::blas() {
  if (blas_ == nullptr) {
    const OnDevice current = here();
    if (workspace_ == nullptr) workspace_ = allocate(kBlasWorkspace);
    blas_ =
        std::make_unique<Blas>(health_, device_, stream(), workspace_, kBlasWorkspace, precision_);
  }
  return *blas_;
}

Dnn& Context::dnn() {
  if (dnn_ == nullptr) {
    const OnDevice current = here();
    dnn_ = std::make_unique<Dnn>(health_, device_, stream(), precision_);
  }
  return *dnn_;
}

}  // namespace cuthresh::cuda
