// The controller of the C ABI in every room: a training loop of the user's ends with exactly the
// number of nonzeros that was asked for.

#include <limits>

#include "capi/small_network.hpp"
#include "search/schedule.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::int64_t kSteps = 120;
constexpr std::int32_t kFirst[] = {0};
constexpr std::int32_t kSecond[] = {1};

class CapiController : public ::testing::TestWithParam<Room> {};
INSTANTIATE_TEST_SUITE_P(Rooms, CapiController, ::testing::ValuesIn(list_rooms()), room_name);

TEST_P(CapiController, EndsWithExactlyOneTargetOverAllAndSaysWhereItStands) {
  SmallNetwork network(GetParam(), 5, CTH_STEP_MOMENTUM);
  cth_target target = target_of(nullptr, 0);
  target.sparsity = 0.75;
  target.tolerance = 0.0;
  const ControllerHandle controller = make_controller(network.plan(), {target}, steps_of(kSteps));
  const search::RunSchedule schedule = search::make_run_schedule(kSteps, {});
  for (std::int64_t i = 0; i < kSteps; ++i) {
    EXPECT_EQ(static_cast<int>(phase_of(controller)), static_cast<int>(schedule.phase(i)));
    network.train(controller.get(), i, i + 1);
    const cth_target_report report = read_reports(controller, 1)[0];
    EXPECT_EQ(report.weights, SmallNetwork::kWeights);
    EXPECT_EQ(report.target, 28U);
    EXPECT_EQ(report.nonzeros, nonzeros_of(network.list().weight(0).to_host()) +
                                   nonzeros_of(network.list().weight(2).to_host()));
    EXPECT_EQ(report.met, report.nonzeros == 28 ? 1 : 0);
    if (i + 1 < schedule.rule.ramp_begin) {
      EXPECT_EQ(report.lambda, 0.0f);
    }
    if (i >= schedule.finish_at) {
      EXPECT_EQ(report.nonzeros, 28U) << "step " << i;
    }
  }
  EXPECT_EQ(phase_of(controller), CTH_PHASE_DONE);
  network.train(controller.get(), kSteps, kSteps + 3);  // as in the debias
  EXPECT_EQ(read_reports(controller, 1)[0].nonzeros, 28U);
  EXPECT_EQ(network.list().status().steps, kSteps + 3);
}

TEST_P(CapiController, EndsWithExactlyEachTargetAndLeavesOtherGroupsAlone) {
  SmallNetwork network(GetParam(), 6, CTH_STEP_SGD);
  network.list().set_lambda({0.0f, 0.001f});
  std::vector<cth_target> targets = {target_of(kFirst, 19)};
  {
    const ControllerHandle controller = make_controller(network.plan(), targets, steps_of(kSteps));
    EXPECT_EQ(network.list().lambda(2), (std::vector<float>{0.0f, 0.001f}));
    network.train(controller.get(), 0, 40);
    EXPECT_EQ(network.list().lambda(2)[1], 0.001f);
    EXPECT_GT(network.list().lambda(2)[0], 0.0f);
  }
  // The controller is gone: λ is what it was, steps are plain ones.
  EXPECT_GT(network.list().lambda(2)[0], 0.0f);
  EXPECT_EQ(network.list().status().steps, 0);
  {
    // Nor does one of another group change it.
    const float kept = network.list().lambda(2)[0];
    const ControllerHandle other =
        make_controller(network.plan(), {target_of(kSecond, 4)}, steps_of(kSteps));
    EXPECT_EQ(network.list().lambda(2), (std::vector<float>{kept, 0.0f}));
  }
  targets.push_back(target_of(kSecond, 16));  // all of them
  const ControllerHandle controller = make_controller(network.plan(), targets, steps_of(kSteps));
  network.train(controller.get(), 0, kSteps);
  const std::vector<cth_target_report> reports = read_reports(controller, 2);
  EXPECT_EQ(reports[0].nonzeros, 19U);
  EXPECT_EQ(reports[0].met, 1);
  EXPECT_EQ(reports[0].weights, 96U);
  EXPECT_EQ(reports[1].nonzeros, 16U);
  EXPECT_EQ(reports[1].lambda, 0.0f);
  EXPECT_EQ(network.list().counts(2), (std::vector<std::uint64_t>{19, 16}));
}

TEST_P(CapiController, KeepsEachGroupWithinItsBounds) {
  SmallNetwork network(GetParam(), 7, CTH_STEP_SGD);
  cth_target target = target_of(nullptr, 20);
  const std::uint64_t least[] = {5, 9};
  const std::uint64_t most[] = {96, 10};
  target.group_count = 2;
  target.least = least;
  target.most = most;
  const ControllerHandle controller = make_controller(network.plan(), {target}, steps_of(kSteps));
  network.train(controller.get(), 0, kSteps);
  const std::vector<std::uint64_t> counts = network.list().counts(2);
  EXPECT_EQ(counts[0] + counts[1], 20U);
  EXPECT_GE(counts[1], 9U);
  EXPECT_LE(counts[1], 10U);
}

/// The same training by calls of the room alone, as Trainer::run_controlled makes them.
TEST_P(CapiController, IsTheRunOfTheSearchByOneTraining) {
  SmallNetwork by_api(GetParam(), 8, CTH_STEP_NESTEROV);
  SmallNetwork by_room(GetParam(), 8, CTH_STEP_NESTEROV);
  cth_target target = target_of(nullptr, 30);
  target.lambda = 0.01f;
  cth_controller_options options = steps_of(kSteps);
  options.update_every = 3;
  options.debias = 0.1;
  const ControllerHandle controller = make_controller(by_api.plan(), {target}, options);
  by_api.train(controller.get(), 0, kSteps);

  search::RunShares shares;
  shares.debias = 0.1;
  const search::RunSchedule schedule = search::make_run_schedule(kSteps, shares, 3);
  Backend& room = by_room.list().backend();
  ProxPlan& plan = *by_room.plan()->state->room_plan;
  const ControlTarget of_room{{0, 1}, 30, 0.01f, {}, {}, 0};
  room.set_stop(plan, {});
  room.set_control(plan, schedule.rule, {&of_room, 1});
  for (std::int64_t i = 0; i < kSteps; ++i) {
    if (i == schedule.debias_at) room.freeze(plan);
    by_room.set_gradients();
    if (schedule.phase(i) == search::RunPhase::kFinish) {
      room.keep_targets(plan);
    } else {
      room.prox_step(plan);
    }
    if (schedule.updates_after(i)) room.control(plan);
  }
  const std::vector<std::vector<float>> got = by_api.state();
  const std::vector<std::vector<float>> want = by_room.state();
  for (std::size_t t = 0; t < got.size(); ++t) {
    expect_same_bits(got[t], want[t], "array " + std::to_string(t));
  }
}

TEST_P(CapiController, BeginsWhereTheWantedNumberWouldBeLeft) {
  // α·λ·(steps of the ramp) is the magnitude of the 10th largest weight: with gradients of 0 and λ
  // held where it begins, nine weights are left after the ramp, the tenth being at 0.
  Random random(12);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  List list(GetParam(), {{random.vector(64, -1.0f, 1.0f), std::vector<float>(64), 0, 0}});
  const std::vector<float> w = list.weight(0).to_host();
  list.make_plan();
  list.set_rates({{0.25f, 0.0f, 0.0f}});
  cth_controller_options options = steps_of(100);
  options.ramp_begin = 0.0;
  options.integral_gain = 0.0;
  options.proportional_gain = 0.0;
  const ControllerHandle controller =
      make_controller(list.plan(), {target_of(nullptr, 10)}, options);
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_CTH(cth_controller_update(controller.get()));
  std::vector<float> magnitudes;
  for (const float x : w) magnitudes.push_back(std::fabs(x));
  std::sort(magnitudes.rbegin(), magnitudes.rend());
  const float lambda = list.lambda(1)[0];
  EXPECT_NEAR(lambda * 0.25f * 60.0f, magnitudes[9], 1e-5f);
}

TEST_P(CapiController, CountsTiesAndLeavesTheFirst) {
  std::vector<float> w(200, 0.5f);
  w[3] = 0.0f;
  w[150] = -1.0f;
  List list(GetParam(), {{w, std::vector<float>(200), 0, 0}, {w, std::vector<float>(200), 0, 0}});
  list.make_plan(CTH_STEP_THRESHOLD);
  list.set_rates({{0.0f, 0.0f, 0.0f}});
  cth_target target = target_of(nullptr, 100);
  target.lambda = 1.0f;
  const ControllerHandle controller = make_controller(list.plan(), {target}, steps_of(10));
  for (int i = 0; i < 10; ++i) {
    ASSERT_CTH(cth_prox_step(list.plan()));
    ASSERT_CTH(cth_controller_update(controller.get()));
  }
  EXPECT_EQ(list.counts(1)[0], 100U);
  // Both −1 are larger; of the 0.5 the first 98 in the list's order stay.
  std::vector<float> first(200, 0.0f);
  for (std::size_t i = 0; i < 99; ++i) first[i] = i == 3 ? 0.0f : 0.5f;
  first[150] = -1.0f;
  std::vector<float> second(200, 0.0f);
  second[150] = -1.0f;
  expect_same_bits(list.weight(0).to_host(), first, "first");
  expect_same_bits(list.weight(1).to_host(), second, "second");
}

TEST_P(CapiController, FrozenZerosStayWhateverMomentumAnotherOptimizerHas) {
  SmallNetwork network(GetParam(), 9, CTH_STEP_THRESHOLD);
  const ControllerHandle controller =
      make_controller(network.plan(), {target_of(nullptr, 12)}, steps_of(kSteps));
  std::vector<std::vector<float>> at_freeze;
  for (std::int64_t i = 0; i < kSteps; ++i) {
    // The other optimizer: every weight moves, zeros too.
    for (const std::size_t t : {std::size_t{0}, std::size_t{2}}) {
      std::vector<float> w = network.list().weight(t).to_host();
      for (float& x : w) x += 0.001f;
      network.list().set(network.list().weight(t), w);
    }
    ASSERT_CTH(cth_prox_step(network.plan()));
    ASSERT_CTH(cth_controller_update(controller.get()));
    if (phase_of(controller) < CTH_PHASE_DEBIAS) continue;
    const std::vector<std::vector<float>> now = network.state();
    if (at_freeze.empty()) at_freeze = now;
    for (const std::size_t t : {std::size_t{0}, std::size_t{2}}) {
      for (std::size_t e = 0; e < now[t].size(); ++e) {
        EXPECT_EQ(now[t][e] == 0.0f, at_freeze[t][e] == 0.0f);
      }
    }
  }
  EXPECT_EQ(read_reports(controller, 1)[0].nonzeros, 12U);
}

TEST_P(CapiController, StopsAtWhatIsNotFinite) {
  SmallNetwork network(GetParam(), 10, CTH_STEP_SGD);
  const ControllerHandle controller =
      make_controller(network.plan(), {target_of(nullptr, 12)}, steps_of(kSteps));
  network.train(controller.get(), 0, 50);
  std::vector<float> g(16, 0.0f);
  g[3] = std::numeric_limits<float>::infinity();
  network.list().set(network.list().gradient(2), g);
  for (int i = 50; i < kSteps; ++i) {
    EXPECT_CTH(cth_prox_step(network.plan()));
    EXPECT_CTH(cth_controller_update(controller.get()));
  }
  const cth_step_status status = network.list().status();
  EXPECT_EQ(status.stopped, 1);
  EXPECT_EQ(status.nonfinite, 1U);
  EXPECT_EQ(status.steps, 51);
}

TEST_P(CapiController, RestartBeginsThePhasesAgain) {
  SmallNetwork network(GetParam(), 11, CTH_STEP_MOMENTUM);
  const std::vector<std::vector<float>> initial = network.state();
  const ControllerHandle controller =
      make_controller(network.plan(), {target_of(nullptr, 25)}, steps_of(kSteps));
  network.train(controller.get(), 0, kSteps);
  const std::vector<std::vector<float>> once = network.state();
  network.restore(initial);
  ASSERT_CTH(cth_plan_restart(network.plan()));
  EXPECT_EQ(phase_of(controller), CTH_PHASE_DENSE);
  EXPECT_EQ(network.list().lambda(2), (std::vector<float>{0.0f, 0.0f}));
  network.train(controller.get(), 0, kSteps);
  const std::vector<std::vector<float>> twice = network.state();
  for (std::size_t t = 0; t < once.size(); ++t) {
    expect_same_bits(twice[t], once[t], "array " + std::to_string(t));
  }
}

TEST_P(CapiController, CountsOfSeveralProcessesActAsThoseOfOne) {
  // Two lists, each with half of the weights, and one with all: with the counts added up, λ of the
  // halves is that of the whole, and so are the weights until the finish.
  Random random(13);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<float> w = random.vector(400, -1.0f, 1.0f);
  const std::vector<float> zeros(200, 0.0f);
  const std::vector<float> halves[] = {{w.begin(), w.begin() + 200}, {w.begin() + 200, w.end()}};
  List whole(GetParam(), {{halves[0], zeros, 0, 0}, {halves[1], zeros, 0, 0}});
  List left(GetParam(), {{halves[0], zeros, 0, 0}});
  List right(GetParam(), {{halves[1], zeros, 0, 0}});
  cth_target target = target_of(nullptr, 80);
  target.lambda = 0.05f;
  cth_target part = target;
  part.total_weights = 400;
  std::vector<ControllerHandle> controllers;
  for (List* list : {&whole, &left, &right}) {
    list->make_plan();
    list->set_rates({{0.25f, 0.0f, 0.0f}});
    controllers.push_back(
        make_controller(list->plan(), {list == &whole ? target : part}, steps_of(100)));
  }
  expect_refused(cth_controller_update(controllers[1].get()), CTH_INVALID_ARGUMENT,
                 "cth_controller_update_from");
  Array<std::int64_t> counts(left.backend(), 1);
  Array<std::int64_t> more(right.backend(), 1);
  while (phase_of(controllers[0]) < CTH_PHASE_FINISH) {
    for (const List* list : {&whole, &left, &right}) ASSERT_CTH(cth_prox_step(list->plan()));
    ASSERT_CTH(cth_controller_update(controllers[0].get()));
    ASSERT_CTH(cth_controller_copy_counts(controllers[1].get(), counts.data(), 1));
    ASSERT_CTH(cth_controller_copy_counts(controllers[2].get(), more.data(), 1));
    const std::int64_t sum = counts.to_host()[0] + more.to_host()[0];
    left.backend().upload(counts.data(), &sum, sizeof sum);
    right.backend().upload(more.data(), &sum, sizeof sum);
    ASSERT_CTH(cth_controller_update_from(controllers[1].get(), counts.data(), 1));
    ASSERT_CTH(cth_controller_update_from(controllers[2].get(), more.data(), 1));
    ASSERT_EQ(left.lambda(1), whole.lambda(1));
    ASSERT_EQ(right.lambda(1), whole.lambda(1));
  }
  expect_same_bits(left.weight(0).to_host(), whole.weight(0).to_host(), "left");
  expect_same_bits(right.weight(0).to_host(), whole.weight(1).to_host(), "right");
  EXPECT_GT(whole.lambda(1)[0], 0.0f);
  const std::uint64_t before = nonzeros_of(left.weight(0).to_host());
  left.set_lambda({0.0f});
  ASSERT_CTH(cth_prox_step(left.plan()));  // in the finish, which leaves the cut to the caller
  EXPECT_EQ(nonzeros_of(left.weight(0).to_host()), before);
  const cth_target_report report = read_reports(controllers[1], 1)[0];
  EXPECT_EQ(report.weights, 400U);
  EXPECT_EQ(report.nonzeros, before);
  EXPECT_EQ(report.met, 0);
}

}  // namespace
}  // namespace cuthresh::testing
