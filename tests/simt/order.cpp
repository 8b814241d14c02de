// In which order blocks and threads run.

#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "simt/interpreter.hpp"

namespace cuthresh::simt {
namespace {

std::pair<Order, std::uint32_t>& setting() {
  static std::pair<Order, std::uint32_t> value = [] {
    const char* text = std::getenv("CTH_SIMT_ORDER");
    return parse_order(text == nullptr ? "" : text);
  }();
  return value;
}

}  // namespace

std::pair<Order, std::uint32_t> parse_order(std::string_view text) {
  if (text.empty() || text == "forward") return {Order::kForward, 1};
  if (text == "reverse") return {Order::kReverse, 1};
  if (text == "shuffled") return {Order::kShuffled, 1};
  constexpr std::string_view kPrefix = "shuffled:";
  if (text.starts_with(kPrefix)) {
    std::uint32_t seed = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + kPrefix.size(), end, seed);
    if (error == std::errc{} && stop == end) return {Order::kShuffled, seed};
  }
  throw std::invalid_argument(
      "CTH_SIMT_ORDER: forward, reverse, shuffled or shuffled:seed, not \"" + std::string(text) +
      "\"");
}

void set_order(Order order, std::uint32_t seed) {
  setting() = {order, seed};
}
Order current_order() {
  return setting().first;
}
std::uint32_t current_seed() {
  return setting().second;
}
std::string order_name() {
  switch (current_order()) {
    case Order::kForward:
      return "forward";
    case Order::kReverse:
      return "reverse";
    case Order::kShuffled:
      break;
  }
  return "shuffled (seed " + std::to_string(current_seed()) + ")";
}

}  // namespace cuthresh::simt
