#include "cuda/plan.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "backend/check_values.hpp"
#include "backend/checks.hpp"

namespace cuthresh::cuda {
namespace {

/// Elements of a tile: 8192, or less in a list that would otherwise not keep all processors busy.
/// Never below 1024, four elements a thread. A multiple of 8, so that tiles of aligned tensors are
/// aligned.
std::int64_t elements_of_tile(std::int64_t elements, std::int64_t processors) {
  const std::int64_t each = elements / std::max<std::int64_t>(1, 2 * processors);
  return std::clamp<std::int64_t>(each / 1024 * 1024, 1024, kTileElements);
}

}  // namespace

void check_device(Context& context, const std::string& where, const char* name,
                  const float* pointer, std::int64_t size) {
  const auto* bytes = reinterpret_cast<const char*>(pointer);
  const std::int64_t last = size * static_cast<std::int64_t>(sizeof(float)) - 1;
  for (const char* byte : {bytes, bytes + last}) {
    cudaPointerAttributes attributes{};
    context.health().check(cudaPointerGetAttributes(&attributes, byte), "cudaPointerGetAttributes");
    if (attributes.type == cudaMemoryTypeManaged) continue;
    if (attributes.type != cudaMemoryTypeDevice) {
      refuse(where, std::string(name) + " is not device memory",
             byte == bytes ? "its first byte" : "its last byte", "allocate it on the device");
    }
    if (attributes.device != context.device()) {
      refuse(where,
             std::string(name) + " lies on another device than the plan's, " +
                 std::to_string(context.device()),
             "device " + std::to_string(attributes.device), "move it there");
    }
  }
}

CudaPlan::CudaPlan(Context& context, std::span<const ProxTensor> tensors, std::int32_t group_count,
                   StepKind kind)
    : zeros(context),
      context_(context),
      kind_(kind),
      groups_(static_cast<std::size_t>(group_count)),
      rate_count_(count_rates(tensors)),
      given_(tensors.begin(), tensors.end()) {
  context.health().require_usable("make_plan");
  std::vector<TensorRecord> records;
  std::int64_t elements = 0;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const ProxTensor& tensor = tensors[t];
    if (tensor.size > 0) {
      const std::string where = "make_plan, tensor " + std::to_string(t);
      check_device(context, where, "w", tensor.w, tensor.size);
      if (tensor.g != nullptr) {
        check_device(context, where, "g", tensor.g, tensor.size);
      }
      if (has_momentum(kind)) {
        check_device(context, where, "v", tensor.v, tensor.size);
      }
    }
    records.push_back(
        {tensor.w, tensor.g, tensor.v, nullptr, tensor.size, tensor.group, tensor.rate});
    elements += tensor.size;
    if (tensor.group >= 0) penalised_ += tensor.size;
  }
  std::vector<Tile> tiles;
  const std::int64_t each = elements_of_tile(elements, context.processors());
  tile_elements_ = each;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    for (std::int64_t begin = 0; begin < tensors[t].size; begin += each) {
      tiles.push_back({begin, static_cast<std::int32_t>(t),
                       static_cast<std::int32_t>(std::min(each, tensors[t].size - begin))});
    }
  }
  tile_count_ = static_cast<std::int64_t>(tiles.size());

  status_ = place(status_bytes());
  sums_ = place(sizeof(StepSums) + groups_ * sizeof(std::uint64_t));
  lambda_ = place(groups_ * sizeof(float));
  rates_ = place(rate_count_ * sizeof(StepRate));
  stop_ = place(sizeof(StopRecord) + selections() * sizeof(CountBand));
  keep_lambda_ = place(groups_ * sizeof(float));
  tensors_ = place(records.size() * sizeof(TensorRecord));
  tiles_ = place(tiles.size() * sizeof(Tile));
  const std::size_t uploaded = end_;
  results_ = place(groups_ * std::max(sizeof(std::uint64_t), sizeof(GroupKkt)));
  select_ = place(sizeof(SelectHeader) + selections() * sizeof(SelectState));
  select_results_ = place(selections() * sizeof(SelectResult));
  control_groups_ = place(groups_ * sizeof(ControlGroup));
  target_of_ = place(groups_ * sizeof(std::int32_t));
  selection_of_ = place(groups_ * sizeof(std::int32_t));
  group_bounds_ = place(groups_ * sizeof(GroupBounds));
  wanted_ = place(groups_ * sizeof(std::uint64_t));
  bounded_ = place(groups_ * sizeof(std::int32_t));
  share_counts_ = place(groups_ * sizeof(ShareCount));
  tie_ends_ = place(groups_ * sizeof(TieEnd));

  // Counters, λ, rates and the stop rule start at zero, the bytes of which are zeros.
  std::vector<std::byte> image(uploaded, std::byte{0});
  std::memcpy(image.data() + tensors_, records.data(), records.size() * sizeof(TensorRecord));
  if (!tiles.empty()) {
    std::memcpy(image.data() + tiles_, tiles.data(), tiles.size() * sizeof(Tile));
  }
  memory_ = static_cast<std::byte*>(context.allocate(end_));
  try {
    context.upload(memory_, image.data(), image.size());
  } catch (...) {
    context.deallocate(memory_);
    throw;
  }
  last.nnz.assign(groups_, 0);
}

CudaPlan::~CudaPlan() {
  if (announced_ != nullptr) {
    const OnDevice current(context_.health(), context_.device(), std::nothrow);
    // Not stream-ordered: a step under way may still write there.
    context_.health().note(cudaStreamSynchronize(context_.stream().get()), "cudaStreamSynchronize");
    context_.health().note(cudaFreeHost(announced_), "cudaFreeHost");
  }
  context_.deallocate(memory_);
  context_.deallocate(bins_);
  context_.deallocate(support_);
}

// Pieces start on 128 bytes, a line of the second-level cache: counters that blocks add to do not
// share one with what they read.
std::size_t CudaPlan::place(std::size_t bytes) {
  constexpr std::size_t kLine = 128;
  const std::size_t offset = end_;
  end_ += (std::max<std::size_t>(bytes, 1) + kLine - 1) / kLine * kLine;
  return offset;
}

TensorList CudaPlan::list() const {
  return {at<TensorRecord>(tensors_), at<Tile>(tiles_), tile_count_,
          static_cast<std::int32_t>(groups_)};
}

void CudaPlan::check_gradients_on_device(std::span<const ProxTensor> list) const {
  for (std::size_t t = 0; t < list.size(); ++t) {
    const float* const g = list[t].g;
    if (g == given_[t].g || g == nullptr || list[t].size == 0) continue;
    check_device(context_, "set_gradients, tensor " + std::to_string(t), "g", g, list[t].size);
  }
}

std::uint32_t CudaPlan::begin_run() {
  if (announced_ == nullptr) {
    context_.health().require_usable("cudaHostAlloc");
    const OnDevice current = context_.here();
    void* word = nullptr;
    context_.health().check(cudaHostAlloc(&word, sizeof(std::uint32_t), cudaHostAllocMapped),
                            "cudaHostAlloc");
    announced_ = static_cast<std::uint32_t*>(word);
    *announced_ = 0;
    void* mapped = nullptr;
    context_.health().check(cudaHostGetDevicePointer(&mapped, word, 0), "cudaHostGetDevicePointer");
    announced_on_device_ = static_cast<std::uint32_t*>(mapped);
  }
  return ++run_;
}

bool CudaPlan::stop_announced() const {
  return announced_ != nullptr && run_ != 0 &&
         *static_cast<const volatile std::uint32_t*>(announced_) == run_;
}

std::uint64_t* CudaPlan::bins() {
  if (bins_ == nullptr) {
    const std::size_t bytes = selections() * kSelectBins * sizeof(std::uint64_t);
    bins_ = static_cast<std::uint64_t*>(context_.allocate(bytes));
    context_.zero(bins_, bytes);
  }
  return bins_;
}

// The table of pointers, then the words of each penalised tensor.
std::uint32_t** CudaPlan::support() {
  auto* table = reinterpret_cast<std::uint32_t**>(support_);
  if (table != nullptr) return table;
  const auto words = [](const ProxTensor& tensor) {
    return tensor.group < 0 ? 0 : static_cast<std::size_t>((tensor.size + 31) / 32);
  };
  std::size_t bytes = given_.size() * sizeof(std::uint32_t*);
  for (const ProxTensor& tensor : given_) bytes += words(tensor) * sizeof(std::uint32_t);
  support_ = static_cast<std::byte*>(context_.allocate(bytes));
  std::vector<std::uint32_t*> pointers;
  auto* next = reinterpret_cast<std::uint32_t*>(support_ + given_.size() * sizeof(std::uint32_t*));
  for (const ProxTensor& tensor : given_) {
    pointers.push_back(tensor.group < 0 ? nullptr : next);
    next += words(tensor);
  }
  context_.upload(support_, pointers.data(), pointers.size() * sizeof(std::uint32_t*));
  return reinterpret_cast<std::uint32_t**>(support_);
}

}  // namespace cuthresh::cuda
