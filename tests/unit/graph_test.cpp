// Networks from lines: shapes, names, parameters, and what does not fit together.

#include "nn/graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "nn/presets.hpp"

namespace cuthresh::nn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Graph graph_of(const std::vector<std::string>& lines, const ImageShape& input) {
  return build_graph({input, parse_layers(lines), 0.01f});
}

Graph preset_graph(const std::string& name, const ImageShape& input, std::int64_t classes = 10) {
  return graph_of(*preset_layers(name, "relu", classes), input);
}

std::string error_of_graph(const std::vector<std::string>& lines, const ImageShape& input) {
  try {
    graph_of(lines, input);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::int64_t weights_of(const Graph& graph) {
  std::int64_t total = 0;
  for (const Parameter& p : graph.parameters) total += p.role == Role::kWeight ? p.numel : 0;
  return total;
}

TEST(Graph, ThePapersNetHasItsWeights) {
  const Graph graph = preset_graph("cnn-paper", {28, 28, 1});
  std::vector<std::string> names;
  std::vector<std::int64_t> sizes;
  for (const Parameter& p : graph.parameters) {
    if (p.role != Role::kWeight) continue;
    names.push_back(p.name);
    sizes.push_back(p.numel);
  }
  EXPECT_THAT(names, ElementsAre("conv1.weight", "conv2.weight", "conv3.weight", "fc1.weight",
                                 "fc2.weight"));
  EXPECT_THAT(sizes, ElementsAre(288, 18432, 73728, 589824, 5120));
  EXPECT_EQ(weights_of(graph), 687392);
  EXPECT_EQ(graph.output().elements(), 10);
}

TEST(Graph, KnownModelsHaveTheirPublishedSizes) {
  EXPECT_EQ(weights_of(preset_graph("lenet5", {28, 28, 1})), 150 + 2400 + 48000 + 10080 + 840);
  // He et al. say 0.27 M: the first convolution, three stages of six, two projections, the
  // classifier.
  EXPECT_EQ(weights_of(preset_graph("resnet20", {32, 32, 3})),
            432 + 6 * 2304 + (4608 + 5 * 9216) + (18432 + 5 * 36864) + 512 + 2048 + 640);
  EXPECT_EQ(preset_graph("resnet20", {32, 32, 3}, 7).output().elements(), 7);
}

TEST(Graph, ParametersFollowPyTorch) {
  const Graph graph = graph_of({"conv 4 3x5", "batchnorm relu", "dense 6"}, {7, 9, 2});
  ASSERT_EQ(graph.parameters.size(), 8u);
  EXPECT_THAT(graph.parameters[0].shape, ElementsAre(4, 2, 3, 5));
  EXPECT_EQ(graph.parameters[0].fan_in, 2 * 15);
  EXPECT_EQ(graph.parameters[0].fan_out, 4 * 15);
  EXPECT_EQ(graph.parameters[1].name, "conv1.bias");
  EXPECT_EQ(graph.parameters[2].name, "bn1.weight");
  EXPECT_EQ(graph.parameters[4].name, "bn1.running_mean");
  EXPECT_FALSE(graph.parameters[4].trained());
  EXPECT_FALSE(graph.parameters[5].trained());
  EXPECT_THAT(graph.parameters[6].shape, ElementsAre(6, 5 * 5 * 4));
}

TEST(Graph, FlattensOnlyWhereTheOrderChanges) {
  const auto flattens = [](const Graph& graph) {
    int count = 0;
    for (const Node& node : graph.nodes) count += node.kind == NodeKind::kFlatten ? 1 : 0;
    return count;
  };
  EXPECT_EQ(flattens(graph_of({"dense 3"}, {1, 1, 8})), 0);
  EXPECT_EQ(flattens(graph_of({"dense 3"}, {4, 4, 1})), 0);
  EXPECT_EQ(flattens(graph_of({"dense 3"}, {4, 4, 3})), 1);
  EXPECT_EQ(flattens(graph_of({"conv 5 3x3", "global-avgpool", "dense 3"}, {4, 4, 3})), 0);
  EXPECT_EQ(flattens(graph_of({"conv 5 3x3", "flatten", "dense 3"}, {4, 4, 3})), 1);
  EXPECT_EQ(graph_of({"conv 5 3x3"}, {4, 4, 3}).output().elements(), 20);  // the end too
}

TEST(Graph, ShapesThroughStridesAndPads) {
  const Graph graph =
      graph_of({"conv 8 3x3 stride 2 pad 1", "maxpool 3 stride 2 pad 1", "avgpool 2x1", "dense 4"},
               {15, 10, 3});
  EXPECT_EQ(graph.tensors[1], (ImageShape{8, 5, 8}));
  EXPECT_EQ(graph.tensors[2], (ImageShape{4, 3, 8}));
  EXPECT_EQ(graph.tensors[3], (ImageShape{2, 3, 8}));
}

TEST(Graph, ErrorsNameTheLayer) {
  EXPECT_THAT(error_of_graph({"maxpool 2", "maxpool 4"}, {6, 6, 1}),
              AllOf(HasSubstr("model.layers[1]"), HasSubstr("4 x 4 over an image of 3 x 3")));
  EXPECT_THAT(error_of_graph({}, {6, 6, 1}), HasSubstr("no layer"));
  EXPECT_THAT(error_of_graph({"residual", "conv 4 3x3 pad 1"}, {6, 6, 4}),
              AllOf(HasSubstr("model.layers[0]"), HasSubstr("no end")));
  EXPECT_THAT(error_of_graph({"end"}, {6, 6, 4}), HasSubstr("no residual"));
  EXPECT_THAT(error_of_graph({"shortcut"}, {6, 6, 4}), HasSubstr("between residual and end"));
  EXPECT_THAT(error_of_graph({"residual", "end"}, {6, 6, 4}), HasSubstr("without layers"));
  EXPECT_THAT(error_of_graph({"residual", "conv 8 3x3 pad 1", "end"}, {6, 6, 4}),
              AllOf(HasSubstr("model.layers[2]"), HasSubstr("8 x 6 x 6 and 4 x 6 x 6"),
                    HasSubstr("shortcut")));
  EXPECT_THAT(error_of_graph({"maxpool 16"}, {16, 16, 1}), HasSubstr("255"));
}

}  // namespace
}  // namespace cuthresh::nn
