// Lists, numbers and shapes that make no sense, in both rooms alike: an error before anything is
// launched, and nothing is written.

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "cpu/cpu_backend.hpp"
#include "cuda/room.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class BadInput : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    backend = GetParam() == "cpu" ? cpu::make_cpu_backend("reference", 1)
                                  : cuda::make_cuda_backend(cuda::Precision::kFp32);
    a = Array<float>(*backend, 64);
    b = Array<float>(*backend, 64);
    for (Array<float>* array : {&a, &b}) array->zero();
  }

  /// The refusal of a list; nothing may have been enqueued for it.
  std::string refusal(const std::vector<ProxTensor>& list, std::int32_t groups) {
    simt::recording().clear();
    const std::string text = error_of([&] { backend->make_plan(list, groups); });
    if (text != "no error") {
      EXPECT_EQ(simt::recording().launches() + simt::recording().allocations() +
                    simt::recording().bytes_to_device(),
                0U)
          << text;
    }
    return text;
  }

  simt::DeviceScope machine{1};
  std::unique_ptr<Backend> backend;
  Array<float> a, b;
};

TEST_P(BadInput, Lists) {
  float* w = a.data();
  float* g = b.data();
  EXPECT_EQ(refusal({{w, g, 64, 0}}, 1), "no error");
  EXPECT_THAT(refusal({}, 1), HasSubstr("the list has no tensor"));
  EXPECT_THAT(refusal({{w, g, 8, 0}, {nullptr, g, 8, 0}}, 1),
              AllOf(HasSubstr("tensor 1"), HasSubstr("w must not be null")));
  EXPECT_EQ(refusal({{w, nullptr, 8, 0}}, 1), "no error") << "counted, not stepped";
  EXPECT_EQ(refusal({{nullptr, nullptr, 0, 0}, {w, g, 8, 0}}, 1), "no error")
      << "an empty tensor has no address";
  auto* odd = reinterpret_cast<float*>(reinterpret_cast<char*>(w) + 2);
  EXPECT_THAT(refusal({{odd, g, 8, 0}}, 1), HasSubstr("w must lie on a multiple of 4 bytes"));
  auto* odd_g = reinterpret_cast<float*>(reinterpret_cast<char*>(g) + 1);
  EXPECT_THAT(refusal({{w, odd_g, 8, 0}}, 1), HasSubstr("g must lie on a multiple of 4 bytes"));
  EXPECT_THAT(refusal({{w, g, -1, 0}}, 1), AllOf(HasSubstr("the size"), HasSubstr("(got -1)")));
  const std::int64_t huge = (std::int64_t{1} << 60) + 1;
  EXPECT_THAT(refusal({{w, g, huge, 0}}, 1), HasSubstr("2^60"));
  EXPECT_THAT(refusal({{w, g, 8, 1}}, 1), AllOf(HasSubstr("group"), HasSubstr("[-1, 1)")));
  EXPECT_THAT(refusal({{w, g, 8, -2}}, 1), HasSubstr("group"));
  EXPECT_THAT(refusal({{w, g, 8, -1}}, -1), HasSubstr("groups"));
}

TEST_P(BadInput, OverlappingTensors) {
  float* w = a.data();
  float* g = b.data();
  // Weights on weights, on another's gradient, inside, at the edge, in any order.
  const auto overlap = HasSubstr("tensors 0 and 1 overlap");
  EXPECT_THAT(refusal({{w, g, 9, 0}, {w + 8, g + 16, 8, 0}}, 1), overlap);
  EXPECT_THAT(refusal({{w + 8, g, 8, 0}, {w, g + 16, 9, 0}}, 1), overlap);
  EXPECT_THAT(refusal({{w, g, 32, 0}, {w + 4, g + 32, 8, 0}}, 1), overlap);
  EXPECT_THAT(refusal({{w, g, 8, 0}, {w, g + 8, 8, 0}}, 1), overlap);
  EXPECT_THAT(refusal({{w, g, 8, 0}, {w + 16, w + 7, 8, 0}}, 1), overlap);
  EXPECT_THAT(refusal({{w + 16, w + 7, 8, 0}, {w, g, 8, 0}}, 1), overlap);
  EXPECT_THAT(refusal({{w, w + 4, 8, 0}}, 1), HasSubstr("tensors 0 and 0 overlap"));
  // A range that covers a later one must be found past a short one between them.
  EXPECT_THAT(refusal({{w, g, 40, 0}, {w + 50, w + 30, 2, -1}}, 1), overlap);
  EXPECT_EQ(refusal({{w, g, 8, 0}, {w + 8, g, 8, 0}}, 1), "no error")
      << "gradients are read only: two tensors may share one";
  EXPECT_EQ(refusal({{w, w, 8, 0}, {w + 8, w + 8, 8, 0}}, 1), "no error")
      << "to select from one array";
}

TEST_P(BadInput, Momentum) {
  float* w = a.data();
  float* g = b.data();
  const auto refused = [&](const std::vector<ProxTensor>& list, StepKind kind) {
    return error_of([&] { backend->make_plan(list, 1, kind); });
  };
  for (const StepKind kind : {StepKind::kMomentum, StepKind::kNesterov}) {
    EXPECT_EQ(refused({{w, g, 16, 0, w + 16}}, kind), "no error");
    EXPECT_THAT(refused({{w, g, 16, 0}}, kind), HasSubstr("v must not be null"));
    EXPECT_EQ(refused({{w, g, 16, 0, w + 16}, {nullptr, nullptr, 0, 0}}, kind), "no error")
        << "an empty tensor has no address";
    EXPECT_THAT(refused({{w, g, 16, 0, w + 15}}, kind), HasSubstr("tensors 0 and 0 overlap"));
    EXPECT_THAT(refused({{w, g, 16, 0, g + 15}}, kind), HasSubstr("tensors 0 and 0 overlap"));
    EXPECT_THAT(refused({{w, g, 16, 0, g + 16}, {w + 16, g, 8, 0, g + 31}}, kind),
                HasSubstr("tensors 0 and 1 overlap"));
  }
  for (const StepKind kind : {StepKind::kPlain, StepKind::kThreshold}) {
    EXPECT_EQ(refused({{w, g, 16, 0}}, kind), "no error") << "no v is used";
  }
}

TEST_P(BadInput, Numbers) {
  const std::vector<ProxTensor> list = {{a.data(), b.data(), 32, 0},
                                        {a.data() + 32, b.data() + 32, 32, 1}};
  const auto plan = backend->make_plan(list, 2);
  const std::vector<float> good = {0.25f, 0.0f};
  backend->set_lambda(*plan, good);
  backend->set_rate(*plan, {1.0f});
  backend->set_stop(*plan, {});
  simt::recording().clear();
  const auto lambda = [&](std::vector<float> values) {
    return error_of([&] { backend->set_lambda(*plan, values); });
  };
  EXPECT_THAT(lambda({0.1f}), AllOf(HasSubstr("one value a group"), HasSubstr("(got 1)")));
  EXPECT_THAT(lambda({0.1f, 0.1f, 0.1f}), HasSubstr("one value a group"));
  for (const float bad : {-1e-30f, kNan, kInf, -kInf}) {
    EXPECT_THAT(lambda({0.1f, bad}), AllOf(HasSubstr("group 1"), HasSubstr("finite")));
    EXPECT_THAT(error_of([&] { backend->set_rate(*plan, {bad}); }),
                AllOf(HasSubstr("learning rate"), HasSubstr("finite")));
    EXPECT_THAT(error_of([&] {
                  backend->set_rate(*plan, {0.1f, 0.0f, bad});
                }),
                AllOf(HasSubstr("weight decay"), HasSubstr("finite")));
  }
  for (const float bad : {1.0f, -0.1f, 2.0f, kNan, kInf}) {
    EXPECT_THAT(error_of([&] {
                  backend->set_rate(*plan, {0.1f, bad});
                }),
                AllOf(HasSubstr("rate 0"), HasSubstr("momentum"), HasSubstr("below 1")));
  }
  EXPECT_THAT(error_of([&] { backend->set_rates(*plan, std::vector<StepRate>(2)); }),
              AllOf(HasSubstr("one value a rate"), HasSubstr("(got 2)")));
  const auto stop = [&](const StopRule& rule) {
    return error_of([&] { backend->set_stop(*plan, rule); });
  };
  EXPECT_THAT(stop({{{1, 2}, {1, 2}, {1, 2}}, 1, 0}), HasSubstr("no band, one"));
  EXPECT_THAT(stop({{{1, 2}}, 2, 0}), HasSubstr("bands"));
  EXPECT_THAT(stop({{{1, 2}}, -1, 0}), HasSubstr("bands"));
  const std::vector<std::pair<float, float>> three(3, {0.0f, 1.0f});
  EXPECT_THAT(error_of([&] { backend->read_bracket_medians(*plan, three); }),
              HasSubstr("one bracket in all or one a group"));
  EXPECT_THAT(error_of([&] { backend->read_kth_gradient(*plan, 0); }), HasSubstr("k must be"));
  EXPECT_THAT(error_of([&] { backend->read_kth_gradient(*plan, 65); }), HasSubstr("64"));
  EXPECT_EQ(simt::recording().launches() + simt::recording().bytes_to_device(), 0U);

  // What was set before still holds: w = 1 − 1·0 shrunk by 1·0.25 in group 0, by 0 in group 1.
  const std::vector<float> ones(64, 1.0f);
  backend->upload(a.data(), ones.data(), a.bytes());
  backend->prox_step(*plan);
  std::vector<float> want(64, 0.75f);
  std::fill(want.begin() + 32, want.end(), 1.0f);
  EXPECT_EQ(a.to_host(), want);
}

INSTANTIATE_TEST_SUITE_P(Rooms, BadInput, ::testing::Values("cpu", "cuda"),
                         [](const auto& test) { return test.param; });

TEST(BadCudaInput, MemoryOfAnotherPlace) {
  CudaRoom room;
  std::vector<float> host(64);
  Array<float> device(*room.backend, 64);
  const auto refusal = [&](ProxTensor tensor) {
    return error_of([&] { room.backend->make_plan({&tensor, 1}, 1); });
  };
  EXPECT_THAT(refusal({host.data(), device.data(), 64, 0}),
              AllOf(HasSubstr("tensor 0"), HasSubstr("w is not device memory")));
  EXPECT_THAT(refusal({device.data(), host.data(), 64, 0}), HasSubstr("g is not device memory"));
  EXPECT_EQ(refusal({device.data(), device.data(), 64, 0}), "no error");
}

TEST(BadCudaInput, Shapes) {
  CudaRoom room;
  Array<float> m(*room.backend, 64);
  float* p = m.data();
  simt::recording().clear();
  const auto forward = [&](DenseShape shape, float* x, float* z, float* y) {
    return error_of([&] { room.backend->dense_forward({shape, x, p, p, z, y}); });
  };
  const DenseShape good{2, 3, 4, Activation::kRelu, 0.0f};
  EXPECT_THAT(forward({-1, 3, 4, Activation::kRelu, 0.0f}, p, p, p), HasSubstr("rows"));
  EXPECT_THAT(forward({2, 0, 4, Activation::kRelu, 0.0f}, p, p, p), HasSubstr("in must"));
  EXPECT_THAT(forward({2, 3, 0, Activation::kRelu, 0.0f}, p, p, p), HasSubstr("out must"));
  EXPECT_THAT(
      forward({std::int64_t{1} << 40, std::int64_t{1} << 40, 1, Activation::kRelu, 0.0f}, p, p, p),
      HasSubstr("more than 2^60"));
  EXPECT_THAT(forward(good, nullptr, p, p), HasSubstr("x must not be null"));
  EXPECT_THAT(forward(good, p, p, nullptr), HasSubstr("y must not be null"));
  EXPECT_THAT(forward({2, 3, 4, Activation::kGelu, 0.0f}, p, nullptr, p),
              HasSubstr("z must not be null"));
  auto* odd = reinterpret_cast<float*>(reinterpret_cast<char*>(p) + 3);
  EXPECT_THAT(forward(good, odd, p, p), HasSubstr("multiple of 4"));
  EXPECT_THAT(
      error_of([&] {
        room.backend->dense_backward({good, p, p, p, nullptr, nullptr, p, p, nullptr, false});
      }),
      HasSubstr("dy must not be null"));
  LossArgs loss;
  loss.rows = 2;
  loss.columns = 3;
  loss.prediction = p;
  EXPECT_THAT(error_of([&] { room.backend->mse(loss); }), HasSubstr("target"));
  EXPECT_THAT(error_of([&] { room.backend->softmax_cross_entropy(loss); }), HasSubstr("label"));
  EXPECT_THAT(error_of([&] { room.backend->gather_rows(p, p, nullptr, 2, 4); }),
              HasSubstr("index"));
  EXPECT_THAT(error_of([&] { room.backend->initialise_uniform(p, -1, 1.0f, 0, 0); }),
              HasSubstr("size"));
  EXPECT_THAT(error_of([&] { room.backend->initialise_uniform(p, 4, kNan, 0, 0); }),
              HasSubstr("bound"));
  EXPECT_EQ(simt::recording().launches() + simt::recording().count(simt::CallKind::kBlas), 0U);
}

TEST(NoRows, GiveZeroGradientsAndSums) {
  CudaRoom room;
  const std::vector<float> sevens(12, 7.0f);
  Array<float> dw(*room.backend, std::span<const float>(sevens));
  Array<float> db(*room.backend, std::span<const float>(sevens).first(4));
  const LossSum start{5.0, 3};
  Array<LossSum> sum(*room.backend, std::span<const LossSum>(&start, 1));
  for (const bool accumulate : {true, false}) {
    room.backend->dense_backward({{0, 3, 4, Activation::kRelu, 0.0f},
                                  nullptr,
                                  nullptr,
                                  nullptr,
                                  nullptr,
                                  nullptr,
                                  dw.data(),
                                  db.data(),
                                  nullptr,
                                  accumulate});
    EXPECT_EQ(dw.to_host(), std::vector<float>(12, accumulate ? 7.0f : 0.0f));
    EXPECT_EQ(db.to_host(), std::vector<float>(4, accumulate ? 7.0f : 0.0f));
    LossArgs args;
    args.columns = 3;
    args.sum = sum.data();
    args.accumulate = accumulate;
    room.backend->mse(args);
    room.backend->softmax_cross_entropy(args);
    EXPECT_EQ(sum.to_host().front().loss, accumulate ? 5.0 : 0.0);
    EXPECT_EQ(sum.to_host().front().correct, accumulate ? 3U : 0U);
  }
}

}  // namespace
}  // namespace cuthresh::testing
