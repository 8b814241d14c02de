#pragma once

// What a run of cuthresh-bench finds out: plain values, which every format is written from.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace cuthresh::bench {

/// Microseconds a call.
struct Timing {
  double min_us = 0.0;
  double median_us = 0.0;
  double p90_us = 0.0;
  std::int64_t samples = 0;
  std::int64_t calls = 0;  ///< in each sample
};

/// What one call must do at the least, by its definition.
struct Work {
  double bytes = 0.0;  ///< read and written in memory; 0: not what limits this case
  double flops = 0.0;  ///< a multiply-add is two; 0: not what limits this case
};

/// The pattern of memory accesses whose speed is a case's ceiling.
enum class Traffic : std::uint8_t {
  kNone,
  kRead,   ///< x
  kCopy,   ///< y = x, one read to one write
  kStream  ///< y = y + x, two reads to one write
};

/// "read", "copy 1:1", "stream 2:1"; "" for kNone.
std::string name_of(Traffic traffic);

/// A loop that does nothing else, over as many bytes as the cases that it is the ceiling of.
struct Ceiling {
  Traffic traffic = Traffic::kNone;
  std::int64_t footprint = 0;  ///< bytes of the buffers that one call touches
  bool cold = false;
  std::string how;  ///< the fastest way found, e.g. "streaming stores"
  Timing first;     ///< before the cases
  Timing last;      ///< after them: how far the machine drifted
};

/// One case, whose result was checked in the same process.
struct Row {
  std::string name;   ///< "prox_step/fp32/plain/25m_161/zeros_90_random"
  std::string group;  ///< "prox_step", the first part of the name
  bool cold = false;  ///< on buffers rotated past the last-level cache
  Timing timing;
  Timing again;  ///< the same once more: their difference is the noise
  Work work;
  Traffic traffic = Traffic::kNone;
  std::optional<double> ceiling_gb_per_s;  ///< of the matching Ceiling, the better of its two
  std::string checked;  ///< what was compared, e.g. "25,000,000 weights to the bit, 161 counts"
  std::map<std::string, double> more;  ///< further figures, by name with unit: "nnz", "peak_bytes"
};

/// A case that was asked for and not run.
struct LeftOut {
  std::string name;
  std::string reason;  ///< "needs 12.0 GB, 3.1 GB are free"
};

struct Machine {
  std::string processor;  ///< as /proc/cpuinfo names it
  std::int64_t cores = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t cache_bytes = 0;  ///< the room's last level
  std::string room;              ///< Backend::description()
  std::string why;               ///< why this room was taken
  std::int64_t threads = 0;
  std::string compiler;
  std::string build;   ///< build type and flags
  std::string commit;  ///< "a1b2c3d", "-dirty" appended; "" outside a repository
  std::map<std::string, std::string> libraries;  ///< "oneDNN": "2.6.3"
  std::string date;                              ///< UTC, ISO 8601
};

struct Report {
  std::string version;  ///< of cuthresh
  Machine machine;
  bool smoke = false;  ///< small sizes and few samples: its times mean nothing
  std::vector<Ceiling> ceilings;
  std::vector<Row> rows;
  std::vector<LeftOut> left_out;
};

/// Of the medians; none when the case has no such work.
std::optional<double> gb_per_s(const Row& row);
std::optional<double> gflop_per_s(const Row& row);
/// gb_per_s over the ceiling's, 1 = at the ceiling; none without one.
std::optional<double> share_of_ceiling(const Row& row);
/// |again / timing − 1| of the medians; NaN when it was measured once only.
double noise(const Row& row);
/// GB/s of the better of its two measurements, by the medians; 0 for Traffic::kNone. Bytes moved,
/// as Work counts them: a stream over n floats and n floats, 8n bytes of buffers, moves 12n.
double gb_per_s(const Ceiling& ceiling);
/// The same of one of them.
double gb_per_s(const Ceiling& ceiling, const Timing& timing);

}  // namespace cuthresh::bench
