// The cases of networks in every room: their checks pass on what the room does and fail on planted
// faults; what a call costs, against figures by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/cases/cases.hpp"
#include "bench/cases/searches.hpp"
#include "cuthresh/model_file.hpp"
#include "support/engines.hpp"
#include "support/forwarding_backend.hpp"

namespace cuthresh::testing {
namespace {

namespace fs = std::filesystem;

using bench::Case;
using bench::CheckFailed;
using bench::Workload;

bench::Room small_room(Backend& backend, std::int64_t threads = 1) {
  return {backend, threads, std::int64_t{1} << 30, std::int64_t{1} << 20, true};
}

using Collect = std::function<std::vector<Case>(const bench::Room&)>;

/// Cases of one room say why another has none of them.
bool belongs_elsewhere(const Case& c, const bench::Room& room) {
  if (!c.name.ends_with("_fused") || room.backend.description().rfind("cuda", 0) == 0) return false;
  EXPECT_NE(c.lacks(room).find("dense layers are fused"), std::string::npos);
  return true;
}

void expect_all_hold(const Collect& collect, const Room& where) {
  const auto backend = where.make();
  const bench::Room room = small_room(*backend, where.threads);
  const std::vector<Case> cases = collect(room);
  EXPECT_FALSE(cases.empty());
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    if (belongs_elsewhere(c, room)) continue;
    ASSERT_EQ(c.lacks(room), "");
    EXPECT_GT(c.set_bytes, 0);
    EXPECT_GT(c.work.flops, 0.0);
    const std::unique_ptr<Workload> workload = c.make(room, 1);
    EXPECT_NE(workload->check(), "");
    workload->reset();
    workload->call(0);
    workload->call(0);
    EXPECT_NO_THROW(workload->check_after(2));
  }
}

class NetworkCases : public ::testing::TestWithParam<Room> {};

TEST_P(NetworkCases, ProductsHold) {
  expect_all_hold(bench::product_cases, GetParam());
}
TEST_P(NetworkCases, ConvolutionsHold) {
  expect_all_hold(bench::conv_cases, GetParam());
}
TEST_P(NetworkCases, TrainingStepsHold) {
  expect_all_hold(bench::training_cases, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Rooms, NetworkCases, ::testing::ValuesIn(all_rooms()),
                         [](const auto& suite) { return suite.param.name(); });

TEST(SearchCases, Hold) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  const bench::Room room = small_room(*backend);
  std::set<std::string> names;
  for (const Case& c : bench::search_cases(room)) {
    SCOPED_TRACE(c.name);
    names.insert(c.name);
    ASSERT_EQ(c.lacks(room), "");
    EXPECT_TRUE(c.waits);
    const std::unique_ptr<Workload> workload = c.make(room, 1);
    EXPECT_NE(workload->check(), "");
    workload->call(0);
    EXPECT_NO_THROW(workload->check_after(1));
    EXPECT_GT(workload->more().at("steps"), 0.0);
  }
  EXPECT_EQ(names.size(), 2U);
}

TEST(SearchCases, AreTheExamples) {
  const auto text = [](FitConfig config) {
    config.run.out.clear();
    return to_toml(config);
  };
  const std::string examples = std::string(CTH_SOURCE_DIR) + "/examples/";
  EXPECT_EQ(text(bench::single_search()), text(load_config(examples + "mackey_glass_single.toml")));
  EXPECT_EQ(text(bench::layer_search()),
            text(load_config(examples + "mackey_glass_multi.toml",
                             {"train.steps=4000", "sparsity.tolerance=0.1",
                              "sparsity.layers_required=2", "search.first_hit_after=2000"})));
}

/// A place of its own for temporary folders.
class SearchFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(place_.data()), nullptr);
    setenv("TMPDIR", place_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("TMPDIR");
    fs::remove_all(place_);
  }

  std::string place_ = (fs::temp_directory_path() / "network-cases-XXXXXX").string();
};

TEST_F(SearchFolder, IsReadAndRemoved) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  const bench::Room room = small_room(*backend);
  {
    const std::unique_ptr<Workload> workload = bench::search_cases(room).front().make(room, 1);
    workload->call(0);
    EXPECT_NO_THROW(workload->check_after(1));
    // One nonzero weight less than was reported, inside the tolerance.
    const fs::path file = fs::directory_iterator(place_)->path() / "run" / "model.safetensors";
    ModelFile model = read_safetensors(file.string());
    for (NamedTensor& tensor : model.tensors) {
      if (tensor.name != "fc1.weight") continue;
      *std::find_if(tensor.values.begin(), tensor.values.end(),
                    [](float value) { return value != 0.0f; }) = 0.0f;
    }
    write_safetensors(file.string(), model);
    EXPECT_THROW(workload->check_after(1), CheckFailed);
  }
  EXPECT_TRUE(fs::is_empty(place_));
}

/// The CPU room, except that one kind of result is a little wrong.
class FaultyBackend final : public ForwardingBackend {
 public:
  enum class Fault : std::uint8_t {
    kOutput,
    kWeightGradient,
    kBiasGradient,
    kInputGradient,
    kNormGradient,
    kPoolGradient,
    kLearningRate,
    kLambda,
    kNoStep
  };

  enum class Extent : std::uint8_t { kOneEntry, kWhole };

  FaultyBackend(Fault fault, Extent extent)
      : ForwardingBackend(cpu::make_cpu_backend("reference", 1)), fault_(fault), extent_(extent) {}

  void dense_forward(const DenseForward& args) override {
    ForwardingBackend::dense_forward(args);
    spoil(Fault::kOutput, args.y, args.shape.rows * args.shape.out);
  }
  void dense_backward(const DenseBackward& args) override {
    ForwardingBackend::dense_backward(args);
    spoil(Fault::kWeightGradient, args.dw, args.shape.in * args.shape.out);
    spoil(Fault::kBiasGradient, args.db, args.shape.out);
    spoil(Fault::kInputGradient, args.dx, args.shape.rows * args.shape.in);
  }
  void conv_forward(const ConvForward& args) override {
    ForwardingBackend::conv_forward(args);
    spoil(Fault::kOutput, args.y, args.shape.rows * args.shape.out().elements());
  }
  void conv_backward(const ConvBackward& args) override {
    ForwardingBackend::conv_backward(args);
    spoil(Fault::kWeightGradient, args.dw, args.shape.weights());
    spoil(Fault::kBiasGradient, args.db, args.shape.out_channels);
    spoil(Fault::kInputGradient, args.dx, args.shape.rows * args.shape.in.elements());
  }

  void batch_norm_backward(const BatchNormBackward& args) override {
    ForwardingBackend::batch_norm_backward(args);
    spoil(Fault::kNormGradient, args.dgamma, args.shape.channels);
  }
  void pool_backward(const PoolBackward& args) override {
    ForwardingBackend::pool_backward(args);
    spoil(Fault::kPoolGradient, args.dx, args.shape.rows * args.shape.in.elements());
  }
  void set_rates(ProxPlan& plan, std::span<const StepRate> rates) override {
    std::vector<StepRate> all(rates.begin(), rates.end());
    if (is(Fault::kLearningRate)) all.front().learning_rate *= 1.01f;
    ForwardingBackend::set_rates(plan, all);
  }
  void set_lambda(ProxPlan& plan, std::span<const float> lambda) override {
    std::vector<float> all(lambda.begin(), lambda.end());
    if (is(Fault::kLambda)) all.back() *= 1.5f;
    ForwardingBackend::set_lambda(plan, all);
  }
  void prox_step(ProxPlan& plan) override {
    if (!is(Fault::kNoStep)) ForwardingBackend::prox_step(plan);
  }

  bool spoiled = false;

 private:
  bool is(Fault fault) {
    spoiled = spoiled || fault == fault_;
    return fault == fault_;
  }
  /// The entry in the middle by a thousandth, or all by a quarter.
  void spoil(Fault fault, float* values, std::int64_t size) {
    if (values == nullptr || !is(fault)) return;
    std::vector<float> host(static_cast<std::size_t>(size));
    download(host.data(), values, host.size() * sizeof(float));
    if (extent_ == Extent::kOneEntry) {
      float& middle = host[host.size() / 2];
      middle += 1e-3f * (1.0f + std::fabs(middle));
    } else {
      for (float& value : host) value *= 1.25f;
    }
    upload(values, host.data(), host.size() * sizeof(float));
  }

  Fault fault_;
  Extent extent_;
};

using Fault = FaultyBackend::Fault;
using Extent = FaultyBackend::Extent;

/// By every case that comes across it, and by no other.
void expect_found(const Collect& collect, Fault fault, Extent extent) {
  SCOPED_TRACE(::testing::Message() << "fault " << static_cast<int>(fault));
  FaultyBackend backend(fault, extent);
  std::int64_t found = 0;
  for (const Case& c : collect(small_room(backend))) {
    SCOPED_TRACE(c.name);
    if (belongs_elsewhere(c, small_room(backend))) continue;
    backend.spoiled = false;
    const std::unique_ptr<Workload> workload = c.make(small_room(backend), 1);
    std::string message;
    try {
      workload->check();
    } catch (const CheckFailed& failure) {
      message = failure.what();
    }
    if (backend.spoiled) {
      ++found;
      EXPECT_THAT(message, ::testing::HasSubstr(c.name));
    } else {
      EXPECT_EQ(message, "");
    }
  }
  EXPECT_GT(found, 0);
}

constexpr Fault kLayerFaults[] = {Fault::kOutput, Fault::kWeightGradient, Fault::kBiasGradient,
                                  Fault::kInputGradient};

TEST(NetworkCaseFaults, WrongProductsAreFound) {
  for (const Fault fault : kLayerFaults)
    expect_found(bench::product_cases, fault, Extent::kOneEntry);
}
TEST(NetworkCaseFaults, WrongConvolutionsAreFound) {
  for (const Fault fault : kLayerFaults) expect_found(bench::conv_cases, fault, Extent::kOneEntry);
}
TEST(NetworkCaseFaults, WrongTrainingStepsAreFound) {
  for (const Fault fault : kLayerFaults) expect_found(bench::training_cases, fault, Extent::kWhole);
  for (const Fault fault : {Fault::kNormGradient, Fault::kPoolGradient, Fault::kLearningRate,
                            Fault::kLambda, Fault::kNoStep}) {
    expect_found(bench::training_cases, fault, Extent::kWhole);
  }
}

TEST(NetworkCaseFaults, CallsNotMadeAreFound) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  const bench::Room room = small_room(*backend);
  for (const Collect& collect : {Collect(bench::product_cases), Collect(bench::conv_cases)}) {
    for (const Case& c : collect(room)) {
      SCOPED_TRACE(c.name);
      const std::unique_ptr<Workload> workload = c.make(room, 1);
      workload->check();
      workload->reset();
      EXPECT_THROW(workload->check_after(1), CheckFailed);
    }
  }
}

TEST(NetworkCaseFaults, StepsNotTakenAreFound) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  const bench::Room room = small_room(*backend);
  const Case c = bench::training_cases(room).front();
  const std::unique_ptr<Workload> workload = c.make(room, 1);
  workload->call(0);
  workload->check_after(1);
  EXPECT_THROW(workload->check_after(2), CheckFailed);
  workload->reset();
  EXPECT_THROW(workload->check_after(1), CheckFailed);
}

// Full size: cases are listed without making anything.
double flops_of(const Collect& collect, const std::string& name) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  bench::Room room = small_room(*backend);
  room.smoke = false;
  std::string names;
  for (const Case& c : collect(room)) {
    if (c.name == name) return c.work.flops;
    names += c.name + "\n";
  }
  ADD_FAILURE() << "no case " << name << " among\n" << names;
  return 0.0;
}

TEST(NetworkCaseCosts, AreThoseOfTheShapes) {
  const auto product = [](const char* name) { return flops_of(bench::product_cases, name); };
  EXPECT_EQ(product("product/forward/mackey_glass/1000x6x128"), 2e3 * 6 * 128);
  EXPECT_EQ(product("product/forward/mackey_glass/1000x64x1"), 2e3 * 64);
  // Nobody asks for the gradient of a network's input.
  EXPECT_EQ(product("product/backward/mackey_glass/1000x6x128"), 2e3 * 6 * 128);
  EXPECT_EQ(product("product/backward/mackey_glass/1000x128x64"), 4e3 * 128 * 64);
  EXPECT_EQ(product("product/backward/cnn_paper/128x1152x512"), 4.0 * 128 * 1152 * 512);
  EXPECT_EQ(product("product/forward/cnn_paper/128x512x10"), 2.0 * 128 * 512 * 10);

  const auto training = [](const char* name) { return flops_of(bench::training_cases, name); };
  // Three times the products, once those of the first layer less.
  EXPECT_EQ(training("training/mackey_glass"), 2e3 * (3 * 25408 - 768));
  const double first = 28 * 28 * 32 * 9;
  const double others = 14 * 14 * 32 * 64 * 9 + 7 * 7 * 64 * 128 * 9 + 1152 * 512 + 512 * 10;
  EXPECT_EQ(training("training/cnn_paper_128"), 256.0 * (2 * first + 3 * others));

  const auto conv = [](const char* name) { return flops_of(bench::conv_cases, name); };
  EXPECT_EQ(conv("conv/forward/cnn_paper/conv1"), 2.0 * 128 * 28 * 28 * 32 * 9);
  EXPECT_EQ(conv("conv/backward/cnn_paper/conv1"), 2.0 * 128 * 28 * 28 * 32 * 9);
  EXPECT_EQ(conv("conv/backward/cnn_paper/conv2"), 4.0 * 128 * 14 * 14 * 32 * 64 * 9);
  EXPECT_EQ(conv("conv/forward/lenet5/conv2"), 2.0 * 128 * 10 * 10 * 6 * 16 * 25);
  EXPECT_EQ(conv("conv/forward/resnet20/conv2"), 2.0 * 128 * 32 * 32 * 16 * 16 * 9);
}

TEST(NetworkCaseCosts, ConvolutionsAreTheDistinctOnes) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  std::int64_t residual = 0;
  for (const Case& c : bench::conv_cases(small_room(*backend))) {
    if (c.name.rfind("conv/forward/resnet20/", 0) == 0) ++residual;
  }
  // 3 to 16 channels, then 16, 32 and 64 alone, and into 32 and 64 by a 3×3 and a 1×1.
  EXPECT_EQ(residual, 8);
}

}  // namespace
}  // namespace cuthresh::testing
