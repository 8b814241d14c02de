// One pass of convolutional networks against PyTorch in float64: loss, every gradient, running
// statistics. make_cnn_reference.py writes the tables and says how the same network is built from
// nothing but a salt.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/array.hpp"
#include "nn/network.hpp"
#include "nn/presets.hpp"
#include "support/engines.hpp"
#include "support/parity_tables.hpp"

namespace cuthresh::testing {
namespace {

constexpr double kTolerance = 1e-5;

/// word(tensor, i) of make_cnn_reference.py.
class HashNumbers {
 public:
  explicit HashNumbers(std::uint32_t salt) : salt_(salt) {}

  std::uint32_t word(std::size_t tensor, std::size_t i) const {
    return mix(mix(salt_ + 0x9E3779B9U * static_cast<std::uint32_t>(tensor)) ^
               static_cast<std::uint32_t>(i));
  }
  std::vector<float> uniform(std::size_t tensor, std::int64_t n, double centre,
                             double bound) const {
    const double width = static_cast<double>(static_cast<float>(bound));
    std::vector<float> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double u = (static_cast<double>(word(tensor, i) >> 8) - 0x1p23) * 0x1p-23;
      values[i] = static_cast<float>(centre + width * u);
    }
    return values;
  }
  std::vector<float> images(std::int64_t n) const {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(static_cast<double>(word(1000, i) >> 24) / 127.5 - 1.0);
    }
    return values;
  }
  std::vector<std::int32_t> labels(std::int64_t n, std::int64_t classes) const {
    std::vector<std::int32_t> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::int32_t>(word(1001, i) % static_cast<std::uint32_t>(classes));
    }
    return values;
  }
  double sign(std::size_t tensor, std::size_t projection, std::size_t i) const {
    return (word(2000 + 16 * tensor + projection, i) >> 31) == 0 ? 1.0 : -1.0;
  }

 private:
  static std::uint32_t mix(std::uint32_t x) {
    x = (x ^ (x >> 16)) * 0x85EBCA6BU;
    x = (x ^ (x >> 13)) * 0xC2B2AE35U;
    return x ^ (x >> 16);
  }

  std::uint32_t salt_;
};

/// The rows of one run of one network.
struct CnnTable {
  CnnTable(const std::string& file, std::int64_t run_rows) : rows(run_rows) {
    for (const Row& row : read_table(file)) {
      if (row.at("rows") != std::to_string(run_rows)) continue;
      const double value = std::stod(row.at("value"));
      const std::string& kind = row.at("kind");
      if (row.at("tensor").empty()) {
        single[kind] = value;
      } else {
        tensors[row.at("tensor")][kind].emplace_back(std::stoull(row.at("index")), value);
      }
    }
  }

  std::int64_t rows;
  std::map<std::string, double> single;
  using Values = std::vector<std::pair<std::size_t, double>>;
  std::map<std::string, std::map<std::string, Values>> tensors;
};

class CnnPass {
 public:
  CnnPass(Backend& backend, const CnnTable& table, const nn::NetworkSpec& spec)
      : backend_(backend),
        table_(table),
        numbers_(static_cast<std::uint32_t>(table.single.at("salt"))),
        network_(backend, spec, table.rows) {
    set_parameters();
    const std::int64_t classes = network_.outputs();
    x_ = Array<float>(backend, numbers_.images(table.rows * network_.inputs()));
    labels_ = Array<std::int32_t>(backend, numbers_.labels(table.rows, classes));
    sum_ = Array<LossSum>(backend, 1);
  }

  void compare() {
    EXPECT_NEAR(loss(Pass::kTrain), table_.single.at("loss"), kTolerance);
    network_.backward(x_.data(), table_.rows, false);
    std::size_t compared = 0;
    for (std::size_t t = 0; t < network_.parameters().list().size(); ++t) compared += compare(t);
    EXPECT_EQ(compared, table_.tensors.size());
    EXPECT_NEAR(loss(Pass::kEvaluate), table_.single.at("eval_loss"), kTolerance);
  }

 private:
  void set_parameters() {
    nn::Parameters& parameters = network_.parameters();
    for (std::size_t t = 0; t < parameters.list().size(); ++t) {
      const nn::Parameter& p = parameters.list()[t];
      const bool learned = p.role == nn::Role::kWeight || p.role == nn::Role::kBias;
      const bool around_one =
          p.role == nn::Role::kNormScale || p.role == nn::Role::kRunningVariance;
      const double bound = learned ? 1.0 / std::sqrt(static_cast<double>(p.fan_in)) : 0.5;
      const auto values = numbers_.uniform(t, p.numel, around_one ? 1.0 : 0.0, bound);
      backend_.upload(parameters.value(t), values.data(), values.size() * sizeof(float));
    }
  }

  double loss(Pass pass) {
    LossArgs args;
    args.rows = table_.rows;
    args.columns = network_.outputs();
    args.prediction = network_.forward(x_.data(), table_.rows, {.pass = pass});
    args.label = labels_.data();
    args.gradient = pass == Pass::kTrain ? network_.output_gradient() : nullptr;
    args.gradient_scale = 1.0f / static_cast<float>(table_.rows);
    args.sum = sum_.data();
    backend_.softmax_cross_entropy(args);
    return sum_.to_host().front().loss / static_cast<double>(table_.rows);
  }

  std::size_t compare(std::size_t t) {
    const nn::Parameter& p = network_.parameters().list()[t];
    SCOPED_TRACE(p.name);
    const auto found = table_.tensors.find(p.name);
    if (found == table_.tensors.end()) {
      ADD_FAILURE() << "is not in the table";
      return 0;
    }
    std::map<std::string, CnnTable::Values> want = found->second;
    std::vector<float> got(static_cast<std::size_t>(p.numel));
    const float* from =
        p.trained() ? network_.parameters().gradient(t) : network_.parameters().value(t);
    backend_.download(got.data(), from, got.size() * sizeof(float));

    double squares = 0.0;
    for (const float v : got) squares += static_cast<double>(v) * static_cast<double>(v);
    const double norm = want["norm"].at(0).second;
    EXPECT_NEAR(std::sqrt(squares), norm, kTolerance * norm);
    EXPECT_EQ(want["projection"].size(), 8U);
    for (const auto& [projection, value] : want["projection"]) {
      double sum = 0.0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        sum += numbers_.sign(t, projection, i) * static_cast<double>(got[i]);
      }
      EXPECT_NEAR(sum, value, kTolerance * norm) << "projection " << projection;
    }
    const double scale = want["scale"].at(0).second;
    EXPECT_GE(want["entry"].size(), std::min<std::size_t>(got.size(), 128));
    double worst = 0.0;
    std::size_t where = 0;
    for (const auto& [i, value] : want["entry"]) {
      const double error = std::abs(static_cast<double>(got.at(i)) - value);
      if (error <= worst) continue;  // a NaN goes on, and stays
      worst = error;
      where = i;
      if (std::isnan(error)) break;
    }
    EXPECT_LE(worst, kTolerance * scale) << "entry " << where;
    return 1;
  }

  Backend& backend_;
  const CnnTable& table_;
  HashNumbers numbers_;
  nn::Network network_;
  Array<float> x_;
  Array<std::int32_t> labels_;
  Array<LossSum> sum_;
};

nn::NetworkSpec paper_spec() {
  return {{28, 28, 1}, nn::parse_layers(*nn::preset_layers("cnn-paper", "relu", 10)), 0.01f};
}

nn::NetworkSpec small_spec() {
  const std::vector<std::string> lines = {"conv 8 3x3 stride 2 pad 1 no-bias",
                                          "batchnorm relu",
                                          "residual",
                                          "conv 12 3x3 pad 1 no-bias",
                                          "batchnorm relu",
                                          "conv 12 3x3 pad 1 no-bias",
                                          "batchnorm",
                                          "shortcut",
                                          "conv 12 1x1 no-bias",
                                          "batchnorm",
                                          "end relu",
                                          "avgpool 3 stride 2 pad 1",
                                          "conv 16 2x2 relu",
                                          "global-avgpool",
                                          "dense 20 gelu",
                                          "dense 5"};
  return {{11, 9, 3}, nn::parse_layers(lines), 0.01f};
}

class CnnRooms : public ::testing::TestWithParam<Room> {};

TEST_P(CnnRooms, SmallNetworkGivesPyTorchsGradients) {
  const auto backend = GetParam().make();
  const CnnTable table("cnn_small_step.csv", 6);
  CnnPass(*backend, table, small_spec()).compare();
}

// Two images take half a second interpreted; the batch of 16 is left to the CPU room's engines.
TEST_P(CnnRooms, PaperNetworkGivesPyTorchsGradientsOfTwoImages) {
  const auto backend = GetParam().make();
  const CnnTable table("cnn_paper_step.csv", 2);
  CnnPass(*backend, table, paper_spec()).compare();
}

INSTANTIATE_TEST_SUITE_P(Rooms, CnnRooms, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

class CnnEngines : public ::testing::TestWithParam<std::string> {};

TEST_P(CnnEngines, PaperNetworkGivesPyTorchsGradients) {
  const auto backend = cpu::make_cpu_backend(GetParam(), 2);
  const CnnTable table("cnn_paper_step.csv", 16);
  CnnPass(*backend, table, paper_spec()).compare();
}

INSTANTIATE_TEST_SUITE_P(Engines, CnnEngines, ::testing::ValuesIn(all_engines()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace cuthresh::testing
