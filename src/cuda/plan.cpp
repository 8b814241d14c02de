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

void check_device(Context& context, const std::string& where, const char* name, const void* pointer,
                  std::uint64_t bytes) {
  const auto* const first = static_cast<const char*>(pointer);
  for (const char* byte : {first, first + bytes - 1}) {
    cudaPointerAttributes attributes{};
    context.health().check(cudaPointerGetAttributes(&attributes, byte), "cudaPointerGetAttributes");
    if (attributes.type == cudaMemoryTypeManaged) continue;
    if (attributes.type != cudaMemoryTypeDevice) {
      refuse(where, std::string(name) + " is not device memory",
             byte == first ? "its first byte" : "its last byte", "allocate it on the device");
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
                   StepKind kind, Dtype dtype)
    : ProxPlan(dtype),
      zeros(context),
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
    const auto check = [&](const char* name, const void* array, std::size_t bytes) {
      if (tensor.size == 0 || array == nullptr) return;
      check_device(context, "make_plan, tensor " + std::to_string(t), name, array,
                   static_cast<std::uint64_t>(tensor.size) * bytes);
    };
    check("w", tensor.w, storage_bytes(dtype));
    check("g", tensor.g, storage_bytes(dtype));
    if (has_momentum(kind)) check("v", tensor.v, compute_bytes(dtype));
    if (has_master(dtype)) check("master", tensor.master, sizeof(float));
  }
  allocate_masters();
  for (const ProxTensor& tensor : given_) {
    records.push_back(
        {tensor.w, tensor.g, tensor.v, tensor.master, tensor.size, tensor.group, tensor.rate});
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
  lambda_ = place(groups_ * compute_bytes(dtype));
  rates_ = place(rate_count_ * 3 * compute_bytes(dtype));
  stop_ = place(sizeof(StopRecord) + selections() * sizeof(CountBand));
  keep_lambda_ = place(groups_ * compute_bytes(dtype));
  tensors_ = place(records.size() * sizeof(TensorRecord));
  tiles_ = place(tiles.size() * sizeof(Tile));
  const std::size_t uploaded = end_;
  results_ = place(groups_ * std::max(sizeof(std::uint64_t), sizeof(GroupKkt)));
  const bool wide = dtype == Dtype::kFloat64;
  select_ = place(sizeof(SelectHeader) + selections() * (wide ? sizeof(SelectStateOf<std::uint64_t>)
                                                              : sizeof(SelectState)));
  select_results_ =
      place(selections() * (wide ? sizeof(SelectResultOf<std::uint64_t>) : sizeof(SelectResult)));
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
  try {
    memory_ = static_cast<std::byte*>(context.allocate(end_));
    context.upload(memory_, image.data(), image.size());
  } catch (...) {
    context.deallocate(memory_);
    context.deallocate(masters_);
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
  context_.deallocate(masters_);
}

// Each on a 16-byte boundary as far as its weights are on one of 8 entries: steps take 16-byte
// packs only where weights and master copy reach a boundary together.
void CudaPlan::allocate_masters() {
  if (!has_master(dtype())) return;
  constexpr std::size_t kPack = 8;  // 16-bit entries of a pack
  std::vector<std::size_t> begin(given_.size(), 0);
  std::size_t floats = 0;
  for (std::size_t t = 0; t < given_.size(); ++t) {
    if (given_[t].master != nullptr) continue;
    begin[t] = floats + reinterpret_cast<std::uintptr_t>(given_[t].w) / 2 % kPack;
    floats = (begin[t] + static_cast<std::size_t>(given_[t].size) + kPack - 1) / kPack * kPack;
  }
  if (floats == 0) return;
  masters_ = static_cast<float*>(context_.allocate(floats * sizeof(float)));
  try {
    context_.zero(masters_, floats * sizeof(float));
  } catch (...) {
    context_.deallocate(masters_);
    throw;
  }
  for (std::size_t t = 0; t < given_.size(); ++t) {
    if (given_[t].master == nullptr) given_[t].master = masters_ + begin[t];
  }
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
    const void* const g = list[t].g;
    if (g == given_[t].g || g == nullptr || list[t].size == 0) continue;
    check_device(context_, "set_gradients, tensor " + std::to_string(t), "g", g,
                 static_cast<std::uint64_t>(list[t].size) * storage_bytes(dtype()));
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
