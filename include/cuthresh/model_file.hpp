#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cuthresh/export.hpp"

namespace cuthresh {

/// A named float32 tensor in host memory, row-major; weights are PyTorch's [out, in].
struct NamedTensor {
  std::string name;                 ///< "fc1.weight"
  std::vector<std::int64_t> shape;  ///< every extent ≥ 0
  std::vector<float> values;        ///< as many as the product of the extents
};

/// What a safetensors file holds.
struct ModelFile {
  std::vector<NamedTensor> tensors;             ///< in the order of their data
  std::map<std::string, std::string> metadata;  ///< the header's "__metadata__"
};

/// Reads a safetensors file (8-byte little-endian header length, JSON header, raw data). Only F32
/// is read. Throws InputError for a missing or truncated file, a header that does not parse or does
/// not cover the data exactly, overlapping or misordered offsets, another dtype, shapes that
/// disagree with the byte count.
CTH_API ModelFile read_safetensors(const std::string& path);

/// Writes atomically (a temporary file in the same folder, synced, then renamed).
CTH_API void write_safetensors(const std::string& path, const ModelFile& model);

}  // namespace cuthresh
