#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "config/keys.hpp"
#include "cuthresh/config.hpp"
#include "cuthresh/error.hpp"
#include "tests/unit/config_cases.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// reading

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
    parallel = 1
    first_hit_after = 2
    [run]
    seed = 5
    out = "o"
    device = "cpu"
    engine = "reference"
    execution = "plain"
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
  EXPECT_EQ(c.run.execution, "plain");
  EXPECT_EQ(c.run.threads, 2);
  EXPECT_EQ(c.run.init, "w.safetensors");
  EXPECT_TRUE(c.run.force);
}

TEST(Config, ReadsTheKeysOfImages) {
  const FitConfig c = parse(with("data",
                                 "kind = \"idx\"\npath = \"p\"\ntrain_images = \"a\"\n"
                                 "train_labels = \"b\"\ntest_images = \"c\"\ntest_labels = \"d\"\n"
                                 "test_rows = 7\nmean = 0.25\nstd = [0.5, 0.75, 1]\n"
                                 "random_crop = 4\nrandom_flip = true",
                                 "kind"));
  EXPECT_TRUE(c.data.has_images());
  EXPECT_EQ(c.data.path, "p");
  EXPECT_EQ(c.data.train_images, "a");
  EXPECT_EQ(c.data.train_labels, "b");
  EXPECT_EQ(c.data.test_images, "c");
  EXPECT_EQ(c.data.test_labels, "d");
  EXPECT_EQ(c.data.train_rows, 1000);
  EXPECT_EQ(c.data.test_rows, 7);
  EXPECT_THAT(c.data.mean, ElementsAre(0.25));
  EXPECT_THAT(c.data.std, ElementsAre(0.5, 0.75, 1.0));
  EXPECT_EQ(c.data.random_crop, 4);
  EXPECT_TRUE(c.data.random_flip);
  EXPECT_TRUE(parse(with("data", "kind = \"cifar10\"\npath = \"p\"", "kind")).data.has_images());
  EXPECT_FALSE(parse(kGood).data.has_images());
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
  EXPECT_THAT(error_with("train", "batch = 0"),
              AllOf(HasSubstr("mg.toml:8:9: train.batch"), HasSubstr("(got 0)"),
                    HasSubstr("write \"full\"")));
  EXPECT_THAT(error_with("train", "batch = \"half\""),
              AllOf(HasSubstr("train.batch"), HasSubstr("\"half\"")));
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
  const std::map<std::string, std::int64_t> targets{
      {"fc1", 650}, {"fc2", 1200}, {"fc3", 1000}, {"fc4", 45}};
  EXPECT_EQ(multi.sparsity.layers, targets);
  EXPECT_EQ(multi.sparsity.layers_required, 3);
  EXPECT_EQ(multi.sparsity.tolerance, 0.05);

  const FitConfig bounds = load_config(folder + "mackey_glass_bounds.toml");
  const std::map<std::string, std::int64_t> shared{{"fc1", 460}, {"fc2, fc3", 1500}, {"fc4", 40}};
  EXPECT_EQ(bounds.sparsity.layers, shared);
  EXPECT_EQ(bounds.sparsity.bounds.size(), 2U);
  EXPECT_THAT(bounds.sparsity.bounds.at("fc2"), ElementsAre(400, 1100));
}

TEST(Config, EveryExampleIsValidAndNamesFilesThatExist) {
  const fs::path folder = fs::path(CTH_SOURCE_DIR) / "examples";
  int examples = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path().string());
    EXPECT_NO_THROW(load_config(entry.path().string()));
    ++examples;
    std::ifstream file(entry.path());
    for (std::string word; file >> word;) {
      const std::size_t end = word.find(".toml");
      if (end == std::string::npos) continue;
      const std::size_t begin = word.find_last_of("/(", end) + 1;  // 0 where there is none
      const std::string name = word.substr(begin, end + 5 - begin);
      EXPECT_TRUE(fs::exists(folder / name)) << name;
    }
  }
  EXPECT_GE(examples, 10);
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
  EXPECT_THAT(message("/no/such/file.toml"),
              AllOf(HasSubstr("/no/such/file.toml"), HasSubstr("cannot be opened")));
  EXPECT_THAT(message("/tmp"), AllOf(HasSubstr("/tmp"), HasSubstr("is a folder")));
  EXPECT_THAT(message("/dev/zero"), HasSubstr("larger than 1 MiB"));
}

// overrides

TEST(Overrides, ValuesAreTomlOrBareWords) {
  const FitConfig c =
      parse(kGood, {"model.activation=tanh", "train.learning_rate = 0.5", "model.widths=[6, 4, 1]",
                    "search.stop=\"converged\"", "run.out=2024-01-01", "run.force=true",
                    "search.method=log-midpoint", "search.lambda=[1e-6,1e-2]"});
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
  EXPECT_EQ(parse(kGood, {"train.epochs=3"}).train.steps, 0) << "takes the place of the file's";
  EXPECT_EQ(parse(kGood, {"train.epochs=3"}).train.epochs, 3);
  EXPECT_EQ(parse(kGood, {"train.eval_every=never"}).train.eval_every, kNever);
}

TEST(Overrides, ReplaceTheOtherWaysToPrescribe) {
  const FitConfig sparsity = parse(kGood, {"sparsity.target_sparsity=0.9"});
  EXPECT_FALSE(sparsity.sparsity.target_nnz);
  EXPECT_EQ(sparsity.sparsity.target_sparsity, 0.9);

  const FitConfig layers = parse(kGood, {"sparsity.layers.fc1=5", "sparsity.layers.fc2=6"});
  EXPECT_FALSE(layers.sparsity.target_nnz);
  EXPECT_THAT(layers.sparsity.layers,
              ElementsAre(testing::Pair("fc1", 5), testing::Pair("fc2", 6)));

  const std::string multi =
      with("sparsity", "layers_required = 1\ntolerance = 0.1\n[sparsity.layers]\nfc1 = 3\nfc2 = 4",
           "target_nnz");
  const FitConfig merged = parse(multi, {"sparsity.layers.fc1=7"});
  EXPECT_THAT(merged.sparsity.layers,
              ElementsAre(testing::Pair("fc1", 7), testing::Pair("fc2", 4)));
  const FitConfig replaced = parse(multi, {"sparsity.layers={fc2=9}"});
  EXPECT_THAT(replaced.sparsity.layers, ElementsAre(testing::Pair("fc2", 9)));
  const FitConfig shared = parse(kGood, {"sparsity.layers.fc2, fc3=9", "search.method=one-run",
                                         "search.lambda=[]", "sparsity.bounds.fc2=[1, 5]"});
  EXPECT_EQ(shared.sparsity.layers.at("fc2, fc3"), 9);
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
  for (const char* argument :
       {"", "steps", "steps=3", "=3", ".steps=3", "train.=3", "sparsity.layers.=3"}) {
    EXPECT_THAT(error_of(kGood, {argument}),
                AllOf(HasSubstr(fmt::format("--set {}", argument)), HasSubstr("section.key=value")))
        << argument;
  }
  const auto says = [](const std::string& argument, const std::string& part) {
    EXPECT_THAT(error_of(kGood, {argument}),
                AllOf(HasSubstr(fmt::format("--set {}", argument)), HasSubstr(part)));
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

}  // namespace
}  // namespace cuthresh
