// Which values a network has after what was asked of its parameters, against copies that are made
// at once; and that memory is taken for what would else be lost, not before.

#include "nn/parameters.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cpu/cpu_backend.hpp"
#include "support/forwarding_backend.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using nn::Initialisation;
using nn::Parameters;
using nn::Role;

/// Knows how many bytes are allocated.
class CountingBackend final : public ForwardingBackend {
 public:
  CountingBackend() : ForwardingBackend(cpu::make_cpu_backend("reference", 1)) {}

  void* allocate(std::size_t bytes) override {
    void* const pointer = ForwardingBackend::allocate(bytes);
    sizes_[pointer] = bytes;
    return pointer;
  }
  void deallocate(void* pointer) noexcept override {
    sizes_.erase(pointer);
    ForwardingBackend::deallocate(pointer);
  }
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const auto& [pointer, size] : sizes_) sum += size;
    return sum;
  }

 private:
  std::map<void*, std::size_t> sizes_;
};

std::vector<nn::Parameter> some_parameters() {
  std::vector<nn::Parameter> list(4);
  list[0] = {"fc1.weight", "fc1", {7, 5}, 35, 5, 7, Role::kWeight};
  list[1] = {"fc1.bias", "fc1", {7}, 7, 5, 7, Role::kBias};
  list[2] = {"norm.weight", "norm", {7}, 7, 1, 1, Role::kNormScale};
  list[3] = {"norm.running_mean", "norm", {7}, 7, 1, 1, Role::kRunningMean};
  return list;
}

class ParameterCopies {
 public:
  explicit ParameterCopies(Random& random)
      : random_(random), parameters_(room_, some_parameters()) {
    parameters_.initialise(Initialisation::kHe, 3);
    initial_ = start_ = best_ = values_ = download();
    arena_ = static_cast<std::size_t>(parameters_.elements()) * sizeof(float);
  }

  void expect_values(const char* after) { EXPECT_EQ(download(), values_) << "after " << after; }
  std::size_t arenas() const { return room_.bytes() / arena_; }
  Parameters& parameters() { return parameters_; }

  void load() {
    train();
    parameters_.initialise_here();
    initial_ = best_ = values_;
    if (!starts_elsewhere_) start_ = initial_;
  }
  void restore_initial() {
    parameters_.restore_initial();
    values_ = initial_;
  }
  void restore_start() {
    parameters_.restore_start();
    values_ = start_;
  }
  void restore_best() {
    parameters_.restore_best();
    values_ = best_;
  }
  void start_from_here() {
    parameters_.start_from_here();
    starts_elsewhere_ = true;
    start_ = values_;
  }
  void start_from_initial() {
    parameters_.start_from_initial();
    starts_elsewhere_ = false;
    start_ = initial_;
  }
  /// A training: it begins with a restore.
  void train() {
    restore_start();
    write();
  }
  void write() {
    for (const nn::Parameter& p : parameters_.list()) {  // nobody writes what lies between
      for (std::int64_t i = p.offset; i < p.offset + p.numel; ++i) {
        values_[static_cast<std::size_t>(i)] = random_.uniform(-1.0f, 1.0f);
      }
    }
    room_.upload(parameters_.values(), values_.data(), arena_bytes());
  }
  void keep_as_best() {
    parameters_.keep_as_best();
    best_ = values_;
  }
  /// And goes on training.
  void copy_as_best() {
    parameters_.copy_as_best();
    best_ = values_;
    EXPECT_EQ(std::vector<float>(parameters_.best(), parameters_.best() + values_.size()), best_);
    write();
  }

 private:
  std::size_t arena_bytes() const { return values_.size() * sizeof(float); }
  std::vector<float> download() {
    std::vector<float> host(static_cast<std::size_t>(parameters_.elements()));
    room_.download(host.data(), parameters_.values(), host.size() * sizeof(float));
    return host;
  }

  Random& random_;
  CountingBackend room_;
  Parameters parameters_;
  std::size_t arena_ = 0;
  bool starts_elsewhere_ = false;
  std::vector<float> initial_, start_, best_, values_;
};

TEST(ParameterMemory, AnyOrderOfCallsHasTheValuesOfCopies) {
  Random random(811);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  using Call = void (ParameterCopies::*)();
  constexpr std::pair<const char*, Call> kCalls[] = {
      {"load", &ParameterCopies::load},
      {"restore_initial", &ParameterCopies::restore_initial},
      {"restore_start", &ParameterCopies::restore_start},
      {"restore_best", &ParameterCopies::restore_best},
      {"start_from_here", &ParameterCopies::start_from_here},
      {"start_from_initial", &ParameterCopies::start_from_initial},
      {"train", &ParameterCopies::train},
      {"keep_as_best", &ParameterCopies::keep_as_best},
      {"copy_as_best", &ParameterCopies::copy_as_best}};
  for (int run = 0; run < 40; ++run) {
    ParameterCopies copies(random);
    std::string calls = "initialise";
    for (int i = 0; i < 25 && !::testing::Test::HasFailure(); ++i) {
      const auto& [name, call] = kCalls[random.integer(0, std::size(kCalls) - 1)];
      (copies.*call)();
      calls += std::string(", ") + name;
      copies.expect_values(calls.c_str());
    }
  }
}

TEST(ParameterMemory, OneTrainingTakesValuesAndGradientsAlone) {
  Random random(812);
  ParameterCopies copies(random);
  copies.train();
  copies.keep_as_best();
  copies.restore_best();
  EXPECT_EQ(copies.arenas(), 2U);
  copies.train();  // another one, after a best
  EXPECT_EQ(copies.arenas(), 3U);
  copies.restore_best();
  copies.expect_values("a training that was not the best");
  copies.parameters().release_all_but_values();
  EXPECT_EQ(copies.arenas(), 1U);
  copies.expect_values("the rest was given back");
}

}  // namespace
}  // namespace cuthresh::testing
