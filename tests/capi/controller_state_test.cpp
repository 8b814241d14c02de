// A controller's state to and from bytes: a training that is interrupted goes on with the same
// bits; what is damaged or belongs elsewhere is refused; and what a controller refuses to begin
// with.

#include <cstring>
#include <limits>

#include "capi/small_network.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::int64_t kTraining = 100;

class CapiState : public ::testing::TestWithParam<Room> {};
INSTANTIATE_TEST_SUITE_P(Rooms, CapiState, ::testing::ValuesIn(list_rooms()), room_name);

std::vector<unsigned char> save(const ControllerHandle& controller) {
  std::size_t size = 0;
  EXPECT_CTH(cth_controller_save(controller.get(), nullptr, &size));
  std::vector<unsigned char> bytes(size + 3, 0xEE);
  size = bytes.size();
  EXPECT_CTH(cth_controller_save(controller.get(), bytes.data(), &size));
  EXPECT_EQ(size, bytes.size() - 3);
  EXPECT_EQ(bytes[size], 0xEE);
  bytes.resize(size);
  return bytes;
}

TEST_P(CapiState, GoesOnWithTheSameBitsFromEveryPhase) {
  constexpr std::int32_t kFirst[] = {0};
  const std::vector<cth_target> targets = {target_of(kFirst, 20)};
  SmallNetwork whole(GetParam(), 21, CTH_STEP_MOMENTUM);
  whole.list().set_lambda({0.0f, 0.0005f});
  const ControllerHandle first = make_controller(whole.plan(), targets, steps_of(kTraining));
  std::vector<std::vector<std::vector<float>>> states;
  std::vector<std::vector<unsigned char>> saved;
  const std::int64_t interrupted[] = {0, 2, 30, 70, 78, 79, 80, 90, 100};
  std::int64_t done = 0;
  for (const std::int64_t at : interrupted) {
    whole.train(first.get(), done, at);
    done = at;
    states.push_back(whole.state());
    saved.push_back(save(first));
  }
  for (std::size_t i = 0; i < saved.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "after step " << interrupted[i]);
    SmallNetwork again(GetParam(), 21, CTH_STEP_MOMENTUM);
    const ControllerHandle second = make_controller(again.plan(), targets, steps_of(kTraining));
    again.restore(states[i]);
    ASSERT_CTH(cth_controller_load(second.get(), saved[i].data(), saved[i].size()));
    EXPECT_EQ(save(second), saved[i]);
    again.train(second.get(), interrupted[i], kTraining);
    const std::vector<std::vector<float>> end = again.state();
    for (std::size_t t = 0; t < end.size(); ++t) {
      expect_same_bits(end[t], states.back()[t], "array " + std::to_string(t));
    }
    EXPECT_EQ(again.list().lambda(2), whole.list().lambda(2));
    EXPECT_EQ(save(second), saved.back());
  }
}

/// The last eight bytes as FNV-1a of those before (isthe.com/chongo/tech/comp/fnv).
void sign_anew(std::vector<unsigned char>& bytes) {
  std::uint64_t hash = 14695981039346656037U;
  const std::size_t end = bytes.size() - 8;
  for (std::size_t i = 0; i < end; ++i) hash = (hash ^ bytes[i]) * 1099511628211U;
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[end + i] = static_cast<unsigned char>(hash >> (8 * i) & 0xFFU);
  }
}

const Room kOneRoom = {"tiled", "baseline", 1};

TEST(CapiStateErrors, DamagedBytesAreRefusedAtEveryPlace) {
  SmallNetwork network(kOneRoom, 22, CTH_STEP_SGD);
  const std::vector<cth_target> targets = {target_of(nullptr, 20)};
  const ControllerHandle controller = make_controller(network.plan(), targets, steps_of(kTraining));
  network.train(controller.get(), 0, 30);
  const std::vector<unsigned char> good = save(controller);
  const auto refused = [&](const std::vector<unsigned char>& bytes) {
    expect_refused(cth_controller_load(controller.get(), bytes.data(), bytes.size()),
                   CTH_INVALID_ARGUMENT, "cth_controller_load, bytes");
  };
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<unsigned char> bytes = good;
    bytes[i] ^= 0x10U;
    refused(bytes);
    bytes = good;
    bytes.resize(i);
    if (i > 0) refused(bytes);
  }
  // Numbers that cannot be, under a right checksum.
  std::vector<unsigned char> strange = good;
  strange[39] = 0x80;  // the sign of the updates
  sign_anew(strange);
  refused(strange);
  strange = good;
  strange[51] = 0x7F;  // λ of the first group
  strange[50] = 0xC0;
  sign_anew(strange);
  expect_refused(cth_controller_load(controller.get(), strange.data(), strange.size()),
                 CTH_INVALID_ARGUMENT, "cth_controller_load");
  std::vector<unsigned char> longer = good;
  longer.push_back(0);
  refused(longer);
  EXPECT_EQ(save(controller), good);  // nothing has changed
  expect_refused(cth_controller_load(controller.get(), nullptr, 10), CTH_INVALID_ARGUMENT, "bytes");
  std::size_t size = 10;
  std::vector<unsigned char> small(10);
  expect_refused(cth_controller_save(controller.get(), small.data(), &size), CTH_INVALID_ARGUMENT,
                 "cth_controller_save, size");
  EXPECT_EQ(size, 10U);
  expect_refused(cth_controller_save(controller.get(), small.data(), nullptr), CTH_INVALID_ARGUMENT,
                 ", size:");
}

TEST(CapiStateErrors, StatesOfOtherControllersAreRefused) {
  constexpr std::int32_t kEach[] = {0, 1};
  SmallNetwork network(kOneRoom, 23, CTH_STEP_SGD);
  std::vector<unsigned char> bytes;
  {
    const ControllerHandle controller =
        make_controller(network.plan(), {target_of(nullptr, 20)}, steps_of(kTraining));
    bytes = save(controller);
  }
  const auto refused = [&](const std::vector<cth_target>& targets, std::int64_t steps,
                           const std::string& text) {
    const ControllerHandle other = make_controller(network.plan(), targets, steps_of(steps));
    expect_refused(cth_controller_load(other.get(), bytes.data(), bytes.size()),
                   CTH_INVALID_ARGUMENT, text);
  };
  refused({target_of(kEach, 20), target_of(kEach + 1, 10)}, kTraining, "number of targets");
  refused({target_of(nullptr, 20)}, kTraining + 1, "number of steps");
  List other_groups(kOneRoom, {{{1.0f, 2.0f}, {0.0f, 0.0f}, 0, 0}});
  other_groups.make_plan();
  other_groups.set_rates({{0.5f, 0.0f, 0.0f}});
  const ControllerHandle other =
      make_controller(other_groups.plan(), {target_of(nullptr, 1)}, steps_of(kTraining));
  expect_refused(cth_controller_load(other.get(), bytes.data(), bytes.size()), CTH_INVALID_ARGUMENT,
                 "number of groups");
}

/// Whatever is refused: no controller, and the plan's λ as it was.
class CapiControllerErrors : public ::testing::Test {
 protected:
  CapiControllerErrors() : network_(kOneRoom, 24, CTH_STEP_SGD) {
    network_.list().set_lambda({0.25f, 0.5f});
  }
  void refused(const std::vector<cth_target>& targets, const std::string& text,
               cth_controller_options options = steps_of(kTraining),
               cth_status status = CTH_INVALID_ARGUMENT) {
    cth_controller* made = nullptr;
    expect_refused(
        cth_controller_create(network_.plan(), targets.data(), targets.size(), &options, &made),
        status, text);
    EXPECT_EQ(made, nullptr);
    EXPECT_EQ(network_.list().lambda(2), (std::vector<float>{0.25f, 0.5f}));
  }

  SmallNetwork network_;
};

TEST_F(CapiControllerErrors, Targets) {
  constexpr std::int32_t kOutside[] = {0, 2};
  constexpr std::int32_t kTwice[] = {1, 1};
  constexpr std::uint64_t kBound[] = {9, 9};
  const cth_target good = target_of(nullptr, 20);
  cth_target bad = good;
  bad.groups = kOutside;
  bad.group_count = 2;
  refused({bad}, "cth_controller_create, targets[0].groups[1]: must be a group of the plan");
  bad = target_of(kTwice, 10);
  bad.group_count = 2;
  refused({bad}, "already");
  bad.group_count = 0;
  refused({bad}, "targets[0].group_count");
  bad = good;
  bad.group_count = 1;
  refused({bad}, "targets[0].group_count");
  refused({good, good}, "already");
  refused({good, good, good}, "count");
  refused({}, "count");
  bad = good;
  bad.nonzeros = 113;
  refused({bad}, "targets[0].nonzeros: must be at most the number of its weights, 112 (got 113)");
  for (const double sparsity : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    bad = target_of(nullptr, 0);
    bad.sparsity = sparsity;
    refused({bad}, "targets[0].sparsity");
  }
  bad = good;
  bad.tolerance = -1.0;
  refused({bad}, "targets[0].tolerance");
  bad = good;
  bad.lambda = std::numeric_limits<float>::infinity();
  refused({bad}, "targets[0].lambda");
  bad = good;
  bad.total_weights = 100;
  refused({bad}, "targets[0].total_weights");
  bad.total_weights = 1000;
  refused({bad}, "targets[0].lambda: must be given with total_weights");
  bad.lambda = 1.0f;
  bad.least = kBound;
  refused({bad}, "bounds", steps_of(kTraining), CTH_UNSUPPORTED);
  bad = good;
  bad.least = kBound;
  refused({bad}, "targets[0].group_count: is the length of the bounds too");
  bad.group_count = 2;
  bad.most = kBound;
  refused({bad}, "cth_controller_create: set_control, target 0");  // 18 at most, 20 wanted
}

TEST_F(CapiControllerErrors, LambdaThatCannotBeFound) {
  const cth_target good = target_of(nullptr, 20);
  network_.list().set_rates({{0.0f, 0.0f, 0.0f}});
  refused({good}, "targets[0].lambda: cannot be found while the learning rates are 0");
  network_.list().set_rates({{0.1f, 0.0f, 0.0f}});
  network_.list().set(network_.list().weight(0), std::vector<float>(96, 0.0f));
  network_.list().set(network_.list().weight(2), std::vector<float>(16, 0.0f));
  refused({good},
          "targets[0].lambda: cannot be found from weights whose largest magnitude is "
          "(got 0)");
}

TEST_F(CapiControllerErrors, OptionsAndHandles) {
  const std::vector<cth_target> good = {target_of(nullptr, 20)};
  cth_controller_options o = steps_of(0);
  refused(good, "options->steps", o);
  refused(good, "options->steps", steps_of(1));
  o = steps_of(kTraining);
  o.ramp_end = 1.5;
  refused(good, "options->ramp_end", o);
  o = steps_of(kTraining);
  o.integral_gain = -1.0;
  refused(good, "options->integral_gain", o);
  o = steps_of(kTraining);
  o.update_every = -1;
  refused(good, "options->update_every", o);
  o = steps_of(kTraining);
  o.struct_size -= 8;
  refused(good, "options->struct_size", o);

  o = steps_of(kTraining);
  cth_controller* made = nullptr;
  cth_plan* const plan = network_.plan();
  const auto invalid = [](cth_status status, const std::string& text) {
    expect_refused(status, CTH_INVALID_ARGUMENT, text);
  };
  invalid(cth_controller_create(nullptr, good.data(), 1, &o, &made), ", plan:");
  invalid(cth_controller_create(plan, nullptr, 1, &o, &made), ", targets:");
  invalid(cth_controller_create(plan, good.data(), 1, nullptr, &made), ", options:");
  invalid(cth_controller_create(plan, good.data(), 1, &o, nullptr), ", controller:");
  const ControllerHandle controller = make_controller(plan, good, o);
  invalid(cth_controller_create(plan, good.data(), 1, &o, &made), "a controller already");
  cth_phase phase = CTH_PHASE_DONE;
  invalid(cth_controller_update(nullptr), "cth_controller_update, controller");
  invalid(cth_controller_phase(nullptr, &phase), "cth_controller_phase, controller");
  invalid(cth_controller_phase(controller.get(), nullptr), ", phase:");
  cth_target_report reports[2] = {};
  invalid(cth_controller_read(controller.get(), reports, 2), ", targets:");
  invalid(cth_controller_read(controller.get(), nullptr, 1), ", reports:");
  std::int64_t counts[2] = {};
  invalid(cth_controller_copy_counts(controller.get(), nullptr, 1), ", device_counts:");
  invalid(cth_controller_copy_counts(controller.get(), counts, 2), ", targets:");
  const auto* const odd =
      reinterpret_cast<const std::int64_t*>(reinterpret_cast<const char*>(counts) + 4);
  invalid(cth_controller_update_from(controller.get(), odd, 1), "device_counts");
  invalid(cth_controller_update_from(controller.get(), counts, 0), ", targets:");
}

}  // namespace
}  // namespace cuthresh::testing
