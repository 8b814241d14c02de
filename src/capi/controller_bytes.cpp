// A controller's state as bytes: numbers little-endian, whatever the machine.
//
//   "CTHRCTRL"  8 bytes
//   u32 version (1), u32 targets, u64 groups, i64 steps of the training, i64 updates so far,
//   i64 steps taken, f32 λ[groups], f32 integral part of log λ[targets],
//   u64 FNV-1a of all that comes before

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <string_view>

#include "backend/checks.hpp"
#include "capi/controller.hpp"
#include "capi/handles.hpp"
#include "core/fingerprint.hpp"

namespace cuthresh::capi {
namespace {

constexpr std::string_view kMagic = "CTHRCTRL";
constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kFixedBytes = kMagic.size() + 4 + 4 + 8 + 8 + 8 + 8 + 8;
constexpr char kBytes[] = "bytes";

/// Puts numbers one after another; the span is large enough.
class ByteWriter {
 public:
  explicit ByteWriter(std::span<std::byte> bytes) : bytes_(bytes) {}

  template <class Unsigned>
  void put(Unsigned value) {
    for (std::size_t i = 0; i < sizeof value; ++i) {
      bytes_[at_++] = static_cast<std::byte>(value >> (8 * i) & 0xFFU);
    }
  }
  void put_signed(std::int64_t value) { put(static_cast<std::uint64_t>(value)); }
  void put_float(float value) { put(std::bit_cast<std::uint32_t>(value)); }
  std::size_t at() const { return at_; }

 private:
  std::span<std::byte> bytes_;
  std::size_t at_ = 0;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class Unsigned>
  Unsigned take() {
    Unsigned value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i) {
      value |= static_cast<Unsigned>(bytes_[at_++]) << (8 * i);
    }
    return value;
  }
  std::int64_t take_signed() { return static_cast<std::int64_t>(take<std::uint64_t>()); }
  float take_float() { return std::bit_cast<float>(take<std::uint32_t>()); }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

[[noreturn]] void refuse_bytes(const std::string& what, const std::string& value,
                               const std::string& remedy) {
  invalid(argument("cth_controller_load", kBytes), what, value, remedy);
}

void require_same(const char* what, std::uint64_t saved, std::uint64_t here) {
  if (saved == here) return;
  refuse_bytes("saved with another number of " + std::string(what) + " than this controller has, " +
                   std::to_string(here),
               std::to_string(saved), "create the controller as the saved one was");
}

}  // namespace

std::size_t Controller::saved_bytes() const {
  return kFixedBytes + 4 * (plan_->groups + targets_.size());
}

void Controller::save(std::span<std::byte> bytes) {
  const ControlState state = plan_->backend().read_control(*plan_->room_plan);
  ByteWriter out(bytes);
  for (const char letter : kMagic) out.put(static_cast<std::uint8_t>(letter));
  out.put(kFormat);
  out.put(static_cast<std::uint32_t>(targets_.size()));
  out.put(static_cast<std::uint64_t>(plan_->groups));
  out.put_signed(schedule_.steps);
  out.put_signed(updates_);
  out.put_signed(state.steps);
  for (const float lambda : state.lambda) out.put_float(lambda);
  for (const float log_integral : state.log_integral) out.put_float(log_integral);
  out.put(fnv_1a(bytes.first(out.at())));
}

void Controller::load(std::span<const std::byte> bytes) {
  constexpr std::size_t kHead = kMagic.size() + 4;
  const auto is_letter = [](std::byte byte, char letter) {
    return static_cast<char>(byte) == letter;
  };
  if (bytes.size() < kHead ||
      !std::equal(kMagic.begin(), kMagic.end(), bytes.begin(),
                  [&](char letter, std::byte byte) { return is_letter(byte, letter); })) {
    refuse_bytes("no state of a controller", std::to_string(bytes.size()) + " bytes",
                 "pass what cth_controller_save wrote");
  }
  ByteReader in(bytes.subspan(kMagic.size()));
  const auto format = in.take<std::uint32_t>();
  if (format != kFormat) {
    refuse_bytes("written by a later version of this library, in format",
                 std::to_string(format) + ", known 1", "load it with that version");
  }
  if (bytes.size() < kFixedBytes ||
      ByteReader(bytes.last(8)).take<std::uint64_t>() != fnv_1a(bytes.first(bytes.size() - 8))) {
    refuse_bytes("the state is damaged or cut short", std::to_string(bytes.size()) + " bytes",
                 "pass all that cth_controller_save wrote");
  }
  require_same("targets", in.take<std::uint32_t>(), targets_.size());
  require_same("groups", in.take<std::uint64_t>(), plan_->groups);
  require_same("steps", static_cast<std::uint64_t>(in.take_signed()),
               static_cast<std::uint64_t>(schedule_.steps));
  require_same("bytes", bytes.size(), saved_bytes());
  const std::int64_t updates = in.take_signed();
  ControlState state;
  state.steps = in.take_signed();
  for (std::size_t i = 0; i < plan_->groups; ++i) state.lambda.push_back(in.take_float());
  for (std::size_t i = 0; i < targets_.size(); ++i) state.log_integral.push_back(in.take_float());
  if (updates < 0) {
    refuse_bytes("the number of updates must not be negative", std::to_string(updates),
                 "pass what cth_controller_save wrote");
  }
  check_state(state, plan_->groups, targets_.size());
  restore(updates, state);
}

/// Frozen zeros are those of the weights, which are back.
void Controller::restore(std::int64_t updates, const ControlState& state) {
  Backend& backend = plan_->backend();
  start_run();
  backend.restore_control(*plan_->room_plan, state);
  if (updates >= schedule_.debias_at) backend.freeze(*plan_->room_plan);
  updates_ = updates;
  plan_->lambda = state.lambda;  // of groups without a target; those of targets it does not hold
}

}  // namespace cuthresh::capi
