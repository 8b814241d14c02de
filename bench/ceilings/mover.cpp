#include "bench/ceilings/mover.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include "core/array.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::uint64_t kSeed = 271828;
// Entries that are held on the host at a time; of a set with more than kMostPieces, as many spread
// over it.
constexpr std::int64_t kPiece = std::int64_t{1} << 20;
constexpr std::int64_t kMostPieces = 64;

class MoverWorkload final : public Workload {
 public:
  MoverWorkload(const Room& room, Traffic traffic, std::int64_t footprint, std::int64_t sets,
                Mover mover)
      : room_(room.backend),
        traffic_(traffic),
        n_(length(traffic, footprint)),
        mover_(std::move(mover)),
        x_(room.backend, n_ * sets),
        y_(room.backend, y_length() * sets) {
    room_.initialise_uniform(x_.data(), x_.size(), 1.0f, kSeed, 0);
    room_.initialise_uniform(y_.data(), y_.size(), 1.0f, kSeed, 1);
  }

  std::string check() override { return traffic_ == Traffic::kRead ? check_sum() : check_values(); }

  void call(std::int64_t set) override {
    mover_(x_.data() + set * n_, y_.data() + set * y_length(), n_);
  }

  void check_after(std::int64_t) override {
    if (traffic_ == Traffic::kRead) return;  // any 32 bits are a sum
    for (const float value : piece(y_, 0, std::min(n_, kPiece))) {
      if (!std::isfinite(value)) throw CheckFailed("values are not finite after timing");
    }
  }

 private:
  static std::int64_t length(Traffic traffic, std::int64_t footprint) {
    const std::int64_t bytes = traffic == Traffic::kRead ? 4 : 8;  // an entry, of all arrays
    return std::max<std::int64_t>(1, footprint / bytes / kMoverUnit) * kMoverUnit;
  }
  std::int64_t y_length() const { return traffic_ == Traffic::kRead ? kMoverUnit : n_; }

  std::vector<float> piece(const Array<float>& from, std::int64_t first, std::int64_t count) {
    std::vector<float> host(static_cast<std::size_t>(count));
    room_.download(host.data(), from.data() + first, host.size() * sizeof(float));
    return host;
  }

  /// Modulo 2³², so that the order does not matter.
  static std::uint32_t sum_of_bits(const std::vector<float>& values) {
    std::uint32_t sum = 0;
    for (const float value : values) sum += std::bit_cast<std::uint32_t>(value);
    return sum;
  }

  std::string check_sum() {
    std::uint32_t want = sum_of_bits(piece(y_, 0, y_length()));
    call(0);
    for (std::int64_t first = 0; first < n_; first += kPiece) {
      want += sum_of_bits(piece(x_, first, std::min(kPiece, n_ - first)));
    }
    const std::uint32_t got = sum_of_bits(piece(y_, 0, y_length()));
    if (got != want) throw CheckFailed(fmt::format("the sum of all bits is {}, not {}", got, want));
    return fmt::format("the sum of {} floats' bits", n_);
  }

  std::string check_values() {
    const std::int64_t count = std::min(kPiece, n_);
    const std::int64_t pieces = std::min(kMostPieces, (n_ + kPiece - 1) / kPiece);
    const auto first_of = [&](std::int64_t i) {
      return pieces == 1 ? 0 : (n_ - count) / (pieces - 1) * i;
    };
    std::vector<std::vector<float>> before;
    for (std::int64_t i = 0; i < pieces; ++i) before.push_back(piece(y_, first_of(i), count));
    call(0);
    for (std::int64_t i = 0; i < pieces; ++i) {
      compare(first_of(i), count, before[static_cast<std::size_t>(i)]);
    }
    return fmt::format("{} floats to the bit", pieces * count);
  }

  void compare(std::int64_t first, std::int64_t count, const std::vector<float>& before) {
    const std::vector<float> x = piece(x_, first, count);
    const std::vector<float> y = piece(y_, first, count);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float want = traffic_ == Traffic::kStream ? before[i] + x[i] : x[i];
      if (y[i] != want) {
        throw CheckFailed(fmt::format("entry {} is {}, not {}",
                                      first + static_cast<std::int64_t>(i), y[i], want));
      }
    }
  }

  Backend& room_;
  Traffic traffic_;
  std::int64_t n_;
  Mover mover_;
  Array<float> x_, y_;
};

}  // namespace

std::unique_ptr<Workload> make_mover_workload(const Room& room, Traffic traffic,
                                              std::int64_t footprint, std::int64_t sets,
                                              Mover mover) {
  return std::make_unique<MoverWorkload>(room, traffic, footprint, sets, std::move(mover));
}

}  // namespace cuthresh::bench
