#include "train/checkpoint.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include "config/keys.hpp"
#include "core/fingerprint.hpp"
#include "cuthresh/error.hpp"
#include "cuthresh/model_file.hpp"

namespace cuthresh::train {
namespace {

using Metadata = std::map<std::string, std::string>;

constexpr const char* kKind = "cuthresh_checkpoint";
constexpr const char* kBeginAnew =
    "begin anew with --fresh (run.resume = false), or remove the file";

[[noreturn]] void refuse_checkpoint(const std::string& path, std::string what, std::string value) {
  throw InputError({path, std::move(what), std::move(value), kBeginAnew});
}

template <class T>
std::uint64_t fingerprint_of(const std::vector<T>& values, std::uint64_t before) {
  return fnv_1a(std::as_bytes(std::span(values)), before);
}

std::uint64_t fingerprint_of(const Dataset& data, std::uint64_t before) {
  const std::vector<std::int64_t> extents = {data.rows, data.features, data.outputs};
  std::uint64_t hash = fingerprint_of(extents, before);
  hash = fingerprint_of(data.inputs, hash);
  hash = fingerprint_of(data.targets, hash);
  hash = fingerprint_of(data.pixels, hash);
  hash = fingerprint_of(data.mean, hash);
  return fingerprint_of(data.std, hash);
}

/// Of all that a damaged file could have wrong without the format's noticing.
std::string fingerprint_of(const ModelFile& file) {
  std::uint64_t hash = fnv_1a({});
  for (const auto& [key, value] : file.metadata) {
    if (key == "fingerprint") continue;
    hash = fnv_1a(std::as_bytes(std::span(key)), hash);
    hash = fnv_1a(std::as_bytes(std::span(value)), hash);
  }
  for (const NamedTensor& tensor : file.tensors) hash = fingerprint_of(tensor.values, hash);
  return fmt::format("{:016x}", hash);
}

void put_scores(Metadata& metadata, const NetworkScores& scores) {
  std::string text = fmt::format("{} {} {}", scores.steps, scores.train_loss, scores.test_loss);
  for (const auto& accuracy : {scores.train_accuracy, scores.test_accuracy})
    text += accuracy ? fmt::format(" {}", *accuracy) : " -";
  metadata["before_debias"] = text;
}

/// Reads what a file whose fingerprint is right must hold, one word after another.
class Words {
 public:
  explicit Words(std::string text) : text_(std::move(text)), at_(text_.data()) {}
  std::int64_t whole() { return std::strtoll(at_, &at_, 10); }
  double real() { return std::strtod(at_, &at_); }
  std::optional<double> accuracy() {
    if (at_[0] == ' ' && at_[1] == '-') {
      at_ += 2;
      return std::nullopt;
    }
    return real();
  }

 private:
  std::string text_;
  char* at_;
};

NetworkScores get_scores(const std::string& text) {
  Words words(text);
  NetworkScores scores;
  scores.steps = words.whole();
  scores.train_loss = words.real();
  scores.test_loss = words.real();
  scores.train_accuracy = words.accuracy();
  scores.test_accuracy = words.accuracy();
  return scores;
}

NamedTensor flat(const char* name, const std::vector<float>& values) {
  return {name, {static_cast<std::int64_t>(values.size())}, values};
}

/// Text as numbers of four bytes: a header has a limit of 100 MB, which a history may exceed.
NamedTensor packed(const char* name, const std::string& text) {
  std::vector<float> values((text.size() + sizeof(float) - 1) / sizeof(float), 0.0f);
  std::copy_n(text.data(), text.size(), reinterpret_cast<char*>(values.data()));
  return flat(name, values);
}

std::string unpacked(const std::vector<float>& values, std::size_t size) {
  if (size > values.size() * sizeof(float)) return "";
  return {reinterpret_cast<const char*>(values.data()), size};
}

enum class Change { kFree, kTarget, kRefused };

/// What may differ between the command that began and the one that goes on. Paths may: the rows
/// themselves are compared.
Change change_of(std::string_view key) {
  constexpr std::string_view kFree[] = {"data.path",
                                        "data.test_path",
                                        "data.train_images",
                                        "data.train_labels",
                                        "data.test_images",
                                        "data.test_labels",
                                        "train.eval_every",
                                        "train.test_every",
                                        "sparsity.tolerance",
                                        "search.stop",
                                        "search.max_rounds",
                                        "search.first_hit_after",
                                        "search.compare_dense",
                                        "run.out",
                                        "run.threads",
                                        "run.execution",
                                        "run.init",
                                        "run.force",
                                        "run.resume",
                                        "run.checkpoint_minutes"};
  constexpr std::string_view kTargets[] = {"sparsity.target_nnz", "sparsity.target_sparsity",
                                           "sparsity.layers", "sparsity.bounds",
                                           "sparsity.layers_required"};
  const auto among = [key](const auto& list) {
    return std::find(std::begin(list), std::end(list), key) != std::end(list);
  };
  return among(kFree) ? Change::kFree : among(kTargets) ? Change::kTarget : Change::kRefused;
}

bool same_layers(const FitConfig& a, const FitConfig& b) {
  const auto name = [](const auto& x, const auto& y) { return x.first == y.first; };
  return std::equal(a.sparsity.layers.begin(), a.sparsity.layers.end(), b.sparsity.layers.begin(),
                    b.sparsity.layers.end(), name);
}

}  // namespace

TrainedOn trained_on(const std::vector<nn::Parameter>& parameters, const DataSplit& data) {
  TrainedOn on;
  for (const nn::Parameter& p : parameters)
    on.layout += fmt::format("{} [{}]\n", p.name, fmt::join(p.shape, ", "));
  on.data = fingerprint_of(data.test, fingerprint_of(data.train, fnv_1a({})));
  return on;
}

std::string checkpoint_path(const FitConfig& config) {
  std::string path = config.run.out;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path + ".checkpoint";
}

void write_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  ModelFile file;
  const TrainerState& state = checkpoint.state;
  file.tensors.push_back(flat("values", state.values));
  file.tensors.push_back(flat("momentum", state.momentum));
  file.tensors.push_back(flat("chosen", state.chosen));
  file.tensors.push_back(flat("lambda", state.control.lambda));
  file.tensors.push_back(flat("log_integral", state.control.log_integral));
  file.tensors.push_back(packed("history", checkpoint.history));
  Metadata& metadata = file.metadata;
  metadata[kKind] = CTH_VERSION;
  metadata["layout"] = checkpoint.on.layout;
  metadata["data"] = fmt::format("{:016x}", checkpoint.on.data);
  metadata["config"] = checkpoint.config;
  metadata["run"] = fmt::format("{} {} {} {} {}", state.control.steps, checkpoint.seconds,
                                checkpoint.bytes_to_host, checkpoint.bytes_to_host_search,
                                checkpoint.history.size());
  if (checkpoint.before_debias) put_scores(metadata, *checkpoint.before_debias);
  metadata["fingerprint"] = fingerprint_of(file);
  write_safetensors(path, file);
}

Checkpoint read_checkpoint(const std::string& path) {
  ModelFile file;
  try {
    file = read_safetensors(path);
  } catch (const InputError& error) {
    refuse_checkpoint(path, "no training can go on from this file: " + error.info().what,
                      error.info().value);
  }
  Metadata& metadata = file.metadata;
  if (!metadata.contains(kKind)) {
    refuse_checkpoint(path, "is no checkpoint of a training, and stands where one would be", "");
  }
  if (metadata[kKind] != CTH_VERSION) {
    refuse_checkpoint(path, "is a checkpoint of another version than " CTH_VERSION,
                      metadata[kKind]);
  }
  if (metadata["fingerprint"] != fingerprint_of(file) || file.tensors.size() != 6) {
    refuse_checkpoint(path, "the checkpoint is damaged: its fingerprint is another",
                      metadata["fingerprint"]);
  }
  Checkpoint checkpoint;
  checkpoint.on = {metadata["layout"], std::strtoull(metadata["data"].c_str(), nullptr, 16)};
  checkpoint.config = metadata["config"];
  TrainerState& state = checkpoint.state;
  state.values = std::move(file.tensors[0].values);
  state.momentum = std::move(file.tensors[1].values);
  state.chosen = std::move(file.tensors[2].values);
  state.control.lambda = std::move(file.tensors[3].values);
  state.control.log_integral = std::move(file.tensors[4].values);
  Words run(metadata["run"]);
  state.control.steps = run.whole();
  checkpoint.seconds = run.real();
  checkpoint.bytes_to_host = static_cast<std::uint64_t>(run.whole());
  checkpoint.bytes_to_host_search = static_cast<std::uint64_t>(run.whole());
  checkpoint.history = unpacked(file.tensors[5].values, static_cast<std::size_t>(run.whole()));
  if (metadata.contains("before_debias"))
    checkpoint.before_debias = get_scores(metadata["before_debias"]);
  return checkpoint;
}

std::vector<std::string> check_checkpoint(const std::string& path, const Checkpoint& checkpoint,
                                          const FitConfig& config, const TrainedOn& on,
                                          std::int64_t finish_at) {
  const FitConfig before = parse_config(checkpoint.config, path, "");
  const std::int64_t steps = checkpoint.state.control.steps;
  std::vector<std::string> notes;
  for (const config::Difference& d : config::differences(before, config)) {
    const Change change = change_of(d.key);
    const std::string text = fmt::format("{} was {} and is {}", d.key, d.before, d.now);
    if (change == Change::kRefused) {
      refuse_checkpoint(path, "an interrupted training goes on as it began, but " + text, "");
    }
    if (change == Change::kFree) continue;
    if (steps > finish_at || !same_layers(before, config)) {
      refuse_checkpoint(path,
                        text + (steps > finish_at ? fmt::format(", and after {} steps the weights "
                                                                "have been chosen",
                                                                finish_at)
                                                  : ": these are other layers"),
                        "");
    }
    notes.push_back(text + fmt::format(": λ is steered to it from step {} on", steps));
  }
  if (on.layout != checkpoint.on.layout)
    refuse_checkpoint(path, "an interrupted training has other parameters than this network", "");
  if (on.data != checkpoint.on.data)
    refuse_checkpoint(path, "an interrupted training had other data than are read now", "");
  return notes;
}

}  // namespace cuthresh::train
