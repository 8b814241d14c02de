#pragma once

// The notation of [model] layers: one line a layer, words in this order (docs/config.md shows it).
//
//   conv OUT HxW [stride S] [pad P|same] [no-bias] [ACTIVATION]     maxpool HxW|N [stride S] [pad
//   P] dense OUT [ACTIVATION]                                          avgpool HxW|N [stride S]
//   [pad P] batchnorm [ACTIVATION]                                          global-avgpool dropout
//   RATE        flatten        ACTIVATION residual … [shortcut …] end [ACTIVATION]

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.hpp"

namespace cuthresh::nn {

enum class LayerKind : std::uint8_t {
  kConv,
  kDense,
  kMaxPool,
  kAveragePool,
  kGlobalAverage,
  kBatchNorm,
  kDropout,
  kFlatten,
  kActivation,
  kResidual,  ///< what follows, up to kShortcut or kEnd, is one branch
  kShortcut,  ///< what follows, up to kEnd, is the other; without it the other is the input itself
  kEnd        ///< the sum of both branches, then the activation
};

struct LayerSpec {
  LayerKind kind = LayerKind::kDense;
  std::int64_t outputs = 0;  ///< kConv: channels; kDense: width
  Window window;             ///< kConv and the pools
  bool bias = true;          ///< kConv
  float rate = 0.0f;         ///< kDropout
  Activation activation = Activation::kIdentity;
  std::string text;  ///< as it was written, for messages and tables
};

/// Throws InputError that names the entry ("model.layers[3]"), the word and what could stand there.
std::vector<LayerSpec> parse_layers(std::span<const std::string> lines);

}  // namespace cuthresh::nn
