// Plans of every dtype through cuthresh.h, in every room: steps, masters and counts against the
// formulas written out, magnitudes against a sort, a controlled training, and what is refused.

#include "capi/support.hpp"
#include "support/dtype_list.hpp"

namespace cuthresh::testing {
namespace {

template <class Storage>
constexpr cth_dtype kCthDtype = CTH_FLOAT32;
template <>
constexpr cth_dtype kCthDtype<double> = CTH_FLOAT64;
template <>
constexpr cth_dtype kCthDtype<Bf16> = CTH_BFLOAT16;
template <>
constexpr cth_dtype kCthDtype<Fp16> = CTH_FLOAT16;

/// A list of one dtype on a context's device.
template <class Storage>
struct CapiList {
  using Compute = ComputeOf<Storage>;
  static constexpr bool kMaster = StorageTraits<Storage>::kMaster;

  CapiList(const Room& room, std::vector<DtypeTensor<Storage>> tensors)
      : device{room.engine == "cuda" ? CTH_CUDA : CTH_CPU, 0},
        context(capi::make_context(room.make(), device)),
        host(std::move(tensors)) {
    for (DtypeTensor<Storage>& t : host) {
      t.v.assign(t.size(), Compute(0));
      w.emplace_back(backend(), std::span<const Storage>(t.w));
      g.emplace_back(backend(), std::span<const Storage>(t.g));
      v.emplace_back(backend(), std::span<const Compute>(t.v));
      master.emplace_back(backend(), std::span<const Compute>(t.master));
      entries.push_back({tensor(w.back(), kCthDtype<Storage>), tensor(g.back(), kCthDtype<Storage>),
                         tensor(v.back(), kCthDtype<Compute>), t.group, t.rate});
      masters.push_back(tensor(master.back(), CTH_FLOAT32));
    }
  }

  Backend& backend() const { return *context->state->backend; }
  template <class T>
  cth_tensor tensor(Array<T>& array, cth_dtype dtype) const {
    return {array.data(), array.size(), dtype, device.type, device.index};
  }
  cth_plan_options options(cth_step_kind kind) const {
    cth_plan_options o = CTH_PLAN_OPTIONS_INIT;
    o.kind = kind;
    o.masters = kMaster ? masters.data() : nullptr;
    return o;
  }
  void make_plan(const cth_plan_options& o) {
    cth_plan* made = nullptr;
    ASSERT_CTH(cth_plan_create(context.get(), entries.data(), entries.size(), &o, &made));
    plan.reset(made);
  }
  void expect_same() {
    for (std::size_t t = 0; t < host.size(); ++t) {
      expect_bits_of(w[t].to_host(), host[t].w, "w");
      expect_bits_of(v[t].to_host(), host[t].v, "v");
      if (kMaster) expect_bits_of(master[t].to_host(), host[t].master, "master");
    }
  }
  template <class T>
  static void expect_bits_of(const std::vector<T>& got, const std::vector<T>& want,
                             const char* what) {
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_TRUE(same_bits(got[i], want[i]))
          << what << " " << i << ": " << widen(got[i]) << " and not " << widen(want[i]);
    }
  }

  capi::Device device;
  ContextHandle context;
  std::vector<DtypeTensor<Storage>> host;
  std::vector<Array<Storage>> w, g;
  std::vector<Array<Compute>> v, master;
  std::vector<cth_plan_tensor> entries;
  std::vector<cth_tensor> masters;
  PlanHandle plan;
};

class CapiDtypes : public ::testing::TestWithParam<Room> {};

constexpr cth_rate64 kCapiRate = {0.1, 0.9, 0.01};

template <class Storage>
void step_and_count(const Room& room) {
  SCOPED_TRACE(kCthDtype<Storage>);
  Random random(51);
  CapiList<Storage> list(room, {random_dtype_tensor<Storage>(random, 1501, 0),
                                random_dtype_tensor<Storage>(random, 77, 1),
                                random_dtype_tensor<Storage>(random, 19, -1)});
  list.make_plan(list.options(CTH_STEP_NESTEROV));
  ASSERT_CTH(cth_plan_set_rates64(list.plan.get(), &kCapiRate, 1));
  const std::vector<double> lambda = {0.3, 0.7};
  ASSERT_CTH(cth_plan_set_lambda64(list.plan.get(), lambda.data(), 2));
  const StepRateOf<double> rate = {0.1, 0.9, 0.01};
  for (int step = 0; step < 3; ++step) {
    ASSERT_CTH(cth_prox_step(list.plan.get()));
    for (DtypeTensor<Storage>& t : list.host) {
      t.step(StepKind::kNesterov, rate,
             t.group < 0 ? 0.0 : lambda[static_cast<std::size_t>(t.group)]);
    }
  }
  list.expect_same();
  std::vector<std::uint64_t> counts(2), now(2);
  ASSERT_CTH(cth_plan_read_counts(list.plan.get(), counts.data(), 2));
  ASSERT_CTH(cth_count_nonzero(list.plan.get(), now.data(), 2));
  EXPECT_EQ(counts, (std::vector<std::uint64_t>{list.host[0].nonzeros(), list.host[1].nonzeros()}));
  EXPECT_EQ(now, counts);
  std::vector<double> sorted;
  for (std::size_t t = 0; t < 2; ++t) {
    for (const Storage& x : list.host[t].w) {
      sorted.push_back(std::fabs(static_cast<double>(widen(x))));
    }
  }
  std::sort(sorted.begin(), sorted.end());
  double kth = 0.0;
  ASSERT_CTH(cth_kth_magnitude64(list.plan.get(), CTH_OF_WEIGHTS, 100, &kth));
  EXPECT_EQ(kth, sorted[sorted.size() - 100]);
  const cth_bracket64 bracket = {0.0, std::numeric_limits<double>::infinity()};
  cth_median64 median{};
  ASSERT_CTH(cth_bracket_median64(list.plan.get(), CTH_OF_WEIGHTS, &bracket, &median, 1));
  EXPECT_EQ(median.inside, counts[0] + counts[1]);
  EXPECT_EQ(median.median, sorted[sorted.size() - median.inside + (median.inside - 1) / 2]);
}

TEST_P(CapiDtypes, StepsCountsAndMagnitudes) {
  step_and_count<float>(GetParam());
  step_and_count<double>(GetParam());
  step_and_count<Bf16>(GetParam());
  step_and_count<Fp16>(GetParam());
}

template <class Storage>
void train(const Room& room, bool own_masters) {
  SCOPED_TRACE(kCthDtype<Storage>);
  using Compute = ComputeOf<Storage>;
  Random random(52);
  CapiList<Storage> list(room, {random_dtype_tensor<Storage>(random, 600, 0)});
  cth_plan_options plan_options = list.options(CTH_STEP_SGD);
  if (own_masters) plan_options.masters = nullptr;
  list.make_plan(plan_options);
  ASSERT_CTH(cth_plan_set_rates64(list.plan.get(), &kCapiRate, 1));
  cth_target target{};
  target.sparsity = 0.9;
  cth_controller_options options = CTH_CONTROLLER_OPTIONS_INIT;
  options.steps = 60;
  const auto make_controller = [&] {
    cth_controller* made = nullptr;
    EXPECT_CTH(cth_controller_create(list.plan.get(), &target, 1, &options, &made));
    return ControllerHandle(made);
  };
  ControllerHandle controller = make_controller();
  // Gradients of ½‖w − aim‖².
  const std::vector<float> aim = random.vector(600, -1.0f, 1.0f);
  for (int step = 0; step < 60; ++step) {
    if (step == 31) {  // saved, and loaded into a controller of the same plan
      std::size_t size = 0;
      ASSERT_CTH(cth_controller_save(controller.get(), nullptr, &size));
      std::vector<unsigned char> bytes(size);
      ASSERT_CTH(cth_controller_save(controller.get(), bytes.data(), &size));
      controller.reset();
      controller = make_controller();
      ASSERT_CTH(cth_controller_load(controller.get(), bytes.data(), size));
    }
    std::vector<Storage> gradient;
    const std::vector<Storage> w = list.w[0].to_host();
    for (std::size_t i = 0; i < w.size(); ++i) {
      gradient.push_back(stored<Storage>(widen(w[i]) - static_cast<Compute>(aim[i])));
    }
    list.backend().upload(list.g[0].data(), gradient.data(), gradient.size() * sizeof(Storage));
    ASSERT_CTH(cth_prox_step(list.plan.get()));
    ASSERT_CTH(cth_controller_update(controller.get()));
  }
  cth_target_report report{};
  ASSERT_CTH(cth_controller_read(controller.get(), &report, 1));
  EXPECT_EQ(report.nonzeros, 60U);
  EXPECT_EQ(report.met, 1);
  std::uint64_t left = 0;
  for (const Storage& x : list.w[0].to_host()) left += widen(x) != Compute(0) ? 1U : 0U;
  EXPECT_EQ(left, 60U);
}

TEST_P(CapiDtypes, ATrainingEndsWithExactlyTheTarget) {
  train<double>(GetParam(), false);
  train<Bf16>(GetParam(), true);
  train<Fp16>(GetParam(), false);
}

TEST_P(CapiDtypes, ThresholdsFollowWhoeverStepsTheWeights) {
  DtypeTensor<Bf16> t;
  for (const float x : {1.0f, -0.5f, 0.25f}) {
    t.master.push_back(x);
    t.w.push_back(to_bf16(x));
    t.g.push_back(to_bf16(0.0f));
  }
  CapiList<Bf16> list(GetParam(), {t});
  list.make_plan(list.options(CTH_STEP_THRESHOLD));
  const cth_rate64 rate = {1.0, 0.0, 0.0};
  ASSERT_CTH(cth_plan_set_rates64(list.plan.get(), &rate, 1));
  const double lambda = 0x1p-10;  // a fraction of a last place of 1
  ASSERT_CTH(cth_plan_set_lambda64(list.plan.get(), &lambda, 1));
  for (int step = 0; step < 5; ++step) ASSERT_CTH(cth_prox_step(list.plan.get()));
  EXPECT_EQ(list.master[0].to_host()[0], 1.0f - 5 * 0x1p-10f) << "small thresholds add up";
  const std::vector<Bf16> other = {to_bf16(3.0f), to_bf16(0x1p-11f), to_bf16(0.0f)};
  list.backend().upload(list.w[0].data(), other.data(), other.size() * sizeof(Bf16));
  ASSERT_CTH(cth_prox_step(list.plan.get()));
  EXPECT_EQ(list.master[0].to_host(), (std::vector<float>{3.0f - 0x1p-10f, 0.0f, 0.0f}));
}

TEST(CapiDtypeErrors, NameWhatDoesNotGoTogether) {
  Random random(53);
  const Room room = list_rooms().front();
  CapiList<Bf16> list(
      room, {random_dtype_tensor<Bf16>(random, 8, 0), random_dtype_tensor<Bf16>(random, 8, 1)});
  cth_plan* plan = nullptr;
  cth_plan_options options = list.options(CTH_STEP_MOMENTUM);
  const auto refused = [&](const std::string& text) {
    expect_refused(cth_plan_create(list.context.get(), list.entries.data(), 2, &options, &plan),
                   CTH_UNSUPPORTED, text);
  };
  list.entries[1].weight.dtype = CTH_FLOAT16;
  refused("tensors[1].weight: the dtype must be bfloat16 here");
  list.entries[1].weight.dtype = CTH_BFLOAT16;
  list.entries[0].gradient.dtype = CTH_FLOAT32;
  refused("tensors[0].gradient: the dtype must be bfloat16 here");
  list.entries[0].gradient.dtype = CTH_BFLOAT16;
  list.entries[1].momentum.dtype = CTH_BFLOAT16;
  refused("tensors[1].momentum: the dtype must be float32 here");
  list.entries[1].momentum.dtype = CTH_FLOAT32;
  list.masters[0].dtype = CTH_BFLOAT16;
  refused("options->masters[0]: the dtype must be float32 here");
  list.masters[0] = list.masters[1];
  expect_refused(cth_plan_create(list.context.get(), list.entries.data(), 2, &options, &plan),
                 CTH_INVALID_ARGUMENT, "overlap");
  // Of the header before there were masters.
  options.struct_size = offsetof(cth_plan_options, masters);
  EXPECT_CTH(cth_plan_create(list.context.get(), list.entries.data(), 2, &options, &plan));
  cth_plan_destroy(plan);
}

TEST(CapiDtypeErrors, Float64MagnitudesAreNotGivenAsFloat32) {
  Random random(54);
  CapiList<double> list(list_rooms().front(), {random_dtype_tensor<double>(random, 8, 0)});
  list.make_plan(list.options(CTH_STEP_SGD));
  float magnitude = 0.0f;
  expect_refused(cth_kth_magnitude(list.plan.get(), CTH_OF_WEIGHTS, 1, &magnitude), CTH_UNSUPPORTED,
                 "call cth_kth_magnitude64");
  const cth_bracket bracket = {0.0f, 1.0f};
  cth_median median{};
  expect_refused(cth_bracket_median(list.plan.get(), CTH_OF_WEIGHTS, &bracket, &median, 1),
                 CTH_UNSUPPORTED, "call cth_bracket_median64");
  const void* odd = reinterpret_cast<const char*>(list.g[0].data()) + 4;
  expect_refused(cth_plan_set_gradients(list.plan.get(), &odd, 1), CTH_INVALID_ARGUMENT,
                 "multiple of 8 bytes");
}

INSTANTIATE_TEST_SUITE_P(Rooms, CapiDtypes, ::testing::ValuesIn(list_rooms()), room_name);

}  // namespace
}  // namespace cuthresh::testing
