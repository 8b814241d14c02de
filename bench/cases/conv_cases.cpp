#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bench/cases/cases.hpp"
#include "bench/cases/layer_workload.hpp"

namespace cuthresh::bench {
namespace {

bool same_call(const ProductLayer& a, const ProductLayer& b) {
  const Window& v = a.shape.window;
  const Window& w = b.shape.window;
  return a.shape.in == b.shape.in && a.shape.out_channels == b.shape.out_channels &&
         v.height == w.height && v.width == w.width && v.stride_height == w.stride_height &&
         v.pad_height == w.pad_height && a.bias == b.bias && a.wants_dx == b.wants_dx;
}

/// The first of each kind.
std::vector<ProductLayer> distinct_convolutions(const Model& model) {
  std::vector<ProductLayer> distinct;
  for (const ProductLayer& layer : product_layers(nn::build_graph(model.spec), model.rows)) {
    const bool known = std::any_of(distinct.begin(), distinct.end(),
                                   [&](const ProductLayer& d) { return same_call(d, layer); });
    if (layer.kind == nn::NodeKind::kConv && !known) distinct.push_back(layer);
  }
  return distinct;
}

}  // namespace

std::vector<Case> conv_cases(const Room& room) {
  std::vector<Case> cases;
  for (const auto& [pass, pass_name] :
       {std::pair{LayerPass::kForward, "forward"}, std::pair{LayerPass::kBackward, "backward"}}) {
    for (const Model& model : shipped_models(room.smoke)) {
      for (const ProductLayer& layer : distinct_convolutions(model)) {
        const std::string name = fmt::format("conv/{}/{}/{}", pass_name, model.name, layer.name);
        cases.push_back(layer_case(name, layer, pass));
      }
    }
  }
  return cases;
}

}  // namespace cuthresh::bench
