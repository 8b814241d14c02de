// path(): a network at one sparsity after another.

#include "cuthresh/path.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cuthresh/error.hpp"
#include "cuthresh/model_file.hpp"
#include "tests/unit/fit_fixture.hpp"

namespace cuthresh {
namespace {

using ::testing::HasSubstr;

class Path : public FitTest {
 protected:
  FitConfig to_path() const {
    FitConfig config = small_one_run();
    config.train.steps = 200;
    return config;
  }
  std::string run(const std::string& name) const { return (folder_ / "run" / name).string(); }
  static std::string refusal(const FitConfig& config, const std::vector<double>& targets) {
    try {
      path(config, targets, true);
    } catch (const InputError& error) {
      return error.what();
    }
    return "nothing was refused";
  }
};

/// Counts the trainings, and cancels when so many have begun.
class Counting : public PathObserver {
 public:
  explicit Counting(std::int64_t cancel_at = 1000) : cancel_at_(cancel_at) {}
  void point_begins(std::int64_t, std::int64_t, double target) override { begun.push_back(target); }
  bool cancelled() override { return static_cast<std::int64_t>(begun.size()) >= cancel_at_; }
  std::vector<double> begun;

 private:
  std::int64_t cancel_at_;
};

TEST_F(Path, GoesFromDenseToSparseAndWritesWhatItFound) {
  FitConfig config = to_path();
  config.search.compare_dense = true;
  const PathResult result = path(config, {20, 60, 40, 60}, true);
  ASSERT_EQ(result.points.size(), 3U);
  EXPECT_TRUE(result.complete);
  ASSERT_TRUE(result.dense);
  EXPECT_EQ(result.dense->steps, 200);
  std::vector<std::int64_t> counts;
  for (const PathPoint& point : result.points) {
    counts.push_back(point.nnz);
    EXPECT_TRUE(point.achieved);
    EXPECT_EQ(static_cast<double>(point.nnz), point.target);
    EXPECT_EQ(point.numel, 6 * 16 + 16);
    EXPECT_EQ(point.scores.steps, 200) << "the dense network is not among its steps";
    EXPECT_TRUE(fs::exists(run(point.folder) + "/model.safetensors"));
  }
  EXPECT_EQ(counts, (std::vector<std::int64_t>{60, 40, 20}));
  std::istringstream csv(bytes(folder_ / "run" / "path.csv"));
  std::string line;
  std::getline(csv, line);
  EXPECT_THAT(line, HasSubstr("target,nnz,numel,sparsity,reached"));
  std::getline(csv, line);
  EXPECT_EQ(line.substr(0, 10), "60,60,112,");
  EXPECT_THAT(bytes(folder_ / "run" / "path.svg"), HasSubstr("<circle"));
}

TEST_F(Path, EachPointBeginsAtTheOneBefore) {
  const PathResult warm = path(to_path(), {60, 30}, true);
  FitConfig second = to_path();
  second.sparsity.target_nnz = 30;
  second.run.out = (folder_ / "alone").string();
  second.run.init = run("nnz-60/model.safetensors");
  fit(second);
  EXPECT_EQ(bytes(folder_ / "run" / "nnz-30" / "model.safetensors"),
            bytes(folder_ / "alone" / "model.safetensors"));

  FitConfig cold = to_path();
  cold.run.out = (folder_ / "cold").string();
  path(cold, {60, 30}, false);
  second.run.init.clear();
  second.run.force = true;
  fit(second);
  EXPECT_EQ(bytes(folder_ / "cold" / "nnz-30" / "model.safetensors"),
            bytes(folder_ / "alone" / "model.safetensors"));
}

TEST_F(Path, GoesOnWhereItWasInterrupted) {
  FitConfig whole = to_path();
  whole.run.out = (folder_ / "whole").string();
  path(whole, {0.5, 0.7, 0.9}, true);

  Counting impatient(2);
  const PathResult part = path(to_path(), {0.5, 0.7, 0.9}, true, &impatient);
  EXPECT_FALSE(part.complete);
  ASSERT_EQ(part.points.size(), 1U);
  EXPECT_FALSE(fs::exists(run("sparsity-0.7"))) << "what was cut short is no point";

  Counting patient;
  const PathResult rest = path(to_path(), {0.5, 0.7, 0.9}, true, &patient);
  EXPECT_EQ(patient.begun, (std::vector<double>{0.7, 0.9}));
  EXPECT_EQ(rest.taken_over, 1);
  EXPECT_TRUE(rest.complete);
  EXPECT_EQ(bytes(folder_ / "run" / "sparsity-0.9" / "model.safetensors"),
            bytes(folder_ / "whole" / "sparsity-0.9" / "model.safetensors"));

  Counting nothing_to_do;
  path(to_path(), {0.5, 0.7, 0.9}, true, &nothing_to_do);
  EXPECT_TRUE(nothing_to_do.begun.empty());
  // Another target in the middle: what follows began elsewhere.
  Counting between;
  path(to_path(), {0.5, 0.6, 0.7, 0.9}, true, &between);
  EXPECT_EQ(between.begun, (std::vector<double>{0.6, 0.7, 0.9}));
}

TEST_F(Path, RefusesWhatItCannotDo) {
  EXPECT_THAT(refusal(to_path(), {}), HasSubstr("at least one"));
  EXPECT_THAT(refusal(to_path(), {0.5, 40}), HasSubstr("two kinds (got 40)"));
  EXPECT_THAT(refusal(to_path(), {40.5}), HasSubstr("whole number"));
  EXPECT_THAT(refusal(to_path(), {-1}), HasSubstr("at least 0"));
  EXPECT_THAT(refusal(to_path(), {113}), HasSubstr("112"));
  EXPECT_FALSE(fs::exists(folder_ / "run")) << "nothing is left of a path that cannot be";
  FitConfig config = to_path();
  config.sparsity.target_nnz.reset();
  config.sparsity.layers = {{"fc1", 31}};
  EXPECT_THAT(refusal(config, {40}), HasSubstr("sparsity.layers"));
  config = to_path();
  config.search.method = "fixed";
  EXPECT_THAT(refusal(config, {40}), HasSubstr("search.method"));
}

TEST_F(Path, KeepsWhatIsNotItsOwn) {
  fs::create_directory(folder_ / "run");
  std::ofstream(folder_ / "run" / "notes.txt") << "mine";
  EXPECT_THAT(refusal(to_path(), {40}), HasSubstr("no path"));
  fs::remove(folder_ / "run" / "notes.txt");

  path(to_path(), {40}, true);
  FitConfig other = to_path();
  other.train.steps = 201;
  EXPECT_THAT(refusal(other, {40}), HasSubstr("another configuration"));
  other.run.force = true;
  EXPECT_EQ(path(other, {40}, true).points.front().scores.steps, 201);
  std::ofstream(folder_ / "run" / "path.json") << "{";
  other.run.force = false;
  EXPECT_THAT(refusal(other, {40}), HasSubstr("cannot be read as a path"));
}

}  // namespace
}  // namespace cuthresh
