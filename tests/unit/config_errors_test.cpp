#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "config/keys.hpp"
#include "cuthresh/config.hpp"
#include "cuthresh/error.hpp"
#include "tests/unit/config_cases.hpp"

namespace cuthresh {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// errors

TEST(Config, SyntaxErrorsNameThePlace) {
  EXPECT_THAT(error_of("[data]\nkind = mackey\n"),
              AllOf(HasSubstr("mg.toml:2:"), HasSubstr("not valid TOML")));
  EXPECT_THAT(error_with("train", "steps = 60"),
              AllOf(HasSubstr("mg.toml:9:"), HasSubstr("not valid TOML")))
      << "a key twice";
  EXPECT_THAT(error_with("train", "eval_every = 99999999999999999999"), HasSubstr("mg.toml:8:"));
  EXPECT_THAT(error_of("[data]\nkind = \"\xff\"\n"), HasSubstr("not valid TOML"));
}

TEST(Config, UnknownKeysSuggestTheNearest) {
  EXPECT_THAT(error_with("train", "learning_rat = 0.1"),
              AllOf(HasSubstr("mg.toml:8:1: train.learning_rat: unknown key"),
                    HasSubstr("did you mean \"learning_rate\"?")));
  EXPECT_THAT(error_with("train", "Learning-Rate = 0.1"),
              HasSubstr("did you mean \"learning_rate\"?"));
  EXPECT_THAT(error_with("train", "seed = 1"), HasSubstr("belongs in [run]"));
  EXPECT_THAT(error_with("train", "dampening = 1"),
              HasSubstr("the keys of [train] are loss, learning_rate"));
  EXPECT_THAT(error_of(std::string(kGood) + "[serach]\n"),
              AllOf(HasSubstr("mg.toml:13:2: [serach]: unknown section"),
                    HasSubstr("did you mean \"search\"?")));
  EXPECT_THAT(error_of("steps = 3\n" + std::string(kGood)),
              AllOf(HasSubstr("mg.toml:1:1: steps"), HasSubstr("move it into [train]")));
  EXPECT_THAT(error_of("data = 3"),
              AllOf(HasSubstr("mg.toml:1:8: data"), HasSubstr("write the line [data]")));
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
  // One case a line.
  // clang-format off
  const std::vector<Bad> cases = {
      {"train", "steps = \"many\"", "steps", {"mg.toml:8:9: train.steps", "whole number", "found a string", "\"many\""}},
      {"train", "steps = 10.5", "steps", {"mg.toml:8:9: train.steps", "(got 10.5)", "without a decimal point"}},
      {"train", "steps = 5e4", "steps", {"(got 5e4)", "without a decimal point or exponent"}},
      {"train", "steps = 0", "steps", {"mg.toml:8:9: train.steps", "at least 1 step", "(got 0)", "set steps or epochs"}},
      {"train", "steps = -1", "steps", {"(got -1)"}},
      {"train", "epochs = 3", "", {"mg.toml:8:10: train.epochs", "train.steps is given too", "(got 3)", "keep one of the two"}},
      {"train", "epochs = -1", "steps", {"train.epochs", "from 0 to", "(got -1)"}},
      {"train", "momentum = 1.0", "", {"mg.toml:8:12: train.momentum", "at least 0 and below 1", "(got 1.0)"}},
      {"train", "momentum = 0.99999999999", "", {"train.momentum", "single precision"}},
      {"train", "nesterov = true", "", {"train.nesterov", "train.momentum is 0"}},
      {"train", "nesterov = 1", "", {"train.nesterov", "true or false"}},
      {"train", "schedule = \"cosin\"", "", {"train.schedule", "did you mean \"cosine\"?"}},
      {"train", "schedule = \"step\"", "", {"train.decay_every", "needs a number of steps"}},
      {"train", "decay_every = 5", "", {"mg.toml:8:15: train.decay_every", "only schedule = \"step\"", "train.schedule is constant", "(got 5)"}},
      {"train", "decay_factor = 0.5", "", {"train.decay_factor", "only schedule = \"step\""}},
      {"train", "decay_factor = 0.0", "", {"train.decay_factor", "above 0"}},
      {"train", "final_learning_rate = 0.5", "", {"train.final_learning_rate", "only schedule = \"cosine\""}},
      {"train", "warmup = 50", "", {"train.warmup", "below train.steps = 50", "(got 50)"}},
      {"train", "eval_every = -1", "", {"train.eval_every", "write \"never\"", "(got -1)"}},
      {"train", "eval_every = \"nevr\"", "", {"train.eval_every", "\"never\" or a whole number", "\"nevr\""}},
      {"train", "test_every = -1", "", {"train.test_every", "(got -1)"}},
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
      {"model", "kind = \"cnn\"", "", {"model.kind", "one of mlp, layers,"}},
      {"model", "kind = \"resnet\"", "", {"model.kind", "did you mean \"resnet20\"?"}},
      {"model", "kind = \"cnn-paper\"", "", {"model.widths", "belongs to model.kind = \"mlp\""}},
      {"model", "kind = \"layers\"", "widths", {"model.layers", "at least one layer"}},
      {"model", "layers = [\"dense 3\"]", "", {"model.layers", "belongs to model.kind = \"layers\""}},
      {"model", "classes = 10", "", {"model.classes", "(got 10)"}},
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
      {"sparsity", "layers = {\"fc1, fc2\" = 3, fc1 = 2}", "target_nnz", {"sparsity.layers", "layer fc1 has a target already", "once"}},
      {"sparsity", "layers = {\"fc1, fc1\" = 3}", "target_nnz", {"sparsity.layers.fc1, fc1", "names layer fc1 twice"}},
      {"sparsity", "layers = {\"fc1,\" = 3}", "target_nnz", {"sparsity.layers.fc1,", "names no layer"}},
      {"search", "method = \"log-midpoint\"\n[sparsity.bounds]\nfc1 = [1, 5]", "", {"mg.toml:16:7: sparsity.bounds.fc1", "only search.method = \"one-run\"", "(got [1, 5])"}},
      {"sparsity", "bounds = {fc1 = 5}", "", {"sparsity.bounds", "a table of lists of two whole numbers", "write for instance"}},
      {"sparsity", "bounds = [1, 5]", "", {"sparsity.bounds", "a table", "[sparsity.bounds]"}},
      {"sparsity", "bounds = {fc1 = [1.5, 5]}", "", {"sparsity.bounds.fc1", "without a decimal point"}},
      {"sparsity", "bounds = {fc1 = [-1, 5]}", "", {"sparsity.bounds.fc1", "at least 0"}},
      {"sparsity", "allocation = \"erdos\"", "", {"sparsity.allocation", "one of none, uniform, erdos-renyi", "(got \"erdos\")"}},
      {"sparsity", "allocation = \"uniform\"\nlayers = {fc1 = 3}", "target_nnz", {"mg.toml:10:14: sparsity.allocation", "none is given for all", "target_nnz"}},
      {"sparsity", "layers_required = 1", "", {"sparsity.layers_required", "remove the key"}},
      {"sparsity", "layers_required = -1", "", {"sparsity.layers_required", "(got -1)"}},
      {"sparsity", "tolerance = 1.0", "", {"mg.toml:10:13: sparsity.tolerance", "below 1", "(got 1.0)"}},
      {"sparsity", "tolerance = -0.1", "", {"(got -0.1)"}},
      {"sparsity", "penalise = []", "", {"sparsity.penalise"}},
      {"sparsity", "penalise = \"*\"", "", {"a list of strings", "in [ and ]"}},
      {"sparsity", "", "target_nnz", {"mg.toml: sparsity", "needs a target", "sparsity.target_nnz"}},
      {"search", "lambda = [1e-3, 1e-7]\nmethod = \"gradient-median\"", "", {"mg.toml:14:10: search.lambda", "below the upper end", "(got [1e-3, 1e-7])", "smaller number first"}},
      {"search", "lambda = [1e-3, 1e-3]\nmethod = \"gradient-median\"", "", {"below the upper end"}},
      {"search", "lambda = [0.1, 0.10000000001]\nmethod = \"gradient-median\"", "", {"single precision"}},
      {"search", "lambda = [-1e-3, 1e-3]", "", {"mg.toml:14:11: search.lambda[0]", "at least 0", "(got -1e-3)"}},
      {"search", "lambda = [0.0, inf]", "", {"search.lambda[1]", "(got inf)"}},
      {"search", "lambda = [0.0, 1e-3]\nmethod = \"log-midpoint\"", "", {"search.lambda", "above 0"}},
      {"search", "lambda = 1e-4\nmethod = \"gradient-median\"", "", {"bracket of two numbers, or none"}},
      {"search", "lambda = [1e-5, 1e-4, 1e-3]\nmethod = \"gradient-median\"", "", {"bracket of two numbers, or none"}},
      {"search", "lambda = \"auto\"", "", {"search.lambda", "a number or a list of numbers"}},
      {"search", "method = \"fixed\"", "", {"search.lambda", "exactly that number"}},
      {"search", "method = \"fixed\"\nlambda = [1e-5, 1e-4]", "", {"mg.toml:15:10: search.lambda"}},
      {"search", "method = \"one-run\"\nlambda = [1e-5, 1e-3]", "", {"search.lambda", "one number above 0", "remove the key"}},
      {"search", "method = \"one-run\"\nlambda = 0.0", "", {"search.lambda", "one number above 0"}},
      {"search", "method = \"one-run\"\nramp = [0.5]", "", {"search.ramp", "two shares"}},
      {"search", "method = \"one-run\"\nramp = [0.6, 0.1]", "", {"search.ramp", "smaller one first"}},
      {"search", "method = \"one-run\"\nramp = [0.1, 1.5]", "", {"search.ramp", "at most 1"}},
      {"search", "method = \"one-run\"\nramp = [0.1, 0.9]", "", {"search.ramp", "search.finish and search.debias"}},
      {"search", "finish = 0.0", "", {"search.finish", "above 0"}},
      {"search", "debias = 1.0", "", {"search.debias", "below 1"}},
      {"search", "integral_gain = -1.0", "", {"search.integral_gain", "at least 0"}},
      {"search", "method = \"bisect\"", "", {"search.method", "one of one-run, gradient-median, log-midpoint, interpolate, fixed"}},
      {"search", "method = \"fixed\"\nlambda = 0.1\nwarm_start = true", "", {"search.warm_start", "trains once", "interpolate"}},
      {"search", "method = \"one-run\"\nwarm_start = true", "", {"search.warm_start", "trains once"}},
      {"search", "method = \"one-run\"\nparallel = 2", "", {"search.parallel", "trains once", "interpolate"}},
      {"search", "parallel = 0", "", {"search.parallel", "from 1 to 64", "(got 0)"}},
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
      {"data", "kind = \"idx\"", "kind", {"data.path", "reads a folder", "data.train_images"}},
      {"data", "kind = \"cifar10\"", "kind", {"data.path", "reads a folder", "data_batch_1.bin"}},
      {"data", "kind = \"idx\"\ntrain_images = \"a\"", "kind", {"data.path", "data.train_labels"}},
      {"data", "kind = \"idx\"\ntrain_images = \"a\"\ntrain_labels = \"b\"\ntest_labels = \"c\"", "kind", {"mg.toml:6:15: data.test_labels", "their images are not", "(got \"c\")"}},
      {"data", "kind = \"idx\"\ntrain_images = \"a\"\ntrain_labels = \"b\"\ntest_images = \"c\"", "kind", {"data.test_images", "their labels are not"}},
      {"data", "kind = \"idx\"\ntrain_images = \"a\"\ntrain_labels = \"b\"\ntest_rows = 3", "kind", {"data.test_rows", "no test images"}},
      {"data", "kind = \"idx\"\npath = \"a\"\ntarget_columns = [\"y\"]", "kind", {"data.target_columns", "only csv", "idx"}},
      {"data", "kind = \"idx\"\npath = \"a\"\ntest_path = \"b\"", "kind", {"data.test_path", "a test part of its own", "data.test_rows"}},
      {"data", "kind = \"idx\"\npath = \"a\"\nshuffle = true", "kind", {"data.shuffle", "a test part of its own"}},
      {"data", "kind = \"cifar10\"\npath = \"a\"\ntrain_fraction = 0.5", "kind", {"data.train_fraction", "a test part of its own"}},
      {"data", "kind = \"cifar10\"\npath = \"a\"\ntrain_images = \"b\"", "kind", {"data.train_images", "only idx", "cifar10"}},
      {"data", "test_labels = \"b\"", "", {"data.test_labels", "only idx"}},
      {"data", "test_rows = 3", "", {"mg.toml:3:13: data.test_rows", "only images", "(got 3)"}},
      {"data", "mean = 0.5", "", {"data.mean", "only images", "mackey-glass"}},
      {"data", "std = [0.5]", "", {"data.std", "only images"}},
      {"data", "random_crop = 4", "", {"data.random_crop", "only images"}},
      {"data", "random_flip = true", "", {"data.random_flip", "only images"}},
      {"data", "std = [0.5, 0.0]", "", {"data.std[1]", "at least 1e-06", "(got 0.0)"}},
      {"data", "mean = nan", "", {"data.mean[0]", "(got nan)"}},
      {"data", "random_crop = -1", "", {"data.random_crop", "from 0 to", "(got -1)"}},
      {"data", "random_flip = 1", "", {"data.random_flip", "true or false"}},
      {"data", "shuffle = 1", "", {"data.shuffle", "true or false"}},
      {"run", "seed = -1", "", {"run.seed", "(got -1)"}},
      {"run", "device = \"gpu\"", "", {"run.device", "one of auto, cpu, cuda", "(got \"gpu\")", "did you mean \"cpu\"?"}},
      {"run", "engine = \"mkl\"", "", {"run.engine", "one of auto, onednn, tiled, reference"}},
      {"run", "threads = -1", "", {"run.threads", "(got -1)"}},
      {"run", "out = \"\"", "out", {"run.out", "must name the run folder"}},
      {"run", "init = \"a\\u0000b\"", "", {"run.init", "zero character"}},
  };
  // clang-format on
  for (const Bad& bad : cases) {
    const std::string message = error_with(bad.section, bad.line, bad.replaces);
    for (const char* part : bad.says)
      EXPECT_THAT(message, HasSubstr(part)) << bad.section << ": " << bad.line;
    EXPECT_THAT(message, HasSubstr("; ")) << "no remedy";
    EXPECT_THAT(message, Not(HasSubstr("\n")));
  }
}

TEST(Config, MissingStepsAndWidthsAreNamed) {
  EXPECT_THAT(error_with("train", "", "steps"),
              AllOf(HasSubstr("mg.toml: train.steps"), HasSubstr("set steps")));
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

}  // namespace
}  // namespace cuthresh
