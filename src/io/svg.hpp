#pragma once

#include <string>
#include <string_view>

namespace cuthresh {

/// Text for XML: <, >, & and quotes escaped, control characters (no XML, however escaped) as
/// spaces.
std::string xml_text(std::string_view text);

/// Drawing with coordinates in pixels, from the left upper corner.
class Svg {
 public:
  enum class Anchor { kStart, kMiddle, kEnd };
  void text(double x, double y, Anchor anchor, std::string_view style, std::string_view text);
  void rect(double x, double y, double width, double height, std::string_view style);
  void line(double x1, double y1, double x2, double y2, std::string_view style);
  void dot(double x, double y, double radius, std::string_view style);
  /// What was drawn elsewhere, on top.
  void add(const Svg& other) { body_ += other.body_; }

  /// The file. `css` gives the styles named above as classes; `title` is for screen readers.
  std::string file(double width, double height, std::string_view title, std::string_view css) const;

 private:
  std::string body_;
};

}  // namespace cuthresh
