// Searches by rounds that interpolate, and rounds that begin where others ended.

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/fit_fixture.hpp"

namespace cuthresh {
namespace {

class Rounds : public FitTest {
 protected:
  FitConfig interpolating() const {
    FitConfig config = small();
    config.search.method = "interpolate";
    config.search.stop = "converged";
    config.run.force = true;
    return config;
  }

  /// One training at λ from the weights of `model`; from the seed's without one.
  FitResult once(double lambda, const std::string& model, const std::string& name) const {
    FitConfig config = small();
    config.search.method = "fixed";
    config.search.lambda = {lambda};
    config.run.init = model;
    config.run.out = (folder_ / name).string();
    return fit(config);
  }
};

TEST_F(Rounds, InterpolationMeetsTheTargetInNoMoreThanHalving) {
  FitConfig config = interpolating();
  config.search.max_rounds = 30;
  const FitResult interpolated = fit(config);
  EXPECT_TRUE(interpolated.achieved) << interpolated.why_stopped;
  config.search.method = "log-midpoint";
  const FitResult halved = fit(config);
  EXPECT_LE(interpolated.rounds.size(), halved.rounds.size());
}

TEST_F(Rounds, AWarmRoundBeginsWhereTheLatestWithTooManyEnded) {
  FitConfig config = interpolating();
  config.sparsity.tolerance = 0.0;
  config.search.warm_start = true;
  config.search.max_rounds = 4;
  config.search.compare_dense = true;
  const FitResult warm = fit(config);
  ASSERT_GE(warm.rounds.size(), 3u) << warm.why_stopped;
  // Both ends come from the initial weights: the upper one leaves too few to begin with.
  const FitResult first = once(warm.rounds[0].lambda[0], "", "hi");
  const FitResult second = once(warm.rounds[1].lambda[0], "", "lo");
  ASSERT_GT(second.nnz, 40);
  EXPECT_EQ(warm.rounds[0].train_loss, first.train_loss);
  EXPECT_EQ(warm.rounds[1].train_loss, second.train_loss);
  const std::string dense_end = second.folder + "/model.safetensors";
  const FitResult third = once(warm.rounds[2].lambda[0], dense_end, "third");
  EXPECT_EQ(warm.rounds[2].nnz[0], third.nnz);
  EXPECT_EQ(warm.rounds[2].train_loss, third.train_loss);
  ASSERT_TRUE(warm.dense);
  EXPECT_EQ(warm.dense->train_loss, once(0.0, "", "dense").train_loss)
      << "from the initial weights";
}

}  // namespace
}  // namespace cuthresh
