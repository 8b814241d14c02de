// Every refusal of the C ABI once, by its status and its message, and that nothing has changed
// then.

#include <cstring>
#include <limits>
#include <thread>

#include "capi/support.hpp"

namespace cuthresh::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const Room kRoom = {"tiled", "baseline", 1};

TEST(CapiErrors, NamesAndVersions) {
  EXPECT_STREQ(cth_status_name(CTH_OK), "CTH_OK");
  EXPECT_STREQ(cth_status_name(CTH_INVALID_ARGUMENT), "CTH_INVALID_ARGUMENT");
  EXPECT_STREQ(cth_status_name(CTH_UNSUPPORTED), "CTH_UNSUPPORTED");
  EXPECT_STREQ(cth_status_name(CTH_DEVICE_ERROR), "CTH_DEVICE_ERROR");
  EXPECT_STREQ(cth_status_name(CTH_INTERNAL_ERROR), "CTH_INTERNAL_ERROR");
  int none = 99;
  cth_status status = CTH_OK;
  std::memcpy(&status, &none, sizeof status);
  EXPECT_STREQ(cth_status_name(status), "unknown status");
  int major = -1;
  int minor = -1;
  int patch = -1;
  cth_version_numbers(&major, &minor, &patch);
  cth_version_numbers(nullptr, nullptr, nullptr);
  EXPECT_EQ(std::string(cth_version()),
            std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch));
}

TEST(CapiErrors, MessagesBelongToTheirThread) {
  expect_refused(cth_prox_step(nullptr), CTH_INVALID_ARGUMENT,
                 "cth_prox_step, plan: must not be NULL (got NULL); pass a pointer");
  std::thread([] {
    EXPECT_STREQ(cth_last_error(), "");
    expect_refused(cth_context_synchronize(nullptr), CTH_INVALID_ARGUMENT,
                   "cth_context_synchronize");
  }).join();
  EXPECT_NE(std::string(cth_last_error()).find("cth_prox_step"), std::string::npos);
}

TEST(CapiErrors, LongMessagesAreCutAtACharacter) {
  const std::string name(700, 'x');
  const cth_status status = capi::guarded("cth_long", [&] {
    capi::invalid(name, "λλλλλλλλ" + std::string(300, 'y') + "λλλλλλλλλλ", "", "");
  });
  EXPECT_EQ(status, CTH_INVALID_ARGUMENT);
  const std::string text = cth_last_error();
  EXPECT_LE(text.size(), 1023U);
  EXPECT_GE(text.size(), 1019U);
  EXPECT_EQ(text.substr(0, 13), "cth_long: xxx");
  EXPECT_EQ(text.substr(text.size() - 3), "…");
  const auto before = static_cast<unsigned char>(text[text.size() - 4]);
  EXPECT_TRUE(before < 0x80 || (before & 0xC0U) == 0x80U) << "cut inside a character";
}

TEST(CapiErrors, ExceptionsBecomeStatuses) {
  EXPECT_EQ(capi::guarded("cth_x", [] { throw std::bad_alloc(); }), CTH_DEVICE_ERROR);
  EXPECT_STREQ(cth_last_error(), "cth_x: the host is out of memory; free some and try again");
  EXPECT_EQ(capi::guarded("cth_x",
                          [] {
                            throw InternalError({"CUDA, cudaFree", "failed", "", ""});
                          }),
            CTH_DEVICE_ERROR);
  EXPECT_EQ(capi::guarded("cth_x", [] { throw std::logic_error("why"); }), CTH_INTERNAL_ERROR);
  EXPECT_STREQ(cth_last_error(), "cth_x: why");
  EXPECT_EQ(capi::guarded("cth_x", [] { throw 3; }), CTH_INTERNAL_ERROR);
}

void expect_context_refused(cth_context_options options, cth_status status,
                            const std::string& text) {
  cth_context* context = nullptr;
  expect_refused(cth_context_create(&options, &context), status, text);
  EXPECT_EQ(context, nullptr);
}

TEST(CapiErrors, Contexts) {
  const cth_context_options good = CTH_CONTEXT_OPTIONS_INIT;
  expect_refused(cth_context_create(&good, nullptr), CTH_INVALID_ARGUMENT, ", context:");
  cth_context_options o = good;
  o.struct_size = 0;
  expect_context_refused(o, CTH_INVALID_ARGUMENT, "options->struct_size");
  o.struct_size = sizeof o - 1;
  expect_context_refused(o, CTH_INVALID_ARGUMENT, "struct_size");
  o.struct_size = std::size_t{1} << 40;
  expect_context_refused(o, CTH_INVALID_ARGUMENT, "struct_size");
  o = good;
  o.device_type = 9;
  expect_context_refused(o, CTH_INVALID_ARGUMENT, "options->device_type");
  o = good;
  o.device_index = 1;
  expect_context_refused(o, CTH_INVALID_ARGUMENT, "options->device_index");
  o.device_type = CTH_CUDA;
  o.device_index = -1;
  expect_context_refused(o, CTH_INVALID_ARGUMENT, "options->device_index");
  o = good;
  o.threads = -1;
  expect_context_refused(o, CTH_INVALID_ARGUMENT, "options->threads");
  o = good;
  o.stream = &o;
  expect_context_refused(o, CTH_INVALID_ARGUMENT, "options->stream");

  struct Later {  // as a later header might have it
    cth_context_options known;
    std::int64_t unknown;
  } later{good, 0};
  later.known.struct_size = sizeof later;
  cth_context* made = nullptr;
  ASSERT_CTH(cth_context_create(&later.known, &made));
  const ContextHandle context(made);
  later.unknown = 1;
  cth_context* none = nullptr;
  expect_refused(cth_context_create(&later.known, &none), CTH_UNSUPPORTED, "does not know");
  EXPECT_EQ(none, nullptr);
  expect_refused(cth_context_set_stream(made, &later), CTH_INVALID_ARGUMENT, "no streams");
  EXPECT_CTH(cth_context_set_stream(made, nullptr));
  expect_refused(cth_context_description(made, nullptr), CTH_INVALID_ARGUMENT, ", text:");
  expect_refused(cth_context_bytes_to_host(made, nullptr), CTH_INVALID_ARGUMENT, ", bytes:");
}

/// A list of two tensors that a plan takes, to be spoilt.
class CapiPlanErrors : public ::testing::Test {
 protected:
  CapiPlanErrors()
      : list_(kRoom, {{{1.0f, 2.0f, 3.0f}, {1.0f, 1.0f, 1.0f}, 0, 0}, {{1.0f}, {1.0f}, 1, 1}}) {}

  void refused(std::vector<cth_plan_tensor> tensors, cth_status status, const std::string& text,
               cth_step_kind kind = CTH_STEP_MOMENTUM) {
    cth_plan_options options = CTH_PLAN_OPTIONS_INIT;
    options.kind = kind;
    refused_with(options, tensors, status, text);
  }
  void refused_with(const cth_plan_options& options, const std::vector<cth_plan_tensor>& tensors,
                    cth_status status, const std::string& text) {
    cth_plan* plan = nullptr;
    expect_refused(
        cth_plan_create(list_.context(), tensors.data(), tensors.size(), &options, &plan), status,
        text);
    EXPECT_EQ(plan, nullptr);
  }

  List list_;
};

TEST_F(CapiPlanErrors, Tensors) {
  const std::vector<cth_plan_tensor> good = list_.entries();
  auto bad = good;
  bad[1].weight.dtype = CTH_FLOAT64;
  refused(bad, CTH_UNSUPPORTED,
          "cth_plan_create, tensors[1].weight: the dtype must be float32 here");
  refused(bad, CTH_UNSUPPORTED, "(got float64); make a plan for each dtype");
  bad[1].weight.dtype = 17;
  refused(bad, CTH_INVALID_ARGUMENT, "(got 17)");
  bad = good;
  bad[1].weight.device_type = CTH_CUDA;
  refused(bad, CTH_INVALID_ARGUMENT,
          "tensors[1].weight: must be on the context's device, CPU (got CUDA device 0)");
  bad[1].weight.device_type = 5;
  refused(bad, CTH_INVALID_ARGUMENT, "tensors[1].weight: the device type");
  bad = good;
  bad[0].weight.size = -1;
  refused(bad, CTH_INVALID_ARGUMENT, "from 0 to 2^60 elements (got -1)");
  bad = good;
  bad[0].weight.data = nullptr;
  refused(bad, CTH_INVALID_ARGUMENT, "tensors[0].weight: data must not be NULL");
  bad = good;
  bad[0].weight.data = static_cast<char*>(bad[0].weight.data) + 2;
  refused(bad, CTH_INVALID_ARGUMENT, "multiple of 4 bytes");
  bad = good;
  bad[0].gradient.size = 2;
  refused(bad, CTH_INVALID_ARGUMENT,
          "tensors[0].gradient: must be as large as its weight, 3 (got 2)");
  bad = good;
  bad[1].momentum.data = nullptr;
  refused(bad, CTH_INVALID_ARGUMENT, "tensors[1].momentum: data must not be NULL");
  bad = good;
  bad[1].group = -2;
  refused(bad, CTH_INVALID_ARGUMENT, "tensors[1].group");
  bad = good;
  bad[1].rate = -1;
  refused(bad, CTH_INVALID_ARGUMENT, "tensors[1].rate");
  bad = good;
  bad[1].weight.data = static_cast<float*>(bad[0].weight.data) + 2;
  refused(bad, CTH_INVALID_ARGUMENT, "overlap");
  refused({}, CTH_INVALID_ARGUMENT, "count");
}

TEST_F(CapiPlanErrors, Options) {
  cth_plan_options o = CTH_PLAN_OPTIONS_INIT;
  cth_plan* plan = nullptr;
  expect_refused(cth_plan_create(nullptr, list_.entries().data(), 2, &o, &plan),
                 CTH_INVALID_ARGUMENT, "cth_plan_create, context");
  expect_refused(cth_plan_create(list_.context(), nullptr, 2, &o, &plan), CTH_INVALID_ARGUMENT,
                 ", tensors:");
  expect_refused(cth_plan_create(list_.context(), list_.entries().data(), 2, &o, nullptr),
                 CTH_INVALID_ARGUMENT, ", plan:");
  o.groups = 1;
  refused_with(o, list_.entries(), CTH_INVALID_ARGUMENT, "tensors[1].group");
  o.groups = -1;
  refused_with(o, list_.entries(), CTH_INVALID_ARGUMENT, "options->groups");
  o.groups = 0;
  o.rates = 1;
  refused_with(o, list_.entries(), CTH_INVALID_ARGUMENT, "tensors[1].rate");
  o.rates = (1 << 24) + 1;
  refused_with(o, list_.entries(), CTH_INVALID_ARGUMENT, "options->rates");
  o.rates = 0;
  o.kind = 4;
  refused_with(o, list_.entries(), CTH_INVALID_ARGUMENT, "options->kind");
  o.kind = 0;
  o.struct_size = 4;
  refused_with(o, list_.entries(), CTH_INVALID_ARGUMENT, "options->struct_size");
}

TEST_F(CapiPlanErrors, SettersChangeNothing) {
  list_.make_plan();
  cth_plan* const plan = list_.plan();
  const cth_rate rates[] = {{0.5f, 0.0f, 0.0f}, {0.25f, 0.0f, 0.0f}};
  const float lambda[] = {1.0f, 2.0f};
  ASSERT_CTH(cth_plan_set_rates(plan, rates, 2));
  ASSERT_CTH(cth_plan_set_lambda(plan, lambda, 2));
  const auto invalid = [](cth_status status, const std::string& text) {
    expect_refused(status, CTH_INVALID_ARGUMENT, text);
  };
  invalid(cth_plan_set_rates(plan, rates, 1), "cth_plan_set_rates, count");
  invalid(cth_plan_set_rates(plan, nullptr, 2), ", rates:");
  for (const cth_rate& bad : {cth_rate{-1.0f, 0.0f, 0.0f}, cth_rate{kNan, 0.0f, 0.0f},
                              cth_rate{0.5f, 1.0f, 0.0f}, cth_rate{0.5f, 0.0f, -1.0f}}) {
    const cth_rate with_bad[] = {{9.0f, 0.0f, 0.0f}, bad};
    invalid(cth_plan_set_rates(plan, with_bad, 2), "cth_plan_set_rates");
  }
  invalid(cth_plan_set_lambda(plan, lambda, 3), "cth_plan_set_lambda, count");
  const float bad_lambda[] = {9.0f, -1.0f};
  invalid(cth_plan_set_lambda(plan, bad_lambda, 2), "cth_plan_set_lambda: ");
  invalid(cth_plan_set_lambda(plan, nullptr, 2), ", lambda:");
  const void* odd[] = {nullptr, static_cast<char*>(list_.entries()[1].gradient.data) + 1};
  invalid(cth_plan_set_gradients(plan, odd, 2), "gradients[1]");
  invalid(cth_plan_set_gradients(plan, odd, 1), "cth_plan_set_gradients, count");
  invalid(cth_plan_set_gradients(plan, nullptr, 2), ", gradients:");
  const auto* const flag =
      reinterpret_cast<const float*>(static_cast<char*>(list_.entries()[1].gradient.data) + 1);
  invalid(cth_plan_set_skip(plan, flag), "cth_plan_set_skip, flag");
  EXPECT_EQ(list_.lambda(2), (std::vector<float>{1.0f, 2.0f}));
  ASSERT_CTH(cth_prox_step(plan));
  EXPECT_EQ(list_.weight(0).to_host(), (std::vector<float>{0.0f, 1.0f, 2.0f}));
  EXPECT_EQ(list_.weight(1).to_host(), std::vector<float>{0.25f});
}

TEST_F(CapiPlanErrors, ReadsAndReductions) {
  list_.entries()[0].gradient.data = nullptr;
  list_.make_plan();
  cth_plan* const plan = list_.plan();
  const auto invalid = [](cth_status status, const std::string& text) {
    expect_refused(status, CTH_INVALID_ARGUMENT, text);
  };
  std::uint64_t counts[2] = {};
  float value = 0.0f;
  cth_kkt kkt[2] = {};
  cth_median medians[2] = {};
  const cth_bracket brackets[2] = {{0.0f, 1.0f}, {2.0f, 1.0f}};
  invalid(cth_plan_read_lambda(plan, &value, 1), "cth_plan_read_lambda, count");
  invalid(cth_plan_read_counts(plan, counts, 3), "cth_plan_read_counts, groups");
  invalid(cth_plan_read_counts(plan, nullptr, 2), ", nonzeros:");
  invalid(cth_plan_read_status(plan, nullptr), ", status:");
  invalid(cth_count_nonzero(plan, counts, 1), "cth_count_nonzero, groups");
  invalid(cth_kkt_residual(plan, kkt, 2), "cth_kkt_residual, tensors[0].gradient");
  invalid(cth_kkt_residual(plan, kkt, 0), "cth_kkt_residual, groups");
  invalid(cth_kth_magnitude(plan, CTH_OF_GRADIENTS, 1, &value), "tensors[0].gradient");
  invalid(cth_kth_magnitude(plan, CTH_OF_WEIGHTS, 0, &value), "k must be from 1");
  invalid(cth_kth_magnitude(plan, CTH_OF_WEIGHTS, 1, nullptr), ", magnitude:");
  invalid(cth_bracket_median(plan, CTH_OF_WEIGHTS, brackets, medians, 2), "brackets[1]");
  invalid(cth_bracket_median(plan, CTH_OF_WEIGHTS, brackets, medians, 3), ", count:");
  invalid(cth_bracket_median(plan, CTH_OF_WEIGHTS, brackets, medians, 0), ", count:");
  const int number = 7;
  cth_operand operand = CTH_OF_WEIGHTS;
  std::memcpy(&operand, &number, sizeof operand);
  invalid(cth_bracket_median(plan, operand, brackets, medians, 1), "operand");
  EXPECT_CTH(cth_bracket_median(plan, CTH_OF_WEIGHTS, brackets, medians, 1));
}

TEST(CapiErrors, Allocation) {
  const std::int64_t sizes[] = {100, 10};
  const std::int64_t dims[] = {20, 11};
  std::uint64_t nonzeros[] = {7, 7};
  ASSERT_CTH(cth_allocate_erdos_renyi(sizes, dims, 2, 62, nonzeros));
  EXPECT_EQ(nonzeros[0] + nonzeros[1], 62U);
  EXPECT_EQ(nonzeros[1], 10U);  // no density above 1
  ASSERT_CTH(cth_allocate_erdos_renyi(sizes, dims, 2, 31, nonzeros));
  // In proportion to dims, the larger of which the first layer has; 11 would be more than it has.
  EXPECT_EQ(nonzeros[0], 21U);
  expect_refused(cth_allocate_erdos_renyi(sizes, dims, 2, 111, nonzeros), CTH_INVALID_ARGUMENT,
                 "cth_allocate_erdos_renyi");
  expect_refused(cth_allocate_erdos_renyi(sizes, dims, 2, 1, nonzeros), CTH_INVALID_ARGUMENT,
                 "cth_allocate_erdos_renyi");
  expect_refused(cth_allocate_erdos_renyi(sizes, dims, 0, 1, nonzeros), CTH_INVALID_ARGUMENT,
                 "cth_allocate_erdos_renyi");
  expect_refused(cth_allocate_erdos_renyi(nullptr, dims, 2, 9, nonzeros), CTH_INVALID_ARGUMENT,
                 "sizes");
  EXPECT_EQ(nonzeros[0], 21U);
}

}  // namespace
}  // namespace cuthresh::testing
