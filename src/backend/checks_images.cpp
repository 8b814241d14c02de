#include "backend/checks_images.hpp"

#include <algorithm>
#include <string>

#include "backend/check_values.hpp"

namespace cuthresh {

void check_images(const GatherImages& args) {
  const std::string where = "gather_images";
  const ImageShape& s = args.shape;
  check_extent(where, "rows", args.rows, 0);
  check_extent(where, "height", s.height, 1);
  check_extent(where, "width", s.width, 1);
  check_extent(where, "channels", s.channels, 1);
  check_product(where, "an image", s.height, s.width);
  check_product(where, "an image", s.positions(), s.channels);
  if (s.elements() >= std::int64_t{1} << 31) {
    refuse(where, "an image must have fewer than 2^31 elements", std::to_string(s.elements()),
           "use smaller images");
  }
  check_product(where, "to", args.rows, s.elements());
  const std::int64_t most = std::min(s.height, s.width) - 1;
  if (args.crop < 0 || args.crop > most) {
    refuse(where,
           "crop must be from 0 to " + std::to_string(most) +
               ", so that something of the image stays in sight",
           std::to_string(args.crop), "crop by fewer pixels");
  }
  if ((args.crop > 0 || args.flip) && args.rows >= std::int64_t{1} << 32) {
    refuse(where, "at most 2^32 - 1 rows can be moved at random", std::to_string(args.rows),
           "gather fewer at a time");
  }
  if (args.rows == 0) return;
  check_pointer(where, "to", args.to);
  check_pointer(where, "from", args.from, 1);
  check_pointer(where, "scale", args.scale);
  check_pointer(where, "shift", args.shift);
  if (args.index != nullptr) check_pointer(where, "index", args.index, alignof(std::int64_t));
}

}  // namespace cuthresh
