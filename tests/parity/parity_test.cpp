// Against what others computed: PyTorch's softshrink to the bit, Random123's known answers, and a
// float64 recursion over 1,000 full-batch steps. The tables are made by the Python scripts in this
// folder.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "kernels/math/philox.hpp"
#include "kernels/math/step.hpp"
#include "support/engines.hpp"
#include "support/parity_tables.hpp"
#include "train/trainer.hpp"

namespace cuthresh::testing {
namespace {

TEST(PyTorch, StepIsSoftshrinkOfTheGradientStepToTheBit) {
  const std::vector<Row> table = read_table("softshrink_table.csv");
  ASSERT_GT(table.size(), 2000U);
  for (const Row& row : table) {
    const float w = hex_float(row.at("w"));
    const float g = hex_float(row.at("g"));
    const float alpha = hex_float(row.at("alpha"));
    const float t = hex_float(row.at("t"));
    const std::string what = "w " + row.at("w") + " g " + row.at("g") + " alpha " +
                             row.at("alpha") + " t " + row.at("t");
    ASSERT_EQ(__builtin_bit_cast(std::uint32_t, fused_multiply_add(-alpha, g, w)),
              hex(row.at("z_torch")))
        << what;
    ASSERT_EQ(__builtin_bit_cast(std::uint32_t, ProxGradientStep<float>{alpha, t}(w, g)),
              hex(row.at("y_torch")))
        << what;
  }
}

TEST(Philox, KnownAnswers) {
  int known = 0;
  for (const Row& row : read_table("philox_vectors.csv")) {
    if (row.at("kind") != "kat") continue;
    const auto c = hex_list(row.at("counter"));
    const auto k = hex_list(row.at("key"));
    const auto want = hex_list(row.at("values"));
    const Philox got = Philox::rounds(k[0], k[1], c[0], c[1], c[2], c[3]);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(got.words[i], want[i]) << row.at("name");
    ++known;
  }
  EXPECT_EQ(known, 3);
}

TEST(Philox, InitialWeightsAreThoseOfTheIndependentGenerator) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  nn::Network network(*backend, nn::MlpSpec{{6, 128, 128, 64, 1}, Activation::kRelu, 0.01f}, 1);
  nn::Parameters& parameters = network.parameters();
  parameters.initialise(nn::Initialisation::kPytorch, 123);
  int first_values = 0;
  int sums = 0;
  for (const Row& row : read_table("philox_vectors.csv")) {
    for (std::size_t i = 0; i < parameters.list().size(); ++i) {
      if (parameters.list()[i].name != row.at("name")) continue;
      std::vector<float> got(static_cast<std::size_t>(parameters.list()[i].numel));
      backend->download(got.data(), parameters.value(i), got.size() * sizeof(float));
      if (row.at("kind") == "init") {
        const auto want = hex_list(row.at("values"));
        for (std::size_t e = 0; e < want.size(); ++e) {
          EXPECT_EQ(__builtin_bit_cast(std::uint32_t, got[e]), want[e])
              << row.at("name") << " " << e;
        }
        ++first_values;
      } else if (row.at("kind") == "sum") {
        double sum = 0.0;  // exact: multiples of one small power of two
        for (const float v : got) sum += static_cast<double>(v);
        EXPECT_EQ(__builtin_bit_cast(std::uint64_t, sum),
                  std::stoull(row.at("values"), nullptr, 16))
            << row.at("name");
        ++sums;
      }
    }
  }
  EXPECT_EQ(first_values, 8);
  EXPECT_EQ(sums, 8);
}

// Instrumented, the plain loops take ten minutes for the thousand steps, and threads of two more
// for a hundred; a few run every line of them.
#if defined(__SANITIZE_THREAD__)
constexpr std::int64_t kSteps = 10;
#elif defined(__SANITIZE_ADDRESS__)
constexpr std::int64_t kSteps = 100;
#else
constexpr std::int64_t kSteps = 1000;
#endif

class Recursion : public ::testing::TestWithParam<std::string> {};

TEST_P(Recursion, FollowsTheFloat64ReferenceForAThousandSteps) {
  const auto backend = cpu::make_cpu_backend(GetParam(), 2);
  const DataSplit data = reference_data();
  ASSERT_EQ(data.train.rows, 1000);
  nn::Network network(*backend, nn::MlpSpec{{6, 128, 128, 64, 1}, Activation::kRelu, 0.01f}, 1000);
  network.parameters().initialise(nn::Initialisation::kPytorch, 123);
  const std::vector<std::int32_t> groups = {0, -1, 1, -1, 2, -1, 3, -1};
  train::Trainer trainer(*backend, network, data, {train::LossKind::kMse, 0.1f, 0, 100, 123},
                         groups);

  std::map<std::int64_t, double> loss;
  std::map<std::int64_t, std::uint64_t> nnz;
  const std::vector<float> lambda(4, 1e-4f);
  trainer.run(
      lambda, {}, kSteps + 1,
      [&](std::int64_t step, const StepStatus& status, const train::Sample& sample) {
        if (sample.loss) loss[step - 1] = *sample.loss;  // taken before the step
        nnz[step] = status.total;
      },
      [] { return train::Trainer::Wish::kLook; });
  int compared = 0;
  for (const Row& row : read_table("mackey_glass_1000.csv")) {
    const std::int64_t step = std::stoll(row.at("step"));
    if (step > kSteps) continue;
    const double want = std::stod(row.at("train_loss"));
    EXPECT_NEAR(loss.at(step), want, 1e-4 * want) << "after " << step << " steps";
    if (step > 0) {
      const double count = std::stod(row.at("nnz"));
      EXPECT_NEAR(static_cast<double>(nnz.at(step)), count, 2e-3 * count)
          << "after " << step << " steps";
    }
    ++compared;
  }
  EXPECT_EQ(compared, kSteps / 100 + 1);
}

INSTANTIATE_TEST_SUITE_P(Engines, Recursion, ::testing::ValuesIn(all_engines()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace cuthresh::testing
