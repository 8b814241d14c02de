#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string_view>
#include <vector>

#include "bench/report/plot.hpp"
#include "report_cases.hpp"

namespace cuthresh::bench {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;
  double number(const std::string& attribute) const {
    return std::strtod(attributes.at(attribute).c_str(), nullptr);
  }
};

/// So much of XML as an SVG without comments, CDATA and prologue needs; whatever else it meets is a
/// failure.
class XmlReader {
 public:
  explicit XmlReader(std::string_view text) : rest_(text) {
    while (!rest_.empty() && !failed_) {
      rest_.front() == '<' ? tag() : characters();
    }
    if (!open_.empty()) fail("an element is not closed: " + elements_[open_.back()].name);
  }
  const std::vector<Element>& elements() const { return elements_; }

 private:
  void fail(const std::string& what) {
    failed_ = true;
    ADD_FAILURE() << what << " before: " << rest_.substr(0, 80);
  }
  std::string take_to(std::string_view ends) {
    const std::size_t end = std::min(rest_.find_first_of(ends), rest_.size());
    std::string out(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return out;
  }
  bool take(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  std::string decoded(const std::string& raw) {
    std::string out;
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (static_cast<unsigned char>(raw[i]) < 0x20 && raw[i] != '\n') fail("a control character");
      if (raw[i] != '&') {
        out += raw[i];
        continue;
      }
      static const std::map<std::string, char> kNamed = {
          {"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
      const std::size_t end = raw.find(';', i);
      const auto found =
          end == std::string::npos ? kNamed.end() : kNamed.find(raw.substr(i + 1, end - i - 1));
      if (found == kNamed.end()) {
        fail("a bare & in " + raw);
        return out;
      }
      out += found->second;
      i = end;
    }
    return out;
  }
  void characters() {
    const std::string text = decoded(take_to("<"));
    if (!open_.empty()) {
      elements_[open_.back()].text += text;
    } else if (text.find_first_not_of('\n') != std::string::npos) {
      fail("text outside the root");
    }
  }
  void tag() {
    take("<");
    if (take("/")) {
      const std::string name = take_to(">");
      if (!take(">") || open_.empty() || elements_[open_.back()].name != name)
        fail("wrong end tag");
      if (!open_.empty()) open_.pop_back();
      return;
    }
    if (open_.empty() && !elements_.empty()) fail("a second root");
    Element element{take_to(" />\n"), {}, ""};
    while (take(" ")) attribute(element);
    const bool empty = take("/");
    if (!take(">")) fail("an unfinished tag");
    elements_.push_back(element);
    if (!empty) open_.push_back(elements_.size() - 1);
  }
  void attribute(Element& element) {
    const std::string name = take_to("=");
    if (!take("=\"")) fail("an attribute without a value");
    const std::string value = take_to("\"<");
    if (!take("\"")) fail("an unfinished value");
    if (!element.attributes.emplace(name, decoded(value)).second) fail("an attribute twice");
  }

  std::string_view rest_;
  std::vector<Element> elements_;
  std::vector<std::size_t> open_;
  bool failed_ = false;
};

std::vector<Element> of_name(const std::vector<Element>& elements, const std::string& name) {
  std::vector<Element> out;
  for (const Element& element : elements) {
    if (element.name == name) out.push_back(element);
  }
  return out;
}

std::vector<std::string> texts(const std::vector<Element>& elements) {
  std::vector<std::string> out;
  for (const Element& element : of_name(elements, "text")) out.push_back(element.text);
  return out;
}

// The legend's swatches are 10 wide.
std::vector<Element> bars(const std::vector<Element>& elements) {
  std::vector<Element> out;
  for (const Element& rect : of_name(elements, "rect")) {
    if (rect.number("width") != 10.0) out.push_back(rect);
  }
  return out;
}

TEST(BenchPlot, IsWellFormedAndEscapesNames) {
  const std::vector<Element> elements = XmlReader(plot_svg(testing::sample_report())).elements();
  ASSERT_THAT(elements, Not(IsEmpty()));
  EXPECT_EQ(elements[0].name, "svg");
  EXPECT_EQ(elements[0].attributes.at("xmlns"), "http://www.w3.org/2000/svg");
  EXPECT_EQ(elements[0].attributes.at("width"), "800");
  EXPECT_THAT(of_name(elements, "script"), IsEmpty());
  EXPECT_THAT(texts(elements), Contains("a,b|c \"quoted\" <&>"));
  EXPECT_THAT(texts(elements), Contains(HasSubstr("Test CPU <A&B> \"2\"")));
}

TEST(BenchPlot, AnyReportIsDrawnInside) {
  testing::Random random(74);
  SCOPED_TRACE(random.seed());
  for (int i = 0; i < 200; ++i) {
    const std::vector<Element> elements =
        XmlReader(plot_svg(testing::random_report(random))).elements();
    const double width = elements.at(0).number("width");
    const double height = elements.at(0).number("height");
    for (const Element& e : elements) {
      for (const auto& [attribute, value] : e.attributes) {
        EXPECT_THAT(value, Not(HasSubstr("nan"))) << attribute;
        EXPECT_THAT(value, Not(HasSubstr("inf"))) << attribute;
      }
      if (!e.attributes.contains("x") || !e.attributes.contains("y")) continue;
      const double right = e.number("x") + (e.name == "rect" ? e.number("width") : 0.0);
      EXPECT_TRUE(e.number("x") >= 0.0 && right <= width) << e.name << e.text;
      EXPECT_TRUE(e.number("y") >= 0.0 && e.number("y") <= height) << e.name << e.text;
      if (e.name == "rect") {
        EXPECT_GE(e.number("width"), 0.0);
      }
    }
    if (HasFailure()) break;
  }
}

TEST(BenchPlot, BarsAndMarksAreToScale) {
  Report report;
  for (const double gb : {10.0, 20.0, 40.0}) {
    Row row = testing::row("a/" + std::to_string(gb), true, 1000.0, 1000.0);
    row.work.bytes = gb * 1e6;
    row.traffic = Traffic::kStream;
    row.ceiling_gb_per_s = 2.0 * gb;
    report.rows.push_back(row);
  }
  const std::vector<Element> elements = XmlReader(plot_svg(report)).elements();
  const std::vector<Element> rects = bars(elements);
  std::vector<double> marks;
  for (const Element& line : of_name(elements, "line")) {
    if (line.attributes.at("class") == "mark") marks.push_back(line.number("x1"));
  }
  ASSERT_THAT(rects, SizeIs(3));
  ASSERT_THAT(marks, SizeIs(4));  // the first is the legend's
  const double left = rects[0].number("x");
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(rects[i].number("x"), left);
    EXPECT_EQ(rects[i].attributes.at("class"), "cold");
    EXPECT_NEAR(rects[i].number("width") * static_cast<double>(4 >> i), rects[2].number("width"),
                0.3);
    EXPECT_NEAR(marks[i + 1] - left, 2.0 * rects[i].number("width"), 0.2);
  }
  EXPECT_THAT(texts(elements), Contains("50 %"));
  EXPECT_THAT(texts(elements), Contains("40.0 GB/s"));
}

TEST(BenchPlot, NoNameIsCut) {
  Report report = testing::sample_report();
  const std::string part(35, 'n');
  const std::string whole = part + '/' + part + '/' + std::string(120, 'w');
  report.rows.push_back(testing::row("group/" + whole, true, 1.0, 1.0));
  const std::vector<Element> elements = XmlReader(plot_svg(report)).elements();
  // Its lines, one below the other, are the only texts of n, w and '/'.
  std::string together;
  double y = 0.0;
  for (const Element& element : of_name(elements, "text")) {
    if (element.text.find_first_not_of("nw/") != std::string::npos) continue;
    EXPECT_LE(element.text.size(), 46u);
    EXPECT_GT(element.number("y"), y);
    y = element.number("y");
    together += element.text;
  }
  EXPECT_EQ(together, whole);
}

TEST(BenchPlot, EveryRowIsSomewhere) {
  const Report report = testing::sample_report();
  const std::vector<Element> elements = XmlReader(plot_svg(report)).elements();
  // One row with GB/s, one with GFLOP/s, two with their time only.
  EXPECT_THAT(bars(elements), SizeIs(2));
  EXPECT_THAT(of_name(elements, "circle"), SizeIs(2));
  for (const char* const figure : {"40.0 GB/s", "80 %", "265 GFLOP/s", "2.50 s", "812 ns"}) {
    EXPECT_THAT(texts(elements), Contains(figure));
  }
}

}  // namespace
}  // namespace cuthresh::bench
