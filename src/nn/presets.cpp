#include "nn/presets.hpp"

namespace cuthresh::nn {
namespace {

using Lines = std::vector<std::string>;

/// arXiv 2408.02801, section on classification: three 3×3 convolutions, each with a 2×2 max pool,
/// then 512 units. 687,392 weights for 28×28 grey images and ten classes.
Lines paper_net(const std::string& act, const std::string& outputs) {
  Lines lines;
  for (const char* channels : {"32", "64", "128"}) {
    lines.push_back(std::string("conv ") + channels + " 3x3 pad 1 " + act);
    lines.emplace_back("maxpool 2");
  }
  lines.push_back("dense 512 " + act);
  lines.push_back("dense " + outputs);
  return lines;
}

/// LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition"
/// (1998), with max pools and every map connected, as it is built today.
Lines lenet5(const std::string& act, const std::string& outputs) {
  return {"conv 6 5x5 pad 2 " + act, "maxpool 2",       "conv 16 5x5 " + act, "maxpool 2",
          "dense 120 " + act,        "dense 84 " + act, "dense " + outputs};
}

/// He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (2016), section 4.2, n = 3;
/// where the shape changes, the shortcut is a 1×1 convolution (their option B).
Lines resnet20(const std::string& act, const std::string& outputs) {
  Lines lines = {"conv 16 3x3 pad 1 no-bias", "batchnorm " + act};
  for (const int channels : {16, 32, 64}) {
    const std::string conv = "conv " + std::to_string(channels) + " 3x3 pad 1 no-bias";
    for (int block = 0; block < 3; ++block) {
      const bool narrows = block == 0 && channels > 16;
      lines.emplace_back("residual");
      lines.push_back(narrows ? "conv " + std::to_string(channels) + " 3x3 stride 2 pad 1 no-bias"
                              : conv);
      lines.push_back("batchnorm " + act);
      lines.push_back(conv);
      lines.emplace_back("batchnorm");
      if (narrows) {
        lines.emplace_back("shortcut");
        lines.push_back("conv " + std::to_string(channels) + " 1x1 stride 2 no-bias");
        lines.emplace_back("batchnorm");
      }
      lines.push_back("end " + act);
    }
  }
  lines.emplace_back("global-avgpool");
  lines.push_back("dense " + outputs);
  return lines;
}

}  // namespace

std::optional<std::vector<std::string>> preset_layers(const std::string& name,
                                                      const std::string& activation,
                                                      std::int64_t classes) {
  const std::string outputs = std::to_string(classes);
  if (name == "cnn-paper") return paper_net(activation, outputs);
  if (name == "lenet5") return lenet5(activation, outputs);
  if (name == "resnet20") return resnet20(activation, outputs);
  return std::nullopt;
}

}  // namespace cuthresh::nn
