// Rounds as a search sees them: momentum and schedule against a float64 recursion, the same start
// every time, looks that disturb nothing, gradients of mini-batch runs.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/engines.hpp"
#include "support/late_backend.hpp"
#include "support/seeded.hpp"
#include "train/batches.hpp"
#include "train/trainer.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint64_t kSeed = 31;

DataSplit small_data(Random& random, std::int64_t train, std::int64_t test, bool classes) {
  const auto part = [&](std::int64_t rows) {
    Dataset data;
    data.rows = rows;
    data.features = 3;
    data.outputs = classes ? 1 : 2;
    data.inputs = random.vector(static_cast<std::size_t>(rows * 3), -1.0f, 1.0f);
    data.targets = random.vector(static_cast<std::size_t>(rows * data.outputs), -1.0f, 1.0f);
    if (classes) {
      for (float& t : data.targets) t = t > 0.0f ? 1.0f : 0.0f;
    }
    return data;
  };
  DataSplit split;
  split.train = part(train);
  split.test = part(test);
  return split;
}

train::TrainerSettings settings(std::int64_t batch) {
  train::TrainerSettings s;
  s.learning_rate = 0.2f;
  s.batch = batch;
  s.sample_every = 0;
  s.seed = kSeed;
  return s;
}

constexpr Schedule kCosine{
    .kind = ScheduleKind::kCosine, .learning_rate = 0.2, .warmup = 6, .final_learning_rate = 0.01};

/// A network with a trainer; parameters 0, 2, … are penalised.
struct Rig {
  std::unique_ptr<Backend> backend;
  DataSplit data;
  nn::Network network;
  train::Trainer trainer;

  Rig(std::unique_ptr<Backend> room, DataSplit split, std::vector<std::int64_t> widths,
      const train::TrainerSettings& s)
      : backend(std::move(room)),
        data(std::move(split)),
        network(*backend,
                nn::MlpSpec{widths, widths.size() > 2 ? Activation::kTanh : Activation::kIdentity,
                            0.01f},
                train::Trainer::rows_needed(data.train.rows, s.batch, 1000)),
        trainer(*backend, network, data, s, groups(widths.size() - 1)) {
    network.parameters().initialise(nn::Initialisation::kPytorch, 9);
  }

  static std::vector<std::int32_t> groups(std::size_t layers) {
    std::vector<std::int32_t> all;
    for (std::size_t l = 0; l < layers; ++l) {
      all.push_back(static_cast<std::int32_t>(l));
      all.push_back(-1);
    }
    return all;
  }
  std::vector<float> read(bool gradients = false) {
    std::vector<float> all;
    nn::Parameters& p = network.parameters();
    for (std::size_t i = 0; i < p.list().size(); ++i) {
      std::vector<float> v(static_cast<std::size_t>(p.list()[i].numel));
      backend->download(v.data(), gradients ? p.gradient(i) : p.value(i), v.size() * sizeof(float));
      all.insert(all.end(), v.begin(), v.end());
    }
    return all;
  }
};

std::vector<Room> two_rooms() {
  std::vector<Room> rooms;
  for (const Room& room : all_rooms()) {
    const bool wanted = room.engine == "cuda" || (room.engine == "reference" && room.threads == 1);
    const bool seen = std::any_of(rooms.begin(), rooms.end(),
                                  [&](const Room& r) { return r.engine == room.engine; });
    if (wanted && !seen) rooms.push_back(room);
  }
  return rooms;
}

class Rounds : public ::testing::TestWithParam<Room> {};

// One linear layer, whose gradient is a sum that can be written out.
struct LinearReference {
  std::vector<double> w, b, vw, vb;  // [2, 3], [2]

  void step(const Dataset& data, const std::vector<std::int64_t>& rows, double alpha, double mu,
            bool nesterov, double lambda) {
    std::vector<double> gw(6, 0.0), gb(2, 0.0);
    const double scale = 2.0 / static_cast<double>(2 * rows.size());
    for (const std::int64_t row : rows) {
      for (std::size_t o = 0; o < 2; ++o) {
        const auto at = static_cast<std::size_t>(row);
        double error = b[o] - static_cast<double>(data.targets[at * 2 + o]);
        for (std::size_t i = 0; i < 3; ++i)
          error += w[o * 3 + i] * static_cast<double>(data.inputs[at * 3 + i]);
        gb[o] += scale * error;
        for (std::size_t i = 0; i < 3; ++i)
          gw[o * 3 + i] += scale * error * static_cast<double>(data.inputs[at * 3 + i]);
      }
    }
    const auto move = [&](std::vector<double>& p, std::vector<double>& v,
                          const std::vector<double>& g, double threshold) {
      for (std::size_t i = 0; i < p.size(); ++i) {
        v[i] = mu * v[i] + g[i];
        const double z = p[i] - alpha * (nesterov ? g[i] + mu * v[i] : v[i]);
        p[i] = std::copysign(std::max(std::abs(z) - threshold, 0.0), z);
      }
    };
    move(w, vw, gw, alpha * lambda);
    move(b, vb, gb, 0.0);
  }
};

TEST_P(Rounds, MomentumAndScheduleFollowAFloat64Recursion) {
  constexpr std::int64_t kRows = 23;
  constexpr std::int64_t kBatch = 7;
  constexpr std::int64_t kSteps = 45;
  const double mu = 0.8;
  const double lambda = 0.05;
  for (const bool nesterov : {false, true}) {
    Random random(41);
    SCOPED_TRACE(::testing::Message() << "seed " << random.seed() << ", nesterov " << nesterov);
    train::TrainerSettings s = settings(kBatch);
    s.step = nesterov ? StepKind::kNesterov : StepKind::kMomentum;
    s.momentum = static_cast<float>(mu);
    s.schedule = kCosine;
    Rig rig(GetParam().make(), small_data(random, kRows, 0, false), {3, 2}, s);
    const std::vector<float> start = rig.read();
    const std::vector<double> wide(start.begin(), start.end());
    LinearReference exact{{wide.begin(), wide.begin() + 6},
                          {wide.begin() + 6, wide.end()},
                          std::vector<double>(6, 0.0),
                          std::vector<double>(2, 0.0)};
    for (std::int64_t t = 0; t < kSteps; ++t) {
      const std::int64_t batches = (kRows + kBatch - 1) / kBatch;
      const auto order = train::epoch_order(kRows, kSeed, static_cast<std::uint32_t>(t / batches));
      const std::int64_t first = t % batches * kBatch;
      const std::vector<std::int64_t> rows(order.begin() + first,
                                           order.begin() + std::min(first + kBatch, kRows));
      const double alpha =
          t < 6 ? 0.2 * static_cast<double>(t + 1) / 6.0
                : 0.01 + 0.19 * 0.5 *
                             (1.0 + std::cos(std::acos(-1.0) * static_cast<double>(t - 6) /
                                             static_cast<double>(kSteps - 6)));
      exact.step(rig.data.train, rows, alpha, mu, nesterov, lambda);
    }
    const auto lambda32 = static_cast<float>(lambda);
    EXPECT_EQ(rig.trainer.run({&lambda32, 1}, {}, kSteps, {}).steps, kSteps);
    const std::vector<float> got = rig.read();
    std::vector<double> want = exact.w;
    want.insert(want.end(), exact.b.begin(), exact.b.end());
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(got[i]), want[i], 1e-5) << i;
    }
  }
}

TEST_P(Rounds, BeginAlikeWhateverWasBefore) {
  Random random(42);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const DataSplit data = small_data(random, 40, 0, false);
  train::TrainerSettings s = settings(7);  // 6 batches an epoch; rounds end inside one
  s.sample_every = 1;
  s.step = StepKind::kMomentum;
  s.momentum = 0.9f;
  s.schedule = kCosine;
  const auto round = [](Rig& rig, float lambda, const StopRule& rule) {
    std::vector<double> losses;
    const std::vector<float> all(2, lambda);
    rig.trainer.run(all, rule, 20,
                    [&](std::int64_t, const StepStatus&, const train::Sample& sample) {
                      losses.push_back(sample.loss.value());
                    });
    return std::pair{losses, rig.read()};
  };
  Rig rig(GetParam().make(), data, {3, 5, 2}, s);
  const auto first = round(rig, 0.02f, {});
  const auto other = round(rig, 0.2f, {{CountBand{0, 12}}, 1, 0});  // ends early
  EXPECT_NE(other.second, first.second);
  EXPECT_LT(other.first.size(), first.first.size());
  const auto again = round(rig, 0.02f, {});
  EXPECT_EQ(again.first, first.first);
  EXPECT_EQ(again.second, first.second);
  Rig fresh(GetParam().make(), data, {3, 5, 2}, s);
  EXPECT_EQ(round(fresh, 0.02f, {}), first);
}

TEST_P(Rounds, LooksDisturbNothingAndAreTaggedWithTheirBytes) {
  for (const bool classes : {false, true}) {
    Random random(43);
    SCOPED_TRACE(::testing::Message() << "seed " << random.seed() << ", classes " << classes);
    const DataSplit data = small_data(random, 30, 11, classes);
    train::TrainerSettings s = settings(8);
    s.loss = classes ? train::LossKind::kCrossEntropy : train::LossKind::kMse;
    s.step = StepKind::kNesterov;
    s.momentum = 0.9f;
    const std::vector<float> lambda(2, 0.01f);
    Rig blind(GetParam().make(), data, {3, 5, 2}, s);
    const std::uint64_t before = blind.backend->bytes_to_host();
    const StepStatus status = blind.trainer.run(lambda, {}, 14, {});
    EXPECT_EQ(blind.trainer.bytes_looked_at(), 0U);
    EXPECT_EQ(blind.backend->bytes_to_host() - before, 8U * (2 + 4)) << "the status, once";

    s.sample_every = 3;
    s.test_every = 4;
    Rig seeing(GetParam().make(), data, {3, 5, 2}, s);
    std::vector<std::int64_t> sampled, tested;
    std::vector<double> test_losses;
    std::vector<std::optional<double>> accuracies;
    const std::uint64_t start = seeing.backend->bytes_to_host();
    const StepStatus seen = seeing.trainer.run(
        lambda, {}, 14, [&](std::int64_t step, const StepStatus&, const train::Sample& sample) {
          ASSERT_TRUE(sample.loss.has_value());
          EXPECT_EQ(sample.accuracy.has_value(), classes);
          sampled.push_back(step);
          if (!sample.test) return;
          tested.push_back(step);
          test_losses.push_back(sample.test->loss);
          accuracies.push_back(sample.test->accuracy);
        });
    EXPECT_EQ(sampled, (std::vector<std::int64_t>{1, 4, 7, 8, 10, 12, 13}));
    EXPECT_EQ(tested, (std::vector<std::int64_t>{4, 8, 12}));
    EXPECT_EQ(seen.nnz, status.nnz);
    EXPECT_EQ(seeing.read(), blind.read()) << "a look changed a weight";
    // Seven looks with a status and a loss, three with one more loss.
    EXPECT_EQ(seeing.trainer.bytes_looked_at(), 7U * (8 * (2 + 4) + 16) + 3U * 16);
    EXPECT_GE(seeing.backend->bytes_to_host() - start,
              seeing.trainer.bytes_looked_at() + 8U * (2 + 4));

    // A run that ends there has the loss that was seen on the way.
    for (std::size_t i = 0; i < tested.size(); ++i) {
      blind.trainer.run(lambda, {}, tested[i], {});
      const auto test = blind.trainer.evaluate_test();
      ASSERT_TRUE(test.has_value());
      EXPECT_EQ(test->loss, test_losses[i]);
      EXPECT_EQ(test->accuracy, accuracies[i]);
    }
  }
}

TEST_P(Rounds, GradientsOfMiniBatchRunsAreTheFullOnes) {
  // What pivot and certificate read: at the same weights, whatever the batch of the steps was.
  Random random(44);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const DataSplit data = small_data(random, 1100, 0, false);  // more than go through at once
  std::vector<std::vector<float>> gradients;
  std::vector<float> medians;
  std::vector<KktResult> certificates;
  const std::vector<float> lambda(1, 1e-3f);
  for (const std::int64_t batch : {0L, 50L}) {
    train::TrainerSettings s = settings(batch);
    s.step = StepKind::kMomentum;
    s.momentum = 0.9f;
    Rig rig(GetParam().make(), data, {3, 2}, s);
    if (batch > 0) {
      const std::vector<float> any(1, 0.1f);
      rig.trainer.run(any, {}, 3, {});
      rig.network.parameters().restore_initial();
    }
    rig.trainer.full_gradient();
    gradients.push_back(rig.read(true));
    const std::pair<float, float> bracket{0.0f, 10.0f};
    medians.push_back(rig.trainer.bracket_medians({&bracket, 1}).front().median.value());
    certificates.push_back(rig.trainer.kkt(lambda).front());
  }
  float largest = 0.0f;
  for (const float g : gradients[0]) largest = std::max(largest, std::fabs(g));
  ASSERT_GT(largest, 0.0f);
  for (std::size_t i = 0; i < gradients[0].size(); ++i) {
    EXPECT_NEAR(gradients[1][i], gradients[0][i], 1e-5f * largest) << i;
  }
  EXPECT_NEAR(medians[1], medians[0], 1e-5f * largest);
  EXPECT_NEAR(certificates[1].on_nonzero, certificates[0].on_nonzero, 1e-5f * largest);
}

INSTANTIATE_TEST_SUITE_P(Rooms, Rounds, ::testing::ValuesIn(two_rooms()),
                         [](const auto& test) { return test.param.name(); });

TEST(RoundPace, EveryStepThatIsNotLookedAtIsThrottled) {
  Random random(45);
  train::TrainerSettings s = settings(0);
  s.sample_every = 5;
  auto late = std::make_unique<LateBackend>(cpu::make_cpu_backend("reference", 1), 1);
  LateBackend& backend = *late;
  Rig rig(std::move(late), small_data(random, 20, 0, false), {3, 2}, s);
  const float lambda = 0.0f;
  rig.trainer.run({&lambda, 1}, {}, 23, {});
  EXPECT_EQ(backend.enqueued, 23);
  EXPECT_EQ(backend.throttled, 23 - 5) << "five samples wait by themselves";
}

TEST(RoundPace, AWishToEndEndsTheRoundAndALookReportsTheStep) {
  Random random(46);
  Rig rig(cpu::make_cpu_backend("reference", 1), small_data(random, 20, 0, false), {3, 2},
          settings(0));
  const float lambda = 0.0f;
  int asked = 0;
  std::vector<std::int64_t> reported;
  const StepStatus status = rig.trainer.run(
      {&lambda, 1}, {}, 100,
      [&](std::int64_t step, const StepStatus&, const train::Sample& sample) {
        reported.push_back(step);
        EXPECT_FALSE(sample.loss.has_value());
      },
      [&] {
        ++asked;
        if (asked == 9) return train::Trainer::Wish::kEnd;
        return asked % 4 == 0 ? train::Trainer::Wish::kLook : train::Trainer::Wish::kGoOn;
      });
  EXPECT_EQ(status.steps, 9);
  EXPECT_EQ(reported, (std::vector<std::int64_t>{4, 8}));
}

}  // namespace
}  // namespace cuthresh::testing
