#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "tools/cuthresh/format.hpp"
#include "tools/cuthresh/progress_text.hpp"
#include "tools/cuthresh/summary.hpp"

namespace cuthresh::command {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

constexpr Style kUnicode{true};
constexpr Style kAscii{false};
const double kNan = std::nan("");

TEST(Format, GroupedDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(25408), "25,408");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(grouped(-123), "-123");
  EXPECT_EQ(grouped(std::numeric_limits<std::int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(Format, Numbers) {
  EXPECT_EQ(loss_text(0.0149712), "0.01497");
  EXPECT_EQ(loss_text(kNan), "-");
  EXPECT_EQ(lambda_text(0.0), "0");
  EXPECT_EQ(lambda_text(1.92e-4), "1.920e-04");
  EXPECT_EQ(lambda_range({}), "-");
  EXPECT_EQ(lambda_range({2e-4, 1e-5, 1e-4}), "1.000e-05 .. 2.000e-04 (3)");
  EXPECT_EQ(percent(0.846), "84.6 %");
  EXPECT_EQ(percent(kNan), "-");
}

TEST(Format, Durations) {
  EXPECT_EQ(duration(0.0), "0.00 s");
  EXPECT_EQ(duration(9.99), "9.99 s");
  EXPECT_EQ(duration(9.996), "10.0 s");
  EXPECT_EQ(duration(59.96), "1 min 00 s");
  EXPECT_EQ(duration(185.4), "3 min 05 s");
  EXPECT_EQ(duration(3599.6), "1 h 00 min");
  EXPECT_EQ(duration(7440.0), "2 h 04 min");
  EXPECT_EQ(duration(-1.0), "-");
  EXPECT_EQ(duration(std::numeric_limits<double>::infinity()), "-");
  EXPECT_THAT(duration(1e300), HasSubstr(" h "));
}

TEST(Format, BarsShowOnlyNothingAsEmptyAndOnlyAllAsFull) {
  EXPECT_EQ(bar(0.0, 4, kAscii), "....");
  EXPECT_EQ(bar(1e-9, 4, kAscii), "#...");
  EXPECT_EQ(bar(0.5, 4, kAscii), "##..");
  EXPECT_EQ(bar(0.9999, 4, kAscii), "###.");
  EXPECT_EQ(bar(1.0, 4, kAscii), "####");
  EXPECT_EQ(bar(7.0, 4, kAscii), "####");
  EXPECT_EQ(bar(-1.0, 4, kAscii), "....");
  EXPECT_EQ(bar(kNan, 4, kAscii), "....");
  EXPECT_EQ(bar(0.5, 0, kAscii), "");
  EXPECT_EQ(bar(0.5, 2, kUnicode), "█░");
  EXPECT_EQ(columns(bar(0.3, 11, kUnicode)), 11u);
}

TEST(Format, ColumnsAreCodePoints) {
  EXPECT_EQ(columns("λ → 3"), 5u);
  EXPECT_EQ(clipped("λ → 3", 3), "λ →");
  EXPECT_EQ(clipped("λ → 3", 0), "");
  EXPECT_EQ(clipped("λ", 9), "λ");
  EXPECT_EQ(printable("a\nb\x1b[2J\x7f"), "a b [2J ");
}

TEST(Format, TableAligns) {
  Table table({Table::Align::kLeft, Table::Align::kRight, Table::Align::kLeft});
  table.row({"λ", "1", ""});
  table.row({"long", "1,000", "x"});
  EXPECT_EQ(table.text("> "), "> λ         1\n> long  1,000  x\n");
}

FitObserver::Progress sample() {
  FitObserver::Progress p;
  p.round = 3;
  p.max_rounds = 100;
  p.step = 4643;
  p.steps = 50000;
  p.lambda = {1.92e-4};
  p.nnz = 2001;
  p.target_nnz = 2000;
  p.loss = 0.0149712;
  p.round_seconds_left = 12.34;
  return p;
}

TEST(ProgressLine, SaysEverythingWhereThereIsRoom) {
  EXPECT_EQ(progress_line(sample(), 200, kUnicode),
            "round 3/100  █░░░░░░░░░░░░░░░  4,643/50,000  λ 1.920e-04  nnz 2,001 → 2,000  loss "
            "0.01497  12.3 s left");
  EXPECT_EQ(progress_line(sample(), 200, kAscii),
            "round 3/100  #...............  4,643/50,000  lambda 1.920e-04  nnz 2,001 -> 2,000  "
            "loss 0.01497  "
            "12.3 s left");
  FitObserver::Progress p = sample();
  p.target_nnz.reset();
  p.loss = kNan;
  EXPECT_THAT(progress_line(p, 200, kUnicode),
              AllOf(HasSubstr("nnz 2,001  loss -"), Not(HasSubstr("→"))));
}

TEST(ProgressLine, FitsEveryWidthAndKeepsTheCountLongest) {
  const std::string count = "nnz 2,001 → 2,000";
  for (std::size_t width = 0; width < 120; ++width) {
    const std::string line = progress_line(sample(), width, kUnicode);
    EXPECT_LE(columns(line), width);
    if (width >= 44) {
      EXPECT_THAT(line, HasSubstr(count)) << width;
    }
    // The bar is the first to go.
    if (line.find("█") != std::string::npos) {
      EXPECT_THAT(line, HasSubstr("left"));
    }
  }
}

TEST(ProgressLine, NoStepsIsNoDivisionByZero) {
  EXPECT_THAT(progress_line({}, 200, kAscii),
              AllOf(HasSubstr("................"), HasSubstr("0/0")));
}

TEST(RoundLine, SaysHowItEnded) {
  RoundResult round;
  round.round = 2;
  round.lambda = {1e-5, 2e-4};
  round.nnz = {650, 1200};
  round.steps = 4643;
  round.train_loss = 0.015;
  round.test_loss = kNan;
  round.seconds = 3.0;
  EXPECT_EQ(round_line(round, 100, kUnicode),
            "round 2/100  λ 1.000e-05 .. 2.000e-04 (2)  nnz 1,850 = 650 + 1,200  loss 0.015 train, "
            "- test  "
            "4,643 steps  3.00 s");
  round.train_accuracy = 0.875;
  EXPECT_THAT(round_line(round, 100, kAscii), HasSubstr("  accuracy 87.5 % train  4,643 steps"));
  round.test_accuracy = 0.75;
  EXPECT_THAT(round_line(round, 100, kAscii), HasSubstr("  accuracy 87.5 % train, 75.0 % test  "));
  round.hit = true;
  EXPECT_THAT(round_line(round, 0, kAscii), AllOf(HasSubstr("round 2  "), HasSubstr("target met")));
  round.candidate = 3;
  EXPECT_THAT(round_line(round, 9, kAscii), HasSubstr("round 2/9 (3)  "));
  round.diverged = true;
  EXPECT_THAT(round_line(round, 100, kAscii), AllOf(HasSubstr("diverged"), Not(HasSubstr("nnz"))))
      << "the counts of a diverged round mean nothing";
}

FitResult result() {
  FitResult r;
  r.outcome = Outcome::kCrossed;
  r.achieved = true;
  r.why_stopped = "training 3 met the target";
  r.nnz = 2001;
  r.numel = 25408;
  r.target_nnz = 2000;
  r.steps_total = 104643;
  r.train_loss = 0.01497;
  r.test_loss = 0.01507;
  r.seconds = 31.2;
  r.folder = "runs/mg";
  r.rounds.resize(3);
  r.rounds.back().round = 3;
  r.candidate_steps_per_second = 3354.2;
  LayerResult layer;
  layer.name = "fc1";
  layer.numel = 768;
  layer.nnz = 300;
  layer.lambda = 1.92e-4;
  layer.kkt_nonzero = 0.5;
  layer.reached = true;
  r.layers = {layer, layer};
  return r;
}

/// The line of the summary that begins with this word.
std::string line_of(const std::string& text, const std::string& word) {
  std::istringstream in(text);
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with(word)) return line;
  }
  return "no such line";
}

TEST(Summary, SaysHowTheTargetWasMet) {
  FitConfig config;
  const std::string text = summary(result(), config, kUnicode);
  EXPECT_THAT(line_of(text, "target"),
              HasSubstr("2,000 of 25,408 weights nonzero, tolerance 0.1 %"));
  EXPECT_THAT(line_of(text, "reached"),
              AllOf(HasSubstr("2,001 nonzero (92.1 % zeros)"), HasSubstr("crossing")));
  EXPECT_THAT(line_of(text, "λ"), HasSubstr("1.920e-04"));
  EXPECT_THAT(line_of(text, "loss"), HasSubstr("0.01497 train, 0.01507 test"));
  EXPECT_THAT(line_of(text, "effort"), EndsWith("3 rounds, 104,643 steps, 31.2 s"));
  config.search.parallel = 4;
  EXPECT_THAT(line_of(summary(result(), config, kUnicode), "effort"),
              EndsWith("31.2 s, 3,354 candidate-steps a second with up to 4 at the same time"));
  EXPECT_THAT(line_of(text, "files"), HasSubstr("runs/mg/"));
  EXPECT_THAT(line_of(text, "fc1"),
              AllOf(HasSubstr("768"), HasSubstr("300"), HasSubstr("5.00e-01")));

  FitResult other = result();
  other.outcome = Outcome::kConverged;
  EXPECT_THAT(summary(other, config, kUnicode), HasSubstr("at the end of a full training"));
  other.outcome = Outcome::kMissed;
  EXPECT_THAT(summary(other, config, kUnicode), HasSubstr("target missed"));
  other.outcome = Outcome::kFixed;
  other.target_nnz.reset();
  other.test_loss = kNan;
  EXPECT_THAT(
      summary(other, config, kUnicode),
      AllOf(HasSubstr("no target to meet"), Not(HasSubstr(" test")), HasSubstr("target   none")));
}

TEST(Summary, OfOneRunSaysWhatWasChosenAndTheResidualThatCounts) {
  FitConfig config;
  FitResult r = result();
  r.outcome = Outcome::kKept;
  r.before_debias = NetworkScores{40000, 0.0161, 0.0172, std::nullopt, std::nullopt};
  r.layers[0].gradient_nonzero = 2.5e-3;
  for (const Style& style : {kUnicode, kAscii}) {
    const std::string text = summary(r, config, style);
    EXPECT_THAT(line_of(text, "reached"), HasSubstr("in one training"));
    EXPECT_THAT(line_of(text, "chosen"), HasSubstr("0.0161 train, 0.0172 test at step 40,000"));
    EXPECT_THAT(line_of(text, "fc1"), AllOf(HasSubstr("2.50e-03"), Not(HasSubstr("5.00e-01"))));
    EXPECT_THAT(text, AllOf(HasSubstr("zeros frozen"), Not(HasSubstr("kkt"))));
  }
}

TEST(Summary, SaysWhatLayersShareATarget) {
  FitConfig config;
  config.sparsity.layers = {{"fc1, fc2", 400}};
  FitResult r = result();
  r.layers[0].shared_target_nnz = 1400;
  r.layers[0].target_nnz.reset();
  r.layers[0].reached = true;
  const std::string text = summary(r, config, kUnicode);
  EXPECT_THAT(line_of(text, "fc1"), AllOf(HasSubstr("1,400 shared"), HasSubstr("yes")));
}

TEST(Summary, JudgesLayersThatHaveTheirOwnTarget) {
  FitConfig config;
  config.sparsity.layers = {{"fc1", 300}, {"fc2", 100}};
  config.sparsity.layers_required = 1;
  FitResult r = result();
  r.layers[0].target_nnz = 300;
  r.layers[1].name = "fc2";
  r.layers[1].target_nnz = 100;
  r.layers[1].reached = false;
  r.layers[1].lambda = 1e-5;
  const std::string text = summary(r, config, kUnicode);
  EXPECT_THAT(line_of(text, "target"), HasSubstr("1 of 2 layers"));
  EXPECT_THAT(line_of(text, "λ"), HasSubstr("1.000e-05 .. 1.920e-04 (2)"));
  EXPECT_TRUE(line_of(text, "fc1").ends_with("  yes"));
  EXPECT_TRUE(line_of(text, "fc2").ends_with("  no"));
}

TEST(Summary, IsAsciiWhereTheTerminalIs) {
  const std::string text = summary(result(), FitConfig(), kAscii);
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; }))
      << text;
}

}  // namespace
}  // namespace cuthresh::command
