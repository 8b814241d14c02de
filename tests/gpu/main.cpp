// The test programs of this folder. Without a GPU each test is skipped, with the reason.

#include <gtest/gtest.h>

#include <string>

#include "cuda/cuda_backend.hpp"

namespace {

/// Skips before a test's own code: a failed test says something about the code, not about the
/// machine.
class SkipWithoutGpu : public ::testing::EmptyTestEventListener {
  void OnTestProgramStart(const ::testing::UnitTest&) override {
    reason_ = cuthresh::cuda::unavailable();
  }
  void OnTestStart(const ::testing::TestInfo&) override {
    if (!reason_.empty()) GTEST_SKIP() << reason_;
  }

  std::string reason_;
};

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::UnitTest::GetInstance()->listeners().Append(new SkipWithoutGpu);  // takes it
  return RUN_ALL_TESTS();
}
