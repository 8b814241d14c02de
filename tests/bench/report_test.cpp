#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <sstream>
#include <vector>

#include "bench/report/csv.hpp"
#include "bench/report/format.hpp"
#include "bench/report/table.hpp"
#include "bench/report/text.hpp"
#include "report_cases.hpp"

namespace cuthresh::bench {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(BenchFigures, ThreeDigitsWithoutExponents) {
  EXPECT_EQ(three_digits(0.0), "0");
  EXPECT_EQ(three_digits(0.012345), "0.0123");
  EXPECT_EQ(three_digits(7.125), "7.12");  // ties to even, as printf
  EXPECT_EQ(three_digits(9.996), "10.0");
  EXPECT_EQ(three_digits(99.96), "100");
  EXPECT_EQ(three_digits(4312.0), "4310");
  EXPECT_EQ(three_digits(std::nan("")), "-");
}

TEST(BenchFigures, TimesInTheUnitThatReadsBest) {
  EXPECT_EQ(time_text(0.0421), "42.1 ns");
  EXPECT_EQ(time_text(0.9994), "999 ns");
  EXPECT_EQ(time_text(0.9996), "1.00 µs");
  EXPECT_EQ(time_text(999.4), "999 µs");
  EXPECT_EQ(time_text(999.6), "1.00 ms");
  EXPECT_EQ(time_text(7130.0), "7.13 ms");
  EXPECT_EQ(time_text(12.3e6), "12.3 s");
  EXPECT_EQ(time_text(7.2e9), "7200 s");
}

TEST(BenchFigures, BytesSharesAndChanges) {
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(33e6), "33.0 MB");
  EXPECT_EQ(bytes_text(999.6e6), "1.00 GB");
  EXPECT_EQ(percent_text(0.0042), "0.4 %");
  EXPECT_EQ(percent_text(1.042), "104 %");
  EXPECT_EQ(change_text(0.05), "+5.0 %");
  EXPECT_EQ(change_text(-0.05), "-5.0 %");
  EXPECT_EQ(figure_text(2541000), "2541000");
  EXPECT_EQ(figure_text(1.5), "1.5");
}

TEST(BenchFigures, WrappedKeepsEveryWordAndTheWidth) {
  const std::string text = "the quick brown fox jumps over a-word-longer-than-the-line dogs";
  std::istringstream lines(wrapped(text, 2, 16));
  std::istringstream words(text);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.find("a-word") == std::string::npos) {
      EXPECT_LE(line.size(), 16u) << line;
    }
    std::istringstream in_line(line);
    for (std::string word, expected; in_line >> word;) {
      words >> expected;
      EXPECT_EQ(word, expected);
    }
  }
  EXPECT_FALSE(words >> line) << "lost: " << line;
}

TEST(BenchResult, RatesFollowFromMediansAndBytes) {
  const Report report = testing::sample_report();
  EXPECT_DOUBLE_EQ(gb_per_s(report.ceilings[0]), 50.0);
  EXPECT_DOUBLE_EQ(gb_per_s(report.ceilings[0], report.ceilings[0].last), 48.0);
  EXPECT_DOUBLE_EQ(gb_per_s(report.ceilings[1]), 160.0);
  EXPECT_EQ(gb_per_s(Ceiling{Traffic::kNone, 1000, false, "", testing::timing(1.0), {}}), 0.0);
  EXPECT_DOUBLE_EQ(gb_per_s(report.rows[0]).value(), 40.0);
  EXPECT_DOUBLE_EQ(share_of_ceiling(report.rows[0]).value(), 0.8);
  EXPECT_NEAR(noise(report.rows[0]), 0.01, 1e-12);
  EXPECT_FALSE(gflop_per_s(report.rows[0]));
  EXPECT_NEAR(gflop_per_s(report.rows[1]).value(), 32.768e6 / 123.45e-6 / 1e9, 1e-9);
  EXPECT_FALSE(share_of_ceiling(report.rows[1]));
  EXPECT_FALSE(gb_per_s(report.rows[2]));
  EXPECT_TRUE(std::isnan(noise(report.rows[2])));
  EXPECT_FALSE(gb_per_s(Row{}));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

TEST(BenchTable, HasTheMachineCeilingsFirstThenGroupsThenWhatIsLeftOut) {
  const std::string text = to_table(testing::sample_report());
  const std::size_t at[] = {text.find("Test CPU <A&B> \"2\", 2 cores, 16.0 GB memory"),
                            text.find("oneDNN 2.6.3"),
                            text.find("stream 2:1"),
                            text.find("copy 1:1"),
                            text.find("\n  prox_step "),
                            text.find("\n  gemm "),
                            text.find("Left out:\n  prox_step/fp32/plain/1g_200: needs 12.0 GB")};
  for (std::size_t i = 0; i < std::size(at); ++i) {
    ASSERT_NE(at[i], std::string::npos) << i << '\n' << text;
    if (i > 0) {
      EXPECT_LT(at[i - 1], at[i]) << i << '\n' << text;
    }
  }
  EXPECT_THAT(text, AllOf(HasSubstr("commit a1b2c3d"), HasSubstr("g++ 12.2.0"),
                          HasSubstr("no GPU was found"), Not(HasSubstr("Smoke"))));
}

TEST(BenchTable, RowsShowWhatWasMeasured) {
  const std::vector<std::string> lines = lines_of(to_table(testing::sample_report()));
  // Blanks between cells differ with the other rows.
  std::vector<std::string> squeezed;
  for (const std::string& line : lines) {
    std::istringstream in(line);
    std::string& out = squeezed.emplace_back();
    for (std::string word; in >> word;) out += (out.empty() ? "" : " ") + word;
  }
  EXPECT_THAT(squeezed, Contains("stream 2:1 cold 200 MB 50.0 GB/s 48.0 GB/s -4.0 % streaming "
                                 "stores"));
  EXPECT_THAT(squeezed, Contains("copy 1:1 warm 200 kB 160 GB/s - - plain stores"));
  EXPECT_THAT(squeezed,
              Contains("fp32/plain/25m_161 cold 6.75 7.50 9.00 ms 1.0 % 40.0 GB/s 80.0 %"));
  EXPECT_THAT(squeezed, Contains("nnz 2541000, peak_bytes 1.5"));
  EXPECT_THAT(squeezed, Contains("1000x128x128 warm 111 123 148 µs 2.1 % 265 GFLOP/s"));
  EXPECT_THAT(squeezed, Contains("a,b|c \"quoted\" <&> warm 2.25 2.50 3.00 s -"));
}

TEST(BenchTable, StaysWithin100ColumnsAndCutsNoName) {
  Report report = testing::sample_report();
  report.machine.build = "RelWithDebInfo";
  for (int i = 0; i < 20; ++i) report.machine.build += " -fsome-option=" + std::to_string(i);
  const std::string name(30, 'x');
  report.rows.push_back(testing::row("prox_step/" + name + '/' + name, true, 1.0, 1.0));
  // Of every length, beside a group whose other columns are wider.
  for (std::size_t length = 20; length < 60; ++length) {
    report.rows.push_back(testing::row("count/" + std::string(length, 'n'), false, 1.0, 1.0));
  }
  report.rows[1].work.flops *= 100.0;
  report.left_out.push_back({"left/out", std::string(150, 'r') + " " + std::string(40, 's')});
  const Comparison compared = compare(report, report, 1.1);
  const std::string text = to_table(report, &compared);
  for (const std::string& line : lines_of(text)) {
    if (line.find("rrr") == std::string::npos) {
      EXPECT_LE(columns(line), 100u) << line;
    }
    EXPECT_THAT(line, Not(::testing::EndsWith(" ")));
  }
  EXPECT_THAT(text, AllOf(HasSubstr('\n' + ("  " + name) + '/' + name + '\n'),
                          HasSubstr("-fsome-option=19")));
}

TEST(BenchTable, NamesCannotMoveTheCursor) {
  Report report = testing::sample_report();
  report.rows[0].name = "prox_step/\x1b[2J\n";
  report.left_out[0].reason =
      "a\x1b"
      "b";
  report.machine.room = "cpu\r";
  for (const Format format : {Format::kTable, Format::kMarkdown}) {
    EXPECT_THAT(render(report, format), AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\r"))));
  }
}

TEST(BenchMarkdown, EveryTableLineHasTheCellsOfItsHead) {
  Report report = testing::sample_report();
  report.smoke = true;
  const Comparison compared = compare(report, report, 1.1);
  const std::string text = to_markdown(report, &compared);
  std::size_t cells = 0;
  int tables = 0;
  for (const std::string& line : lines_of(text)) {
    if (!line.starts_with('|')) {
      cells = 0;
      continue;
    }
    std::size_t bars = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '|' && (i == 0 || line[i - 1] != '\\')) ++bars;
    }
    if (cells == 0) ++tables;
    if (cells != 0) {
      EXPECT_EQ(bars, cells) << line;
    }
    cells = bars;
  }
  EXPECT_EQ(tables, 5);  // ceilings, three groups, comparison
  EXPECT_THAT(text, AllOf(HasSubstr("a,b\\|c \"quoted\" &lt;&amp;>"), HasSubstr("**Smoke run")));
}

/// RFC 4180 by a state machine of its own.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> lines(1, std::vector<std::string>(1));
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = lines.back().back();
    if (quoted && text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[i++];
    } else if (text[i] == '"') {
      EXPECT_TRUE(quoted || field.empty()) << "a quote inside a bare field at byte " << i;
      quoted = !quoted;
    } else if (!quoted && text[i] == ',') {
      lines.back().emplace_back();
    } else if (!quoted && text[i] == '\n') {
      lines.emplace_back(1);
    } else {
      field += text[i];
    }
  }
  EXPECT_FALSE(quoted);
  EXPECT_EQ(lines.back(), std::vector<std::string>{""}) << "the last line does not end";
  lines.pop_back();
  return lines;
}

std::vector<std::map<std::string, std::string>> csv_records(const std::string& text) {
  const auto lines = parse_csv(text);
  std::vector<std::map<std::string, std::string>> out;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    EXPECT_THAT(lines[i], SizeIs(lines[0].size())) << i;
    auto& record = out.emplace_back();
    for (std::size_t k = 0; k < lines[0].size(); ++k) record[lines[0][k]] = lines[i][k];
    EXPECT_THAT(record, SizeIs(lines[0].size())) << "two columns of one name";
  }
  return out;
}

double number(const std::string& text) {
  return std::strtod(text.c_str(), nullptr);
}

TEST(BenchCsv, HoldsEveryFigureWithAllItsDigits) {
  const Report report = testing::sample_report();
  const auto records = csv_records(to_csv(report));
  ASSERT_THAT(records, SizeIs(2 * 2 + 4 + 1));
  for (const auto& record : records) {
    EXPECT_EQ(record.at("processor"), "Test CPU <A&B> \"2\"");
    EXPECT_EQ(record.at("libraries"), "oneDNN=2.6.3");
    EXPECT_EQ(record.at("smoke"), "0");
  }
  EXPECT_EQ(records[0].at("kind"), "ceiling_before");
  EXPECT_EQ(number(records[0].at("gb_per_s")), 50.0);
  EXPECT_EQ(records[1].at("kind"), "ceiling_after");
  EXPECT_EQ(number(records[1].at("gb_per_s")), 48.0);
  EXPECT_EQ(records[1].at("footprint_bytes"), "200000000");
  EXPECT_EQ(records[3].at("kind"), "ceiling_after");
  EXPECT_EQ(records[3].at("gb_per_s"), "");
  const auto& product = records[5];
  EXPECT_EQ(product.at("kind"), "case");
  EXPECT_EQ(product.at("cache"), "warm");
  EXPECT_EQ(number(product.at("median_us")), 123.45);
  EXPECT_EQ(number(product.at("min_us")), 0.9 * 123.45);
  EXPECT_EQ(number(product.at("gflop_per_s")), gflop_per_s(report.rows[1]).value());
  EXPECT_EQ(product.at("ceiling_percent"), "");
  EXPECT_EQ(records[4].at("more"), "nnz=2541000;peak_bytes=1.5");
  EXPECT_EQ(number(records[4].at("ceiling_percent")), 80.0);
  EXPECT_EQ(records[4].at("traffic"), "stream 2:1");
  EXPECT_EQ(records[6].at("name"), "search/a,b|c \"quoted\" <&>");
  EXPECT_EQ(records[6].at("noise_percent"), "");
  EXPECT_EQ(records[8].at("kind"), "left_out");
  EXPECT_EQ(records[8].at("reason"), "needs 12.0 GB, 3.1 GB are free");
  EXPECT_EQ(records[8].at("median_us"), "");
}

TEST(BenchCsv, AnyTextComesBack) {
  testing::Random random(71);
  SCOPED_TRACE(random.seed());
  for (int i = 0; i < 200; ++i) {
    const Report report = testing::random_report(random);
    const auto records = csv_records(to_csv(report));
    const std::size_t first = 2 * report.ceilings.size();
    ASSERT_THAT(records, SizeIs(first + report.rows.size() + report.left_out.size()));
    for (std::size_t k = 0; k < report.rows.size(); ++k) {
      EXPECT_EQ(records[first + k].at("name"), report.rows[k].name);
      EXPECT_EQ(records[first + k].at("checked"), report.rows[k].checked);
      EXPECT_EQ(number(records[first + k].at("p90_us")), report.rows[k].timing.p90_us);
      EXPECT_EQ(records[first + k].at("room"), report.machine.room);
    }
  }
}

TEST(BenchCsv, HasTheComparisonOfItsRows) {
  const Report now = testing::sample_report();
  Report before = now;
  before.rows.erase(before.rows.begin());
  before.rows[0].timing.median_us = 2.0 * 123.45;
  before.rows[0].again.median_us = 2.0 * 123.45;
  const Comparison compared = compare(before, now, 1.1);
  const auto records = csv_records(to_csv(now, &compared));
  EXPECT_EQ(records[4].at("verdict"), "");
  EXPECT_EQ(records[5].at("verdict"), "faster");
  EXPECT_EQ(number(records[5].at("now_over_before")), 0.5);
  EXPECT_EQ(number(records[5].at("before_median_us")), 246.9);
}

TEST(BenchFormat, NamesAndTheirOutput) {
  for (const std::string_view name : {"table", "csv", "json", "markdown"}) {
    EXPECT_TRUE(format_named(name)) << name;
    EXPECT_THAT(std::string(kFormatNames), HasSubstr(std::string(name)));
  }
  EXPECT_FALSE(format_named("CSV"));
  EXPECT_FALSE(format_named(""));
  const Report report = testing::sample_report();
  EXPECT_THAT(render(report, *format_named("table")), StartsWith("cuthresh   0.1.0"));
  EXPECT_THAT(render(report, *format_named("csv")), StartsWith("kind,name,"));
  EXPECT_THAT(render(report, *format_named("json")), StartsWith("{\n"));
  EXPECT_THAT(render(report, *format_named("markdown")), StartsWith("- cuthresh: 0.1.0"));
  // An empty report is one too.
  for (const Format format : {Format::kTable, Format::kCsv, Format::kJson, Format::kMarkdown}) {
    EXPECT_THAT(render(Report{}, format), ::testing::EndsWith("\n"));
  }
}

}  // namespace
}  // namespace cuthresh::bench
