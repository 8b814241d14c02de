#pragma once

#include <string>

#include "cuthresh/model_file.hpp"
#include "io/atomic_file.hpp"

namespace cuthresh {

/// write_safetensors() of model_file.hpp, with the choice of when the file is durable.
void write_safetensors(const std::string& path, const ModelFile& model, Durable durable);

}  // namespace cuthresh
