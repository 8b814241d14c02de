// The notation of [model] layers.

#include "nn/layer_spec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cuthresh/error.hpp"

namespace cuthresh::nn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

LayerSpec one(const std::string& line) {
  const std::vector<std::string> lines = {line};
  return parse_layers(lines).front();
}

std::string error_of_line(const std::string& line) {
  const std::vector<std::string> lines = {"flatten", line};
  try {
    parse_layers(lines);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(LayerSpec, ConvolutionReadsEveryWord) {
  const LayerSpec conv = one("conv 32 3x5 stride 2x1 pad 1x2 no-bias gelu");
  EXPECT_EQ(conv.kind, LayerKind::kConv);
  EXPECT_EQ(conv.outputs, 32);
  EXPECT_EQ(conv.window.height, 3);
  EXPECT_EQ(conv.window.width, 5);
  EXPECT_EQ(conv.window.stride_height, 2);
  EXPECT_EQ(conv.window.stride_width, 1);
  EXPECT_EQ(conv.window.pad_height, 1);
  EXPECT_EQ(conv.window.pad_width, 2);
  EXPECT_FALSE(conv.bias);
  EXPECT_EQ(conv.activation, Activation::kGelu);
  EXPECT_EQ(conv.text, "conv 32 3x5 stride 2x1 pad 1x2 no-bias gelu");
}

TEST(LayerSpec, WhatIsLeftOutHasItsDefault) {
  const LayerSpec conv = one("conv 8 5");
  EXPECT_EQ(conv.window.height, 5);
  EXPECT_EQ(conv.window.width, 5);
  EXPECT_EQ(conv.window.stride_height, 1);
  EXPECT_EQ(conv.window.pad_height, 0);
  EXPECT_TRUE(conv.bias);
  EXPECT_EQ(conv.activation, Activation::kIdentity);
  const LayerSpec same = one("conv 8 5x7 pad same relu");
  EXPECT_EQ(same.window.pad_height, 2);
  EXPECT_EQ(same.window.pad_width, 3);
  const LayerSpec pool = one("maxpool 3");  // moves by its own size
  EXPECT_EQ(pool.window.stride_height, 3);
  EXPECT_EQ(pool.window.stride_width, 3);
  const LayerSpec overlapping = one("avgpool 3 stride 2 pad 1");
  EXPECT_EQ(overlapping.window.stride_width, 2);
  EXPECT_EQ(overlapping.window.pad_width, 1);
}

TEST(LayerSpec, OtherLayers) {
  EXPECT_EQ(one("dense 10").outputs, 10);
  EXPECT_EQ(one("dense 10 leaky-relu").activation, Activation::kLeakyRelu);
  EXPECT_EQ(one("batchnorm relu").kind, LayerKind::kBatchNorm);
  EXPECT_FLOAT_EQ(one("dropout 0.25").rate, 0.25f);
  EXPECT_EQ(one("tanh").kind, LayerKind::kActivation);
  EXPECT_EQ(one("tanh").activation, Activation::kTanh);
  EXPECT_EQ(one("end relu").activation, Activation::kRelu);
  EXPECT_EQ(one("global-avgpool").kind, LayerKind::kGlobalAverage);
  EXPECT_EQ(one("residual").kind, LayerKind::kResidual);
  EXPECT_EQ(one("shortcut").kind, LayerKind::kShortcut);
}

TEST(LayerSpec, ErrorsNameEntryWordAndRemedy) {
  EXPECT_THAT(error_of_line("cnov 8 3x3"),
              AllOf(HasSubstr("model.layers[1]"), HasSubstr("cnov"), HasSubstr("\"conv\"?")));
  EXPECT_THAT(error_of_line(""), AllOf(HasSubstr("model.layers[1]"), HasSubstr("a layer")));
  EXPECT_THAT(error_of_line("conv"), HasSubstr("number of channels"));
  EXPECT_THAT(error_of_line("conv 0 3x3"), HasSubstr("(got 0)"));
  EXPECT_THAT(error_of_line("conv 8"), HasSubstr("a window such as 3x3"));
  EXPECT_THAT(error_of_line("conv 8 3x"), HasSubstr("(got 3x)"));
  EXPECT_THAT(error_of_line("conv 8 3x3 stride 0"), HasSubstr("(got 0)"));
  EXPECT_THAT(error_of_line("conv 8 3x3 pad -1"), HasSubstr("(got -1)"));
  EXPECT_THAT(error_of_line("conv 8 4x4 pad same"), HasSubstr("even window"));
  EXPECT_THAT(error_of_line("conv 8 3x3 rellu"), AllOf(HasSubstr("rellu"), HasSubstr("relu")));
  EXPECT_THAT(error_of_line("conv 8 3x3 relu pad 1"), HasSubstr("(got pad)"));
  EXPECT_THAT(error_of_line("dense 3.5"), HasSubstr("(got 3.5)"));
  EXPECT_THAT(error_of_line("dropout 1"), AllOf(HasSubstr("below 1"), HasSubstr("(got 1)")));
  EXPECT_THAT(error_of_line("dropout nan"), HasSubstr("(got nan)"));
  EXPECT_THAT(error_of_line("maxpool 2 pad 2"), HasSubstr("half the window"));
  EXPECT_THAT(error_of_line("maxpool 2 relu"), HasSubstr("too many"));
  EXPECT_THAT(error_of_line("flatten relu"), HasSubstr("(got relu)"));
}

}  // namespace
}  // namespace cuthresh::nn
