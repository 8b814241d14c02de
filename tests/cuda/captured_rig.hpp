#pragma once

// Trainings in the interpreted CUDA room, to be taken plainly and as graphs: what they leave.

#include <bit>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cuda/room.hpp"
#include "nn/layer_spec.hpp"
#include "train/trainer.hpp"

namespace cuthresh::testing {

struct TrainingCase {
  nn::NetworkSpec network;
  DataSplit data;
  train::TrainerSettings settings;
  std::int64_t max_rows = 0;  ///< 0: as many as the trainer wants
  std::int64_t steps = 40;
  float lambda = 0.02f;
  StopRule rule = {};
  std::optional<search::RunSchedule> schedule = {};  ///< a controlled run
  std::uint64_t target = 0;                          ///< of that
};

/// What one look after a step showed.
struct Seen {
  std::int64_t step = 0;
  std::vector<std::uint64_t> nnz;
  std::optional<double> loss;
  std::optional<double> test_loss;
  friend bool operator==(const Seen&, const Seen&) = default;
};

struct Outcome {
  StepStatus status;
  std::vector<std::uint32_t> weights;  ///< bits, running statistics among them
  std::vector<float> lambda;
  std::vector<Seen> seen;
  std::string execution;
};

class TrainingRig {
 public:
  TrainingRig(const TrainingCase& given, train::Execution execution)
      : case_(given),
        network_(*room_.backend, given.network,
                 given.max_rows > 0 ? given.max_rows
                                    : train::Trainer::rows_needed(given.data.train.rows,
                                                                  given.settings.batch, 1000)),
        trainer_(*room_.backend, network_, given.data, with(given.settings, execution),
                 groups(network_)) {
    network_.parameters().initialise(nn::Initialisation::kPytorch, 9);
  }

  Outcome run(const train::Trainer::Ask& ask = {}) {
    Outcome outcome;
    const auto watch = [&](std::int64_t step, const StepStatus& status,
                           const train::Sample& sample) {
      outcome.seen.push_back({step, status.nnz, sample.loss, std::nullopt});
      if (sample.test) outcome.seen.back().test_loss = sample.test->loss;
    };
    if (case_.schedule) {
      std::vector<std::int32_t> all;
      for (std::int32_t g = 0; g < count_; ++g) all.push_back(g);
      const train::ControlledRun controlled{*case_.schedule, {{all, case_.target, 0.05f}}};
      outcome.status = trainer_.run_controlled(controlled, watch, ask, [] {});
    } else {
      const std::vector<float> lambda(static_cast<std::size_t>(count_), case_.lambda);
      outcome.status = trainer_.run(lambda, case_.rule, case_.steps, watch, ask);
    }
    outcome.lambda = trainer_.lambda();
    nn::Parameters& p = network_.parameters();
    for (std::size_t i = 0; i < p.list().size(); ++i) {
      std::vector<float> w(static_cast<std::size_t>(p.list()[i].numel));
      backend().download(w.data(), p.value(i), w.size() * sizeof(float));
      for (const float v : w) outcome.weights.push_back(std::bit_cast<std::uint32_t>(v));
    }
    outcome.execution = trainer_.execution();
    return outcome;
  }

  Backend& backend() { return *room_.backend; }
  train::Trainer& trainer() { return trainer_; }

 private:
  static train::TrainerSettings with(train::TrainerSettings settings, train::Execution execution) {
    settings.execution = execution;
    return settings;
  }
  std::vector<std::int32_t> groups(const nn::Network& network) {
    std::vector<std::int32_t> all;
    for (const nn::Parameter& p : network.parameters().list()) {
      all.push_back(p.role == nn::Role::kWeight ? count_++ : -1);
    }
    return all;
  }

  CudaRoom room_;
  TrainingCase case_;
  std::int32_t count_ = 0;
  nn::Network network_;
  train::Trainer trainer_;
};

inline nn::NetworkSpec layers(const ImageShape& input, const std::vector<std::string>& lines) {
  return {input, nn::parse_layers(lines), 0.01f};
}

/// Numbers, or classes 0 and 1.
inline DataSplit number_data(Random& random, std::int64_t train, std::int64_t test, bool classes) {
  const auto part = [&](std::int64_t rows) {
    Dataset data;
    data.rows = rows;
    data.features = 3;
    data.outputs = classes ? 1 : 2;
    data.inputs = random.vector(static_cast<std::size_t>(rows * 3), -1.0f, 1.0f);
    data.targets = random.vector(static_cast<std::size_t>(rows * data.outputs), -1.0f, 1.0f);
    if (classes) {
      for (float& t : data.targets) t = t > 0.0f ? 1.0f : 0.0f;
    }
    return data;
  };
  DataSplit split;
  split.train = part(train);
  split.test = part(test);
  return split;
}

/// Images of 4 x 4 pixels and one channel, of classes 0 to 2.
inline DataSplit picture_data(Random& random, std::int64_t train, std::int64_t test) {
  const auto part = [&](std::int64_t rows) {
    Dataset data;
    data.rows = rows;
    data.height = data.width = 4;
    data.channels = 1;
    data.features = 16;
    data.outputs = 1;
    data.mean = {0.5};
    data.std = {0.25};
    for (std::int64_t i = 0; i < rows * 16; ++i) {
      data.pixels.push_back(static_cast<std::uint8_t>(random.integer(0, 255)));
    }
    for (std::int64_t i = 0; i < rows; ++i) data.targets.push_back(static_cast<float>(i % 3));
    return data;
  };
  DataSplit split;
  split.train = part(train);
  split.test = part(test);
  return split;
}

}  // namespace cuthresh::testing
