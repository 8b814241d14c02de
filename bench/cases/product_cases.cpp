#include <fmt/format.h>

#include <utility>

#include "bench/cases/cases.hpp"
#include "bench/cases/layer_workload.hpp"

namespace cuthresh::bench {

std::vector<Case> product_cases(const Room& room) {
  std::vector<Case> cases;
  for (const auto& [pass, pass_name] :
       {std::pair{LayerPass::kForward, "forward"}, std::pair{LayerPass::kBackward, "backward"}}) {
    for (const Model& model : shipped_models(room.smoke)) {
      if (model.name != "mackey_glass" && model.name != "cnn_paper") continue;
      for (const ProductLayer& layer : product_layers(nn::build_graph(model.spec), model.rows)) {
        if (layer.kind != nn::NodeKind::kDense) continue;
        const ConvShape& s = layer.shape;
        const std::string name = fmt::format("product/{}/{}/{}x{}x{}", pass_name, model.name,
                                             s.rows, s.in.elements(), s.out_channels);
        cases.push_back(layer_case(name, layer, pass));
      }
    }
  }
  return cases;
}

}  // namespace cuthresh::bench
