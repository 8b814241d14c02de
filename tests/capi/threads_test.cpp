// One context from four threads, and four contexts: results as from one thread, and nothing for
// ThreadSanitizer to find.

#include <atomic>
#include <thread>

#include "capi/small_network.hpp"

namespace cuthresh::testing {
namespace {

constexpr int kThreads = 4;
const Room kShared = {"tiled", "baseline", 2};

template <class F>
void on_threads(F&& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&body, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

TEST(CapiThreads, CallsOnOneContextWaitForEachOther) {
  constexpr int kStepsEach = 20;
  constexpr float kAlpha = 0x1p-10f;
  List list(kShared, {{std::vector<float>(40000, 1.0f), std::vector<float>(40000, 1.0f), 0, 0}});
  list.make_plan();
  list.set_rates({{kAlpha, 0.0f, 0.0f}});
  std::atomic<int> failures{0};
  on_threads([&](int thread) {
    for (int step = 0; step < kStepsEach; ++step) {
      std::uint64_t count = 0;
      float magnitude = 0.0f;
      cth_plan* own = nullptr;
      bool good = cth_prox_step(list.plan()) == CTH_OK;
      good = good && cth_count_nonzero(list.plan(), &count, 1) == CTH_OK && count == 40000;
      good = good && cth_kth_magnitude(list.plan(), CTH_OF_WEIGHTS, 1, &magnitude) == CTH_OK;
      // Plans come and go beside it, and every thread has messages of its own.
      std::vector<float> w(100, static_cast<float>(thread));
      cth_plan_tensor tensor{};
      tensor.weight = cth_cpu_float32(w.data(), 100);
      good = good && cth_plan_create(list.context(), &tensor, 1, nullptr, &own) == CTH_OK;
      good = good && cth_count_nonzero(own, &count, 1) == CTH_OK && count == (thread ? 100U : 0U);
      cth_plan_destroy(own);
      good = good && cth_kth_magnitude(list.plan(), CTH_OF_WEIGHTS, -thread, &magnitude) != CTH_OK;
      const std::string text = "(got " + std::to_string(-thread) + ")";
      good = good && std::string(cth_last_error()).find(text) != std::string::npos;
      if (!good) ++failures;
    }
  });
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(list.status().steps, kThreads * kStepsEach);
  // Each step takes α away, exactly.
  EXPECT_EQ(list.weight(0).to_host()[39999], 1.0f - kAlpha * kThreads * kStepsEach);
}

TEST(CapiThreads, ContextsDoNotDisturbEachOther) {
  constexpr std::int64_t kSteps = 60;
  std::vector<std::vector<std::vector<float>>> ends(kThreads);
  on_threads([&](int thread) {
    SmallNetwork network(kShared, 31, CTH_STEP_MOMENTUM);
    const ControllerHandle controller =
        make_controller(network.plan(), {target_of(nullptr, 30)}, steps_of(kSteps));
    network.train(controller.get(), 0, kSteps);
    EXPECT_EQ(read_reports(controller, 1)[0].nonzeros, 30U);
    ends[static_cast<std::size_t>(thread)] = network.state();
  });
  for (const auto& end : ends) EXPECT_EQ(end, ends.front());
}

}  // namespace
}  // namespace cuthresh::testing
