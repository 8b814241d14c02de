#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "config/keys.hpp"
#include "config/overrides.hpp"
#include "config/suggest.hpp"
#include "cuthresh/config.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kGood = R"(
[data]
kind = "mackey-glass"
train_rows = 1000
[model]
widths = [6, 8, 1]
[train]
steps = 50
[sparsity]
target_nnz = 20
[run]
out = "runs/x"
)";

FitConfig parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_config(text, "mg.toml", "", overrides);
}

/// The message of the InputError that this text and these arguments give.
std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// kGood with one line put below a section's header, or in place of the line that begins with `replaces`.
std::string with(const std::string& section, const std::string& line, const std::string& replaces = "") {
  std::istringstream in(kGood);
  std::string out, current;
  while (std::getline(in, current)) {
    const bool replaced = !replaces.empty() && current.starts_with(replaces + " =");
    if (!replaced) out += current + "\n";
    if (current == "[" + section + "]") out += line + "\n";
  }
  if (out.find("[" + section + "]") == std::string::npos) out += "[" + section + "]\n" + line + "\n";
  return out;
}

std::string error_with(const std::string& section, const std::string& line, const std::string& replaces = "") {
  return error_of(with(section, line, replaces));
}

// ---------------------------------------------------------------------------------------------- reading

TEST(Config, ReadsEveryKey) {
  const FitConfig c = parse(R"(
    [data]
    kind = "csv"
    path = "a.csv"
    target_columns = ["y", "z"]
    train_fraction = 0.5
    shuffle = true
    [model]
    kind = "mlp"
    widths = [6, 128, 1]
    activation = "leaky-relu"
    leaky_slope = 0.2
    init = "he"
    [train]
    loss = "mse"
    learning_rate = 1
    steps = 7
    batch = 32
    eval_every = 3
    [sparsity]
    tolerance = 0.05
    layers_required = 1
    penalise = ["fc?.weight"]
    [sparsity.layers]
    fc1 = 650
    fc2 = 0
    [search]
    method = "log-midpoint"
    stop = "converged"
    lambda = [1e-7, 1e-3]
    max_rounds = 9
    first_hit_after = 2
    [run]
    seed = 5
    out = "o"
    device = "cpu"
    engine = "reference"
    threads = 2
    init = "w.safetensors"
    force = true
  )");
  EXPECT_EQ(c.data.kind, "csv");
  EXPECT_EQ(c.data.path, "a.csv");
  EXPECT_THAT(c.data.target_columns, ElementsAre("y", "z"));
  EXPECT_EQ(c.data.train_rows, 0);
  EXPECT_EQ(c.data.train_fraction, 0.5);
  EXPECT_TRUE(c.data.shuffle);
  EXPECT_THAT(c.model.widths, ElementsAre(6, 128, 1));
  EXPECT_EQ(c.model.activation, "leaky-relu");
  EXPECT_EQ(c.model.leaky_slope, 0.2);
  EXPECT_EQ(c.model.init, "he");
  EXPECT_EQ(c.train.loss, "mse");
  EXPECT_EQ(c.train.learning_rate, 1.0);
  EXPECT_EQ(c.train.steps, 7);
  EXPECT_EQ(c.train.batch, 32);
  EXPECT_EQ(c.train.eval_every, 3);
  EXPECT_FALSE(c.sparsity.target_nnz);
  EXPECT_FALSE(c.sparsity.target_sparsity);
  EXPECT_THAT(c.sparsity.layers, ElementsAre(testing::Pair("fc1", 650), testing::Pair("fc2", 0)));
  EXPECT_EQ(c.sparsity.tolerance, 0.05);
  EXPECT_EQ(c.sparsity.layers_required, 1);
  EXPECT_THAT(c.sparsity.penalise, ElementsAre("fc?.weight"));
  EXPECT_EQ(c.search.method, "log-midpoint");
  EXPECT_EQ(c.search.stop, "converged");
  EXPECT_THAT(c.search.lambda, ElementsAre(1e-7, 1e-3));
  EXPECT_EQ(c.search.max_rounds, 9);
  EXPECT_EQ(c.search.first_hit_after, 2);
  EXPECT_EQ(c.run.seed, 5u);
  EXPECT_EQ(c.run.out, "o");
  EXPECT_EQ(c.run.device, "cpu");
  EXPECT_EQ(c.run.engine, "reference");
  EXPECT_EQ(c.run.threads, 2);
  EXPECT_EQ(c.run.init, "w.safetensors");
  EXPECT_TRUE(c.run.force);
}

TEST(Config, DefaultsAreThoseOfTheHeader) {
  const FitConfig c = parse(kGood);
  const FitConfig fresh;
  EXPECT_EQ(c.train.batch, 0);
  EXPECT_EQ(c.train.learning_rate, fresh.train.learning_rate);
  EXPECT_EQ(c.search.max_rounds, fresh.search.max_rounds);
  EXPECT_EQ(c.run.seed, fresh.run.seed);
  EXPECT_THAT(c.sparsity.penalise, ElementsAre("*.weight"));
  EXPECT_TRUE(c.search.lambda.empty());
}

TEST(Config, BatchIsFullOrANumber) {
  EXPECT_EQ(parse(with("train", "batch = \"full\"")).train.batch, 0);
  EXPECT_EQ(parse(with("train", "batch = 128")).train.batch, 128);
  EXPECT_THAT(error_with("train", "batch = 0"), AllOf(HasSubstr("mg.toml:8:9: train.batch"), HasSubstr("(got 0)"),
                                                      HasSubstr("write \"full\"")));
  EXPECT_THAT(error_with("train", "batch = \"half\""), AllOf(HasSubstr("train.batch"), HasSubstr("\"half\"")));
  EXPECT_THAT(error_with("train", "batch = -4"), HasSubstr("(got -4)"));
}

TEST(Config, LambdaIsANumberOrAList) {
  const auto fixed = [](const std::string& line) {
    return parse(with("search", "method = \"fixed\"\n" + line)).search.lambda;
  };
  EXPECT_THAT(fixed("lambda = 1e-4"), ElementsAre(1e-4));
  EXPECT_THAT(fixed("lambda = 0"), ElementsAre(0.0));
  EXPECT_THAT(fixed("lambda = [1e-4]"), ElementsAre(1e-4));
}

TEST(Config, ReadsTheExamples) {
  const std::string folder = std::string(CTH_SOURCE_DIR) + "/examples/";
  const FitConfig single = load_config(folder + "mackey_glass_single.toml");
  const FitConfig multi = load_config(folder + "mackey_glass_multi.toml");
  for (const FitConfig* c : {&single, &multi}) {
    EXPECT_EQ(c->data.kind, "mackey-glass");
    EXPECT_EQ(c->data.train_rows, 1000);
    EXPECT_THAT(c->model.widths, ElementsAre(6, 128, 128, 64, 1));
    EXPECT_EQ(c->train.steps, 50000);
    EXPECT_EQ(c->train.learning_rate, 0.1);
    EXPECT_EQ(c->train.batch, 0);
    EXPECT_EQ(c->search.stop, "first-hit");
    EXPECT_THAT(c->search.lambda, ElementsAre(1e-7, 1e-3));
    EXPECT_EQ(c->search.max_rounds, 100);
    EXPECT_EQ(c->run.seed, 123u);
  }
  EXPECT_EQ(single.sparsity.target_nnz, 2000);
  EXPECT_EQ(single.sparsity.tolerance, 0.001);
  const std::map<std::string, std::int64_t> targets{{"fc1", 650}, {"fc2", 1200}, {"fc3", 1000}, {"fc4", 45}};
  EXPECT_EQ(multi.sparsity.layers, targets);
  EXPECT_EQ(multi.sparsity.layers_required, 3);
  EXPECT_EQ(multi.sparsity.tolerance, 0.05);
}

TEST(Config, PathsAreRelativeToTheFileUnlessOverridden) {
  const fs::path folder = fs::temp_directory_path() / "cuthresh_config_paths";
  fs::create_directories(folder / "sub");
  const fs::path file = folder / "sub" / "a.toml";
  std::ofstream(file) << with("data", "kind = \"libsvm\"\npath = \"../d.libsvm\"", "kind")
                      << "init = \"w.safetensors\"\n";
  const FitConfig c = load_config(file.string());
  EXPECT_EQ(c.data.path, (folder / "d.libsvm").string());
  EXPECT_EQ(c.run.init, (folder / "sub" / "w.safetensors").string());
  EXPECT_EQ(c.run.out, "runs/x") << "the run folder is relative to the working directory";
  const FitConfig o = load_config(file.string(), {"data.path=here.libsvm", "run.init="});
  EXPECT_EQ(o.data.path, (fs::current_path() / "here.libsvm").string());
  EXPECT_EQ(o.run.init, "");
  fs::remove_all(folder);
}

TEST(Config, UnreadableFiles) {
  const auto message = [](const std::string& path) -> std::string {
    try {
      load_config(path);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message("/no/such/file.toml"), AllOf(HasSubstr("/no/such/file.toml"), HasSubstr("cannot be opened")));
  EXPECT_THAT(message("/tmp"), AllOf(HasSubstr("/tmp"), HasSubstr("is a folder")));
  EXPECT_THAT(message("/dev/zero"), HasSubstr("larger than 1 MiB"));
}

// ----------------------------------------------------------------------------------------------- errors

TEST(Config, SyntaxErrorsNameThePlace) {
  EXPECT_THAT(error_of("[data]\nkind = mackey\n"), AllOf(HasSubstr("mg.toml:2:"), HasSubstr("not valid TOML")));
  EXPECT_THAT(error_with("train", "steps = 60"), AllOf(HasSubstr("mg.toml:9:"), HasSubstr("not valid TOML")))
      << "a key twice";
  EXPECT_THAT(error_with("train", "eval_every = 99999999999999999999"), HasSubstr("mg.toml:8:"));
  EXPECT_THAT(error_of("[data]\nkind = \"\xff\"\n"), HasSubstr("not valid TOML"));
}

TEST(Config, UnknownKeysSuggestTheNearest) {
  EXPECT_THAT(error_with("train", "learning_rat = 0.1"),
              AllOf(HasSubstr("mg.toml:8:1: train.learning_rat: unknown key"),
                    HasSubstr("did you mean \"learning_rate\"?")));
  EXPECT_THAT(error_with("train", "Learning-Rate = 0.1"), HasSubstr("did you mean \"learning_rate\"?"));
  EXPECT_THAT(error_with("train", "seed = 1"), HasSubstr("belongs in [run]"));
  EXPECT_THAT(error_with("train", "momentum = 1"), HasSubstr("the keys of [train] are loss, learning_rate"));
  EXPECT_THAT(error_of(std::string(kGood) + "[serach]\n"),
              AllOf(HasSubstr("mg.toml:13:2: [serach]: unknown section"), HasSubstr("did you mean \"search\"?")));
  EXPECT_THAT(error_of("steps = 3\n" + std::string(kGood)),
              AllOf(HasSubstr("mg.toml:1:1: steps"), HasSubstr("move it into [train]")));
  EXPECT_THAT(error_of("data = 3"), AllOf(HasSubstr("mg.toml:1:8: data"), HasSubstr("write the line [data]")));
}

TEST(Config, EveryKeyIsSuggestedForAMisspelling) {
  for (const config::Key& key : config::keys()) {
    const std::string wrong = std::string(key.name) + "x";
    const std::string message = error_of(kGood, {key.path() + "x=1"});
    EXPECT_THAT(message, HasSubstr(fmt::format("did you mean \"{}\"?", key.name))) << wrong;
  }
}

struct Bad {
  const char* section;
  const char* line;
  const char* replaces;
  std::vector<const char*> says;
};

TEST(Config, BadValuesNamePlaceKeyValueAndRemedy) {
  const std::vector<Bad> cases = {
      {"train", "steps = \"many\"", "steps", {"mg.toml:8:9: train.steps", "whole number", "found a string", "\"many\""}},
      {"train", "steps = 10.5", "steps", {"mg.toml:8:9: train.steps", "(got 10.5)", "without a decimal point"}},
      {"train", "steps = 5e4", "steps", {"(got 5e4)", "without a decimal point or exponent"}},
      {"train", "steps = 0", "steps", {"mg.toml:8:9: train.steps", "from 1 to", "(got 0)"}},
      {"train", "steps = -1", "steps", {"(got -1)"}},
      {"train", "steps = 2024-01-01", "steps", {"found a date or time", "2024-01-01"}},
      {"train", "learning_rate = 0.0", "", {"mg.toml:8:17: train.learning_rate", "above 0 and at most 1000", "(got 0.0)"}},
      {"train", "learning_rate = -0.1", "", {"(got -0.1)"}},
      {"train", "learning_rate = 1000.1", "", {"(got 1000.1)"}},
      {"train", "learning_rate = nan", "", {"(got nan)"}},
      {"train", "learning_rate = inf", "", {"(got inf)"}},
      {"train", "learning_rate = \"0.1\"", "", {"found a string", "without quotes"}},
      {"train", "loss = \"msee\"", "", {"mg.toml:8:8: train.loss", "one of mse, cross-entropy", "did you mean \"mse\"?"}},
      {"train", "loss = \"cross-entropy\"", "", {"model.widths[2]", "mg.toml:6:17", "at least 2", "(got 1)"}},
      {"model", "activation = \"rellu\"", "", {"mg.toml:6:14: model.activation", "one of identity, relu,", "(got \"rellu\")", "did you mean \"relu\"?"}},
      {"model", "activation = \"qqqqq\"", "", {"(got \"qqqqq\")", "write one of these"}},
      {"model", "activation = 3", "", {"found a whole number", "in quotes"}},
      {"model", "leaky_slope = 1.0", "", {"model.leaky_slope", "at least 0 and below 1", "(got 1.0)"}},
      {"model", "widths = [6]", "widths", {"mg.toml:6:10: model.widths", "(got [6])", "at least the inputs and the outputs"}},
      {"model", "widths = []", "widths", {"model.widths"}},
      {"model", "widths = 6", "widths", {"model.widths", "in [ and ]"}},
      {"model", "widths = [6, 0, 1]", "widths", {"mg.toml:6:14: model.widths[1]", "the outputs of layer fc1", "(got 0)", "at least one"}},
      {"model", "widths = [0, 8, 1]", "widths", {"model.widths[0]", "the inputs of layer fc1"}},
      {"model", "widths = [6, 8, -3]", "widths", {"model.widths[2]", "the outputs of layer fc2", "(got -3)"}},
      {"model", "widths = [6, 8.5, 1]", "widths", {"mg.toml:6:14: model.widths[1]", "(got 8.5)"}},
      {"model", "widths = [2000000000, 2000000000, 1]", "widths", {"model.widths", "more than 2^40 weights"}},
      {"model", "kind = \"cnn\"", "", {"model.kind", "one of mlp"}},
      {"model", "init = \"torch\"", "", {"model.init", "did you mean \"pytorch\"?"}},
      {"sparsity", "target_nnz = -1", "target_nnz", {"mg.toml:10:14: sparsity.target_nnz", "at least 0", "(got -1)"}},
      {"sparsity", "target_nnz = 20.5", "target_nnz", {"sparsity.target_nnz", "(got 20.5)"}},
      {"sparsity", "target_sparsity = 1.5", "target_nnz", {"sparsity.target_sparsity", "at most 1", "(got 1.5)"}},
      {"sparsity", "target_sparsity = 0.5", "", {"mg.toml:10:19: sparsity.target_sparsity", "sparsity.target_nnz is given too", "keep one"}},
      {"sparsity", "layers = {fc1 = 3}", "", {"sparsity.layers", "given too"}},
      {"sparsity", "layers = {fc1 = -3}", "target_nnz", {"mg.toml:10:17: sparsity.layers.fc1", "(got -3)"}},
      {"sparsity", "layers = {fc1 = 3.5}", "target_nnz", {"sparsity.layers.fc1", "(got 3.5)"}},
      {"sparsity", "layers = 3", "target_nnz", {"sparsity.layers", "a table"}},
      {"sparsity", "layers = {fc1 = 3}\nlayers_required = 2", "target_nnz", {"mg.toml:11:19: sparsity.layers_required", "names 1", "(got 2)"}},
      {"sparsity", "layers_required = 1", "", {"sparsity.layers_required", "remove the key"}},
      {"sparsity", "layers_required = -1", "", {"sparsity.layers_required", "(got -1)"}},
      {"sparsity", "tolerance = 1.0", "", {"mg.toml:10:13: sparsity.tolerance", "below 1", "(got 1.0)"}},
      {"sparsity", "tolerance = -0.1", "", {"(got -0.1)"}},
      {"sparsity", "penalise = []", "", {"sparsity.penalise"}},
      {"sparsity", "penalise = \"*\"", "", {"a list of strings", "in [ and ]"}},
      {"sparsity", "", "target_nnz", {"mg.toml: sparsity", "needs a target", "sparsity.target_nnz"}},
      {"search", "lambda = [1e-3, 1e-7]", "", {"mg.toml:14:10: search.lambda", "below the upper end", "(got [1e-3, 1e-7])", "smaller number first"}},
      {"search", "lambda = [1e-3, 1e-3]", "", {"below the upper end"}},
      {"search", "lambda = [0.1, 0.10000000001]", "", {"single precision"}},
      {"search", "lambda = [-1e-3, 1e-3]", "", {"mg.toml:14:11: search.lambda[0]", "at least 0", "(got -1e-3)"}},
      {"search", "lambda = [0.0, inf]", "", {"search.lambda[1]", "(got inf)"}},
      {"search", "lambda = [0.0, 1e-3]\nmethod = \"log-midpoint\"", "", {"search.lambda", "above 0"}},
      {"search", "lambda = 1e-4", "", {"bracket of two numbers, or none"}},
      {"search", "lambda = [1e-5, 1e-4, 1e-3]", "", {"bracket of two numbers, or none"}},
      {"search", "lambda = \"auto\"", "", {"search.lambda", "a number or a list of numbers"}},
      {"search", "method = \"fixed\"", "", {"search.lambda", "exactly that number"}},
      {"search", "method = \"fixed\"\nlambda = [1e-5, 1e-4]", "", {"mg.toml:15:10: search.lambda"}},
      {"search", "method = \"bisect\"", "", {"search.method", "one of gradient-median, log-midpoint, fixed"}},
      {"search", "stop = \"firsthit\"", "", {"search.stop", "did you mean \"first-hit\"?"}},
      {"search", "max_rounds = 0", "", {"search.max_rounds", "from 1 to", "(got 0)"}},
      {"search", "first_hit_after = 50", "", {"search.first_hit_after", "train.steps = 50"}},
      {"data", "kind = \"libsvm\"", "kind", {"data.path", "reads a file"}},
      {"data", "kind = \"csv\"", "kind", {"data.path", "reads a file"}},
      {"data", "kind = \"libsmv\"", "kind", {"mg.toml:3:8: data.kind", "did you mean \"libsvm\"?"}},
      {"data", "path = \"a\"", "", {"data.path", "built in"}},
      {"data", "test_path = \"a\"", "", {"data.test_path", "built in"}},
      {"data", "target_columns = [\"y\"]", "", {"data.target_columns", "only csv"}},
      {"data", "target_columns = [3]", "", {"data.target_columns[0]", "in quotes"}},
      {"data", "train_fraction = 0.5", "", {"mg.toml:3:18: data.train_fraction", "keep one of the two"}},
      {"data", "train_fraction = 1.1", "", {"data.train_fraction", "at most 1"}},
      {"data", "train_rows = -1", "train_rows", {"data.train_rows", "(got -1)"}},
      {"data", "kind = \"csv\"\npath = \"a\"\ntest_path = \"b\"", "kind", {"data.train_rows", "data.test_path gives the test set"}},
      {"data", "shuffle = 1", "", {"data.shuffle", "true or false"}},
      {"run", "seed = -1", "", {"run.seed", "(got -1)"}},
      {"run", "device = \"gpu\"", "", {"run.device", "one of auto, cpu, cuda", "(got \"gpu\")", "did you mean \"cpu\"?"}},
      {"run", "engine = \"mkl\"", "", {"run.engine", "one of auto, onednn, reference"}},
      {"run", "threads = -1", "", {"run.threads", "(got -1)"}},
      {"run", "out = \"\"", "out", {"run.out", "must name the run folder"}},
      {"run", "init = \"a\\u0000b\"", "", {"run.init", "zero character"}},
  };
  for (const Bad& bad : cases) {
    const std::string message = error_with(bad.section, bad.line, bad.replaces);
    for (const char* part : bad.says) EXPECT_THAT(message, HasSubstr(part)) << bad.section << ": " << bad.line;
    EXPECT_THAT(message, HasSubstr("; ")) << "no remedy";
    EXPECT_THAT(message, Not(HasSubstr("\n")));
  }
}

TEST(Config, MissingStepsAndWidthsAreNamed) {
  EXPECT_THAT(error_with("train", "", "steps"), AllOf(HasSubstr("mg.toml: train.steps"), HasSubstr("set steps")));
  EXPECT_THAT(error_with("model", "", "widths"), HasSubstr("mg.toml: model.widths"));
}

TEST(Config, FixedNeedsNoTarget) {
  const FitConfig c = parse(with("search", "method = \"fixed\"\nlambda = 0", "target_nnz"));
  EXPECT_FALSE(c.sparsity.target_nnz);
}

TEST(Config, ValidateChecksWhatWasBuiltByHand) {
  FitConfig c = parse(kGood);
  EXPECT_NO_THROW(validate(c));
  const auto message = [](const FitConfig& config) -> std::string {
    try {
      validate(config);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  c.run.seed = std::numeric_limits<std::uint64_t>::max();
  EXPECT_THAT(message(c), AllOf(HasSubstr("run.seed: "), HasSubstr("18446744073709551615")));
  c = parse(kGood);
  c.train.learning_rate = std::nan("");
  EXPECT_THAT(message(c), AllOf(HasSubstr("train.learning_rate: "), HasSubstr("nan")));
  c = parse(kGood);
  c.train.batch = -1;
  EXPECT_THAT(message(c), HasSubstr("train.batch: "));
  c = parse(kGood);
  c.model.widths[1] = 0;
  EXPECT_THAT(message(c), AllOf(HasSubstr("model.widths[1]: "), HasSubstr("fc1")));
}

// -------------------------------------------------------------------------------------------- overrides

TEST(Overrides, ValuesAreTomlOrBareWords) {
  const FitConfig c = parse(kGood, {"model.activation=tanh", "train.learning_rate = 0.5", "model.widths=[6, 4, 1]",
                                    "search.stop=\"converged\"", "run.out=2024-01-01", "run.force=true",
                                    "search.lambda=[1e-6,1e-2]"});
  EXPECT_EQ(c.model.activation, "tanh");
  EXPECT_EQ(c.train.learning_rate, 0.5);
  EXPECT_THAT(c.model.widths, ElementsAre(6, 4, 1));
  EXPECT_EQ(c.search.stop, "converged");
  EXPECT_EQ(c.run.out, "2024-01-01");
  EXPECT_TRUE(c.run.force);
  EXPECT_THAT(c.search.lambda, ElementsAre(1e-6, 1e-2));
}

TEST(Overrides, TheLastOneCounts) {
  EXPECT_EQ(parse(kGood, {"train.steps=3", "train.steps=4"}).train.steps, 4);
}

TEST(Overrides, ReplaceTheOtherWaysToPrescribe) {
  const FitConfig sparsity = parse(kGood, {"sparsity.target_sparsity=0.9"});
  EXPECT_FALSE(sparsity.sparsity.target_nnz);
  EXPECT_EQ(sparsity.sparsity.target_sparsity, 0.9);

  const FitConfig layers = parse(kGood, {"sparsity.layers.fc1=5", "sparsity.layers.fc2=6"});
  EXPECT_FALSE(layers.sparsity.target_nnz);
  EXPECT_THAT(layers.sparsity.layers, ElementsAre(testing::Pair("fc1", 5), testing::Pair("fc2", 6)));

  const std::string multi =
      with("sparsity", "layers_required = 1\ntolerance = 0.1\n[sparsity.layers]\nfc1 = 3\nfc2 = 4", "target_nnz");
  const FitConfig merged = parse(multi, {"sparsity.layers.fc1=7"});
  EXPECT_THAT(merged.sparsity.layers, ElementsAre(testing::Pair("fc1", 7), testing::Pair("fc2", 4)));
  const FitConfig replaced = parse(multi, {"sparsity.layers={fc2=9}"});
  EXPECT_THAT(replaced.sparsity.layers, ElementsAre(testing::Pair("fc2", 9)));
  const FitConfig total = parse(multi, {"sparsity.target_nnz=11"});
  EXPECT_TRUE(total.sparsity.layers.empty());
  EXPECT_EQ(total.sparsity.layers_required, 0) << "means nothing without layers";
  EXPECT_EQ(total.sparsity.tolerance, 0.1);

  const FitConfig fraction = parse(kGood, {"data.train_fraction=0.5"});
  EXPECT_EQ(fraction.data.train_rows, 0);
  EXPECT_EQ(fraction.data.train_fraction, 0.5);

  EXPECT_THAT(error_of(kGood, {"sparsity.target_nnz=1", "sparsity.target_sparsity=0.5"}),
              AllOf(HasSubstr("--set sparsity.target_sparsity=0.5"), HasSubstr("given too")));
}

TEST(Overrides, MalformedOnesNameTheArgument) {
  for (const char* argument : {"", "steps", "steps=3", "=3", ".steps=3", "train.=3", "sparsity.layers.=3"}) {
    EXPECT_THAT(error_of(kGood, {argument}),
                AllOf(HasSubstr(fmt::format("--set {}", argument)), HasSubstr("section.key=value")))
        << argument;
  }
  const auto says = [](const std::string& argument, const std::string& part) {
    EXPECT_THAT(error_of(kGood, {argument}), AllOf(HasSubstr(fmt::format("--set {}", argument)), HasSubstr(part)));
  };
  says("train.steps=abc", "found a string");
  says("train.steps=", "train.steps");
  says("train.steps=0", "(got 0)");
  says("train.stepz=1", "did you mean \"steps\"?");
  says("trian.steps=1", "did you mean \"train\"?");
  says("model.activation=rellu", "did you mean \"relu\"?");
  says("model.widths=[6, 1", "not a TOML value");
  says("train.steps.x=3", "no keys of its own");
  says("sparsity.layers.fc1=x", "found a string");
  says("sparsity.layers.fc1=-1", "sparsity.layers.fc1");
  EXPECT_THAT(error_of(kGood, {"train.steps=5\n[run]\nseed = 3"}), HasSubstr("found a string"))
      << "a value cannot bring other keys along";
}

// ----------------------------------------------------------------------------------------- writing, docs

/// A configuration with every member drawn, valid in itself.
FitConfig random_config(std::mt19937_64& rng) {
  const auto below = [&rng](std::uint64_t n) { return static_cast<std::int64_t>(rng() % n); };
  const auto real = [&rng] { return std::ldexp(static_cast<double>(rng() >> 11) + 1.0, -54); };  // (0, 0.5]
  const auto text = [&] {
    const std::vector<std::string> pieces = {"a", "\"", "\\", "\n", "\t", "é", "λ", " ", "#", "=", "\x7f", "\x01"};
    std::string out = "/";
    for (std::int64_t i = below(8); i >= 0; --i) out += pieces[static_cast<std::size_t>(below(pieces.size()))];
    return out;
  };
  FitConfig c;
  c.data.kind = "csv";
  c.data.path = text();
  for (std::int64_t i = below(3); i > 0; --i) c.data.target_columns.push_back(text());
  if (below(2)) c.data.train_rows = below(1u << 30) + 1;
  else c.data.train_fraction = real();
  c.data.shuffle = below(2) == 0;
  for (std::int64_t i = below(4); i >= -1; --i) c.model.widths.push_back(below(500) + 1);
  c.model.activation = "silu";
  c.model.leaky_slope = real();
  c.train.learning_rate = real() * 1000;
  c.train.steps = below(1'000'000) + 2;
  c.train.batch = below(3) * 17;
  c.train.eval_every = below(100);
  switch (below(3)) {
    case 0: c.sparsity.target_nnz = below(~0ull >> 1); break;
    case 1: c.sparsity.target_sparsity = real(); break;
    default:
      for (std::int64_t i = below(4); i >= 0; --i) c.sparsity.layers[fmt::format("l{}{}", i, text())] = below(99);
      c.sparsity.layers_required = below(c.sparsity.layers.size() + 1);
  }
  c.sparsity.tolerance = real();
  c.sparsity.penalise = {text(), "fc?.weight"};
  c.search.stop = below(2) ? "converged" : "first-hit";
  if (below(2)) c.search.lambda = {real() * 1e-7, 1.0 + real()};
  c.search.max_rounds = below(1000) + 1;
  c.search.first_hit_after = below(2);
  c.run.seed = rng() >> 1;
  c.run.out = text();
  c.run.threads = below(9);
  if (below(2)) c.run.init = text();
  c.run.force = below(2) == 0;
  return c;
}

bool same(const FitConfig& a, const FitConfig& b) {
  FitConfig x = a, y = b;
  for (const config::Key& key : config::keys()) {
    const bool equal = std::visit(
        [](auto* p, auto* q) {
          if constexpr (std::is_same_v<decltype(p), decltype(q)>) return *p == *q;
          return false;
        },
        key.field(x), key.field(y));
    if (!equal) {
      ADD_FAILURE() << key.path() << " differs";
      return false;
    }
  }
  return true;
}

TEST(ToToml, ReadsBackToTheSameValues) {
  constexpr std::uint64_t kSeed = 20240802;
  std::mt19937_64 rng(kSeed);
  for (int i = 0; i < 300; ++i) {
    const FitConfig config = random_config(rng);
    const std::string text = to_toml(config);
    ASSERT_TRUE(same(config, parse(text))) << "seed " << kSeed << ", draw " << i << "\n" << text;
  }
}

TEST(ToToml, WritesEveryKeyThatHasAValue) {
  const std::string text = to_toml(parse(kGood));
  for (const config::Key& key : config::keys()) {
    const bool absent = key.name == "target_sparsity" || key.name == "layers";
    EXPECT_EQ(text.find(fmt::format("\n{} = ", key.name)) == std::string::npos, absent) << key.path();
  }
  EXPECT_THAT(text, AllOf(HasSubstr("batch = \"full\""), HasSubstr("target_nnz = 20 ")));
}

TEST(ConfigTable, EveryKeyIsDocumentedInItsSection) {
  std::ifstream file(std::string(CTH_SOURCE_DIR) + "/docs/config.md");
  ASSERT_TRUE(file) << "docs/config.md is missing";
  std::map<std::string, std::string> by_section;
  std::string line, section;
  std::size_t rows = 0;
  while (std::getline(file, line)) {
    if (line.starts_with("## ")) section = line.substr(3);
    by_section[section] += line + "\n";
    rows += section.starts_with("[") && line.starts_with("| `") ? 1 : 0;
  }
  for (const config::Key& key : config::keys()) {
    const std::string& body = by_section[fmt::format("[{}]", key.section)];
    const auto at = body.find(fmt::format("\n| `{}` |", key.name));
    ASSERT_NE(at, std::string::npos) << key.path() << " has no row";
    const std::string row = body.substr(at + 1, body.find('\n', at + 1) - at);
    for (const auto choice : key.choices) {
      EXPECT_THAT(row, HasSubstr(fmt::format("`{}`", choice))) << key.path();
    }
  }
  EXPECT_EQ(rows, config::keys().size()) << "a row documents a key that does not exist";
}

TEST(ConfigTable, KeysAreUniqueAndSectionsTogether) {
  std::set<std::string> paths, seen;
  std::string_view section;
  for (const config::Key& key : config::keys()) {
    EXPECT_TRUE(paths.insert(key.path()).second) << key.path();
    if (key.section != section) {
      EXPECT_TRUE(seen.insert(std::string(key.section)).second) << key.section;
    }
    section = key.section;
    EXPECT_FALSE(key.doc.empty());
  }
}

TEST(Suggest, EditDistanceOnKnownPairs) {
  EXPECT_EQ(config::edit_distance("", ""), 0);
  EXPECT_EQ(config::edit_distance("abc", ""), 3);
  EXPECT_EQ(config::edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(config::edit_distance("serach", "search"), 1);
  EXPECT_EQ(config::edit_distance("First-Hit", "first_hit"), 0);
  EXPECT_EQ(config::edit_distance("ca", "abc"), 3) << "restricted: no edit inside a swap";
  EXPECT_EQ(config::nearest("tnah", {"relu", "tanh"}), "tanh");
  EXPECT_FALSE(config::nearest("zzzz", {"relu", "tanh"}));
}

}  // namespace
}  // namespace cuthresh
