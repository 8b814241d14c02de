// Random sequences of calls with fixed seeds, right and wrong ones mixed: every answer is a status
// with a message, and nothing reads or writes where it must not (AddressSanitizer).

#include <array>
#include <functional>
#include <limits>

#include "capi/support.hpp"

namespace cuthresh::testing {
namespace {

class CapiFuzz : public ::testing::TestWithParam<Room> {};
INSTANTIATE_TEST_SUITE_P(Rooms, CapiFuzz, ::testing::ValuesIn([] {
                           std::vector<Room> rooms = list_rooms();
                           std::erase_if(rooms, [](const Room& room) {
                             return room.engine != "cuda" &&
                                    (room.isa != "baseline" || room.threads != 3);
                           });
                           return rooms;
                         }()),
                         room_name);

/// A plan and a controller that come and go over one list, and calls with arguments that are odd
/// one time in four.
class Fuzzer {
 public:
  Fuzzer(const Room& room, std::uint32_t seed) : random_(seed), list_(room, entries(random_)) {}

  void call() {
    static constexpr std::array<void (Fuzzer::*)(), 12> kCalls = {
        &Fuzzer::make_plan,     &Fuzzer::make_controller,
        &Fuzzer::set_rates,     &Fuzzer::set_lambda,
        &Fuzzer::set_gradients, &Fuzzer::step,
        &Fuzzer::step,          &Fuzzer::step,
        &Fuzzer::read,          &Fuzzer::reduce,
        &Fuzzer::state,         &Fuzzer::forget};
    const auto which = static_cast<std::size_t>(random_.integer(0, std::size(kCalls) - 1));
    (this->*kCalls[which])();
  }
  int successes() const { return successes_; }
  int refusals() const { return refusals_; }

 private:
  static std::vector<Entry> entries(Random& random) {
    std::vector<Entry> all;
    for (const std::size_t n : {90U, 0U, 7U, 300U}) {
      all.push_back({random.vector(n, -1.0f, 1.0f), random.vector(n, -1.0f, 1.0f),
                     static_cast<std::int32_t>(random.integer(-1, 2)),
                     static_cast<std::int32_t>(random.integer(0, 1))});
    }
    return all;
  }

  bool odd() { return random_.integer(0, 3) == 0; }
  /// Mostly right, else one too many or few, or none.
  std::size_t count(std::size_t right) {
    return odd() ? right + static_cast<std::size_t>(random_.integer(0, 2)) - (right > 0 ? 1 : 0)
                 : right;
  }
  template <class T>
  T* maybe(T* pointer) {
    return random_.integer(0, 9) == 0 ? nullptr : pointer;
  }
  float number() {
    constexpr float kOdd[] = {-1.0f, std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(), 1e30f,
                              std::numeric_limits<float>::denorm_min()};
    return odd() ? kOdd[random_.integer(0, 4)] : random_.uniform(0.0f, 0.2f);
  }
  void done(cth_status status) {
    ++(status == CTH_OK ? successes_ : refusals_);
    if (status == CTH_OK) return;
    EXPECT_NE(std::string(cth_last_error()), "");
    EXPECT_TRUE(status == CTH_INVALID_ARGUMENT || status == CTH_UNSUPPORTED)
        << cth_status_name(status) << ": " << cth_last_error();
  }
  std::size_t groups() {
    std::size_t n = 0;
    if (plan_ != nullptr) (void)cth_plan_extents(plan_.get(), &n, nullptr);
    return n;
  }

  void make_plan() {
    std::vector<cth_plan_tensor> tensors = list_.entries();
    cth_plan_options options = CTH_PLAN_OPTIONS_INIT;
    options.kind = static_cast<std::int32_t>(random_.integer(0, 4));
    if (odd()) options.groups = static_cast<std::int32_t>(random_.integer(-1, 5));
    cth_plan_tensor& spoilt = tensors[static_cast<std::size_t>(random_.integer(0, 3))];
    if (odd()) spoilt.gradient.data = nullptr;
    if (odd()) spoilt.group = static_cast<std::int32_t>(random_.integer(-2, 4));
    if (random_.integer(0, 9) == 0) spoilt.weight = tensors[0].weight;
    if (random_.integer(0, 9) == 0) spoilt.momentum.size -= 1;
    cth_plan* made = nullptr;
    const cth_status status =
        cth_plan_create(list_.context(), tensors.data(), tensors.size(), maybe(&options), &made);
    done(status);
    if (status == CTH_OK) plan_.reset(made);  // a controller of the old one lives on
  }
  void make_controller() {
    const std::int32_t named[] = {0, 1, 2};
    cth_target targets[2] = {};
    for (cth_target& target : targets) {
      const std::int64_t first = random_.integer(0, 2);
      target.groups = maybe(named + first);
      target.group_count =
          target.groups == nullptr ? 0 : static_cast<std::size_t>(random_.integer(1, 3 - first));
      target.nonzeros = static_cast<std::uint64_t>(random_.integer(0, 100));
      target.sparsity = static_cast<double>(number());
      target.lambda = number();
      if (random_.integer(0, 9) == 0) target.total_weights = 1000;
    }
    cth_controller_options options = CTH_CONTROLLER_OPTIONS_INIT;
    options.steps = random_.integer(-1, 60);
    options.update_every = random_.integer(-1, 3);
    cth_controller* made = nullptr;
    const auto n = static_cast<std::size_t>(random_.integer(1, 2));
    const cth_status status =
        cth_controller_create(plan_.get(), targets, n, maybe(&options), &made);
    done(status);
    if (status != CTH_OK) return;
    controller_.reset(made);
    targets_ = n;
  }
  void set_rates() {
    const cth_rate rates[] = {{number(), number(), number()},
                              {number(), number(), number()},
                              {number(), number(), number()}};
    std::size_t right = 0;
    if (plan_ != nullptr) (void)cth_plan_extents(plan_.get(), nullptr, &right);
    done(cth_plan_set_rates(plan_.get(), maybe(rates), count(right)));
  }
  void set_lambda() {
    std::vector<float> lambda(groups() + 2);
    for (float& value : lambda) value = number();
    done(cth_plan_set_lambda(plan_.get(), maybe(lambda.data()), count(groups())));
  }
  void set_gradients() {
    std::vector<const void*> gradients;
    for (const cth_plan_tensor& entry : list_.entries()) gradients.push_back(entry.gradient.data);
    if (odd()) gradients[0] = nullptr;
    if (random_.integer(0, 9) == 0) gradients[3] = static_cast<const char*>(gradients[3]) + 1;
    gradients.resize(6);
    done(cth_plan_set_gradients(plan_.get(), maybe(gradients.data()), count(4)));
  }
  void step() {
    done(cth_prox_step(plan_.get()));
    done(cth_controller_update(controller_.get()));
  }
  void read() {
    std::vector<std::uint64_t> counts(groups() + 2);
    std::vector<float> lambda(groups() + 2);
    cth_step_status status{};
    cth_phase phase{};
    cth_target_report reports[4] = {};
    done(cth_plan_read_counts(plan_.get(), maybe(counts.data()), count(groups())));
    done(cth_plan_read_lambda(plan_.get(), lambda.data(), count(groups())));
    done(cth_plan_read_status(plan_.get(), maybe(&status)));
    done(cth_controller_phase(controller_.get(), maybe(&phase)));
    done(cth_controller_read(controller_.get(), reports, count(targets_)));
  }
  void reduce() {
    std::vector<std::uint64_t> counts(groups() + 2);
    std::vector<cth_median> medians(groups() + 2);
    std::vector<cth_bracket> brackets(groups() + 2);
    std::vector<cth_kkt> residuals(groups() + 2);
    for (cth_bracket& bracket : brackets) bracket = {number(), number() + 1.0f};
    const cth_operand operand = odd() ? CTH_OF_GRADIENTS : CTH_OF_WEIGHTS;
    float magnitude = 0.0f;
    done(cth_count_nonzero(plan_.get(), counts.data(), count(groups())));
    done(
        cth_bracket_median(plan_.get(), operand, brackets.data(), medians.data(), count(groups())));
    done(cth_kth_magnitude(plan_.get(), operand, random_.integer(-1, 400), maybe(&magnitude)));
    done(cth_kkt_residual(plan_.get(), residuals.data(), count(groups())));
  }
  void state() {
    std::size_t size = 0;
    done(cth_controller_save(controller_.get(), nullptr, maybe(&size)));
    std::vector<unsigned char> bytes(size);
    size = count(size);
    if (size <= bytes.size()) {
      done(cth_controller_save(controller_.get(), bytes.data(), &size));
    }
    if (odd() && !bytes.empty()) {
      bytes[static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(size) - 1)) %
            bytes.size()] ^= 1U;
    }
    done(cth_controller_load(controller_.get(), bytes.data(), bytes.size()));
  }
  void forget() {
    switch (random_.integer(0, 5)) {
      case 0:
        controller_.reset();
        break;
      case 1:
        plan_.reset();
        break;
      case 2:
        done(cth_plan_restart(plan_.get()));
        break;
      default:
        done(cth_context_synchronize(list_.context()));
    }
  }

  Random random_;
  List list_;
  PlanHandle plan_;
  ControllerHandle controller_;
  std::size_t targets_ = 0;
  int successes_ = 0;
  int refusals_ = 0;
};

TEST_P(CapiFuzz, EverySequenceOfCallsIsAnswered) {
  int successes = 0;
  int refusals = 0;
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Fuzzer fuzzer(GetParam(), seed);
    for (int i = 0; i < 60; ++i) fuzzer.call();
    successes += fuzzer.successes();
    refusals += fuzzer.refusals();
  }
  EXPECT_GT(successes, 1500);  // neither kind is rare
  EXPECT_GT(refusals, 500);
}

}  // namespace
}  // namespace cuthresh::testing
