// The command as somebody starts it: from its start to its end, and the most memory that it holds.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "bench/cases/cases.hpp"
#include "bench/cases/float64_network.hpp"
#include "bench/cases/lists.hpp"
#include "bench/cases/searches.hpp"
#include "bench/core/child.hpp"
#include "bench/core/temporary_folder.hpp"
#include "cuthresh/cuthresh.h"
#include "cuthresh/data.hpp"
#include "cuthresh/model_file.hpp"
#include "io/input_file.hpp"
#include "nn/gradient_plan.hpp"

namespace cuthresh::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kTargetMissed = 3;       // the command's exit status after one step
constexpr double kLossAllowed = 1e-5;  // of float32 sums, as a share
constexpr std::uint32_t kImageStream = 77;

std::string text_of(const fs::path& path) {
  return read_whole_file(path.string(), "output of the command");
}

/// What `cuthresh fit` is started on: a few steps from a fixed λ.
struct FitCase {
  FitConfig config;
  nn::NetworkSpec spec;
  std::int64_t batch = 0;       ///< rows of a step
  std::int64_t data_bytes = 0;  ///< of training and test rows as they are held
  std::int64_t images = 0;      ///< training images to be drawn; 0: the built-in series

  /// Weights, their gradients, activations with their gradients, data.
  std::int64_t floor_bytes() const {
    const nn::Graph graph = nn::build_graph(spec);
    std::int64_t parameters = 0;
    for (const nn::Parameter& p : graph.parameters) parameters += p.numel;
    const std::int64_t floats = 2 * parameters + batch * nn::floats_a_row(graph);
    return floats * static_cast<std::int64_t>(sizeof(float)) + data_bytes;
  }
};

FitCase series_case(const std::vector<std::int64_t>& widths) {
  FitCase c;
  c.config = single_search();
  c.config.model.widths = widths;
  c.spec = nn::MlpSpec{widths};
  c.batch = c.config.data.train_rows;
  c.data_bytes = 1385 * 7 * static_cast<std::int64_t>(sizeof(float));
  return c;
}

constexpr std::int64_t kTestImages = 64;

/// Two dense layers on as many images as MNIST has, drawn at random.
FitCase image_case(bool smoke) {
  FitCase c;
  c.config = single_search();
  c.config.model.widths.clear();
  c.config.model.kind = "layers";
  c.config.model.layers = {"dense 64 relu", "dense 10"};
  c.config.data = {};
  c.config.data.kind = "idx";
  c.config.data.mean = {0.5};
  c.config.data.std = {0.5};
  c.config.train.loss = "cross-entropy";
  c.config.train.batch = c.batch = 128;
  c.spec.input = {28, 28, 1};
  c.spec.layers = nn::parse_layers(c.config.model.layers);
  c.images = smoke ? 300 : 60'000;
  const std::int64_t label = sizeof(std::int32_t);
  c.data_bytes = (c.images + kTestImages) * (c.spec.input.elements() + label);
  return c;
}

/// An IDX file: magic number and extents, big endian, then the bytes.
void write_idx(const fs::path& path, const std::vector<std::int64_t>& extents,
               const std::vector<unsigned char>& bytes) {
  std::string out = {'\0', '\0', '\x08', static_cast<char>(extents.size())};
  for (const std::int64_t extent : extents) {
    for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(extent >> shift & 0xFF);
  }
  out.append(bytes.begin(), bytes.end());
  std::ofstream(path, std::ios::binary) << out;
}

/// Bytes in [0, below).
std::vector<unsigned char> drawn_bytes(std::int64_t size, float below, std::uint32_t stream) {
  std::vector<float> drawn(static_cast<std::size_t>(size));
  draw(0, drawn, 0.5f, stream);
  std::vector<unsigned char> bytes;
  for (const float x : drawn) {
    bytes.push_back(static_cast<unsigned char>(std::min(below * (x + 0.5f), below - 1.0f)));
  }
  return bytes;
}

/// Draws what is to be learned, and says what the test part's loss is by float64.
class FitData {
 public:
  FitData(const FitCase& c, const TemporaryFolder& folder) : graph_(nn::build_graph(c.spec)) {
    c.images > 0 ? draw_images(c, folder) : take_series(c);
  }

  double loss_of(const ModelFile& model) const {
    std::vector<std::vector<double>> parameters;
    for (const nn::Parameter& p : graph_.parameters) {
      const auto found = std::find_if(model.tensors.begin(), model.tensors.end(),
                                      [&](const NamedTensor& t) { return t.name == p.name; });
      if (found == model.tensors.end()) throw CheckFailed("the model has no " + p.name);
      parameters.emplace_back(found->values.begin(), found->values.end());
    }
    return Float64Network(graph_, 0.01f).loss(parameters, test_);
  }

 private:
  void take_series(const FitCase& c) {
    const Dataset all = make_mackey_glass(1385);
    test_.rows = all.rows - c.batch;
    test_.inputs.assign(all.inputs.begin() + c.batch * all.features, all.inputs.end());
    test_.targets.assign(all.targets.begin() + c.batch, all.targets.end());
  }
  void draw_images(const FitCase& c, const TemporaryFolder& folder) {
    const ImageShape& shape = c.spec.input;
    for (const bool test : {false, true}) {
      const std::string name = test ? "t10k" : "train";
      const std::int64_t rows = test ? kTestImages : c.images;
      const std::uint32_t stream = kImageStream + (test ? 2 : 0);
      const auto pixels = drawn_bytes(rows * shape.elements(), 256.0f, stream);
      const auto labels = drawn_bytes(rows, 10.0f, stream + 1);
      write_idx(folder / (name + "-images-idx3-ubyte"), {rows, shape.height, shape.width}, pixels);
      write_idx(folder / (name + "-labels-idx1-ubyte"), {rows}, labels);
      if (!test) continue;
      test_.rows = rows;
      for (const unsigned char pixel : pixels) test_.inputs.push_back(pixel / 127.5 - 1.0);
      test_.labels.assign(labels.begin(), labels.end());
    }
  }

  nn::Graph graph_;
  Float64Batch test_;
};

/// A call starts the command, which is looked at when it has ended.
class CommandWorkload : public Workload {
 public:
  explicit CommandWorkload(std::string command) : command_(std::move(command)) {}

 protected:
  ChildRun run(std::vector<std::string> arguments, Watch watch = Watch::kNothing) {
    arguments.insert(arguments.begin(), command_);
    return run_child(arguments, (folder_ / "output").string(), watch);
  }
  void require_status(const ChildRun& got, int wanted) const {
    if (got.status == wanted) return;
    throw CheckFailed(fmt::format("exit status {}, expected {}: {}", got.status, wanted, output()));
  }
  std::string output() const { return text_of(folder_ / "output"); }

  TemporaryFolder folder_;

 private:
  std::string command_;
};

class VersionWorkload final : public CommandWorkload {
 public:
  using CommandWorkload::CommandWorkload;

  std::string check() override {
    call(0);
    check_after(1);
    return "the version";
  }
  void call(std::int64_t /*set*/) override { last_ = run({"--version"}); }
  void check_after(std::int64_t /*calls*/) override {
    require_status(last_, 0);
    const std::string want = fmt::format("cuthresh {}\n", cth_version());
    if (output() != want) throw CheckFailed("printed " + output() + " and not " + want);
  }

 private:
  ChildRun last_;
};

/// The model of the Mackey-Glass example as the command describes it.
class InspectWorkload final : public CommandWorkload {
 public:
  explicit InspectWorkload(std::string command) : CommandWorkload(std::move(command)) {
    std::ofstream(folder_ / "fit.toml") << to_toml(single_search());
  }
  std::string check() override {
    call(0);
    check_after(1);
    return "the numbers of parameters";
  }
  void call(std::int64_t /*set*/) override {
    last_ = run({"inspect", (folder_ / "fit.toml").string()});
  }
  void check_after(std::int64_t /*calls*/) override {
    require_status(last_, 0);
    // 768 + 16384 + 8192 + 64 weights and 321 biases.
    for (const char* number : {"25,729", "25,408"}) {
      if (output().find(number) == std::string::npos) {
        throw CheckFailed(fmt::format("{} is not in what it printed: {}", number, output()));
      }
    }
  }

 private:
  ChildRun last_;
};

/// `cuthresh fit`, each call into a new folder.
class FitWorkload final : public CommandWorkload {
 public:
  FitWorkload(std::string command, FitCase c, std::int64_t threads, Watch watch)
      : CommandWorkload(std::move(command)), case_(std::move(c)), watch_(watch) {
    data_ = std::make_unique<FitData>(case_, folder_);
    FitConfig& config = case_.config;
    if (case_.images > 0) config.data.path = (folder_ / "").string();
    config.search.method = "fixed";
    config.search.lambda = {1e-4};
    config.train.steps = 1;
    config.run.device = "cpu";
    config.run.threads = threads;
    std::ofstream(folder_ / "fit.toml") << to_toml(config);
  }

  std::string check() override {
    call(0);
    check_after(1);
    if (watch_ == Watch::kMemory) idle_ = run({"inspect", config_path()}, watch_);
    return fmt::format("the test loss in float64, within {:.0e}; the count", kLossAllowed);
  }
  void reset() override {
    for (std::int64_t i = 0; i < runs_; ++i) fs::remove_all(run_folder(i));
    runs_ = 0;
  }
  void call(std::int64_t /*set*/) override {
    const std::string out = run_folder(runs_++).string();
    last_ = run({"fit", config_path(), "--quiet", "--out", out}, watch_);
  }

  void check_after(std::int64_t /*calls*/) override {
    require_status(last_, kTargetMissed);
    const fs::path folder = run_folder(runs_ - 1);
    const auto result = nlohmann::json::parse(text_of(folder / "result.json"));
    const ModelFile model = read_safetensors((folder / "model.safetensors").string());
    std::int64_t nonzero = 0;
    for (const NamedTensor& t : model.tensors) {
      if (!t.name.ends_with(".weight")) continue;
      nonzero += std::count_if(t.values.begin(), t.values.end(), [](float x) { return x != 0.0f; });
    }
    const auto steps = result.at("steps_total").get<std::int64_t>();
    const auto counted = result.at("nnz").get<std::int64_t>();
    const double loss = result.at("test_loss").get<double>();
    const double want = data_->loss_of(model);
    if (steps != 1 || counted != nonzero || !(std::abs(loss - want) <= kLossAllowed * want)) {
      throw CheckFailed(
          fmt::format("{} steps, {} nonzero weights of which {} are in the file, test loss {:.9g}, "
                      "in float64 {:.17g}",
                      steps, counted, nonzero, loss, want));
    }
  }

  std::map<std::string, double> more() override {
    if (watch_ == Watch::kNothing) return {};
    const auto floor = static_cast<double>(case_.floor_bytes());
    const auto peak = static_cast<double>(last_.peak_bytes);
    return {{"peak_bytes", peak},
            {"floor_bytes", floor},
            {"peak_over_floor", peak / floor},
            {"idle_bytes", static_cast<double>(idle_.peak_bytes)}};
  }

 private:
  std::string config_path() const { return (folder_ / "fit.toml").string(); }
  fs::path run_folder(std::int64_t i) const { return folder_ / fmt::format("run{}", i); }

  FitCase case_;
  Watch watch_;
  std::unique_ptr<FitData> data_;
  std::int64_t runs_ = 0;
  ChildRun last_;
  ChildRun idle_;
};

Case command_case(const std::string& name, const std::string& what, const std::string& command) {
  Case c;
  c.name = "command/" + name;
  c.what = what;
  c.waits = true;
  c.more_bytes = 64 << 20;
  c.lacks = [command](const Room& room) -> std::string {
    if (command.empty()) return "there is no cuthresh beside cuthresh-bench";
    const bool cpu = room.backend.description().starts_with("cpu");
    return cpu ? "" : "the command is run on the CPU: --device cpu";
  };
  return c;
}

Case memory_case(const std::string& name, const std::string& what, const FitCase& fit,
                 const std::string& command) {
  Case c = command_case("peak_memory/" + name,
                        what + ": the most memory over weights, gradients, activations and data",
                        command);
  c.max_calls = 1;
  c.max_samples = 1;
  c.more_bytes += 4 * fit.floor_bytes();
  c.make = [=](const Room& room, std::int64_t) {
    return std::make_unique<FitWorkload>(command, fit, room.threads, Watch::kMemory);
  };
  return c;
}

}  // namespace

std::vector<Case> command_cases(const Room& room, const std::string& command) {
  Case version = command_case("startup/version", "cuthresh --version", command);
  version.make = [=](const Room&, std::int64_t) {
    return std::make_unique<VersionWorkload>(command);
  };
  Case inspect =
      command_case("startup/inspect", "cuthresh inspect of the Mackey-Glass example", command);
  inspect.make = [=](const Room&, std::int64_t) {
    return std::make_unique<InspectWorkload>(command);
  };
  Case fit = command_case("startup/fit_one_step",
                          "cuthresh fit of one step of the Mackey-Glass example", command);
  const FitCase example = series_case(single_search().model.widths);
  fit.make = [=](const Room& where, std::int64_t) {
    return std::make_unique<FitWorkload>(command, example, where.threads, Watch::kNothing);
  };
  const std::int64_t wide = room.smoke ? 64 : 1536;
  return {version, inspect, fit,
          memory_case("dense_wide", "a step of three wide dense layers, all 1000 rows at once",
                      series_case({6, wide, wide, wide, 1}), command),
          memory_case("images", "a step of two dense layers on 60,000 images",
                      image_case(room.smoke), command)};
}

std::vector<Case> command_cases(const Room& room) {
  return command_cases(room, beside_this_program("cuthresh"));
}

}  // namespace cuthresh::bench
