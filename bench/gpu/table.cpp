// cuthresh-gpu-table: the first timings on a device, as JSON on standard output (or --out FILE).
// A row appears only when its result was checked in the same process. Exit status: 0 all rows are
// there, 1 a check failed or CUDA did, 77 no GPU.

#include <bit>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bench/gpu/ceilings.hpp"
#include "bench/gpu/timing.hpp"
#include "core/registry.hpp"
#include "kernels/math/bracket.hpp"
#include "kernels/math/philox.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::bench {
namespace {

using Json = nlohmann::ordered_json;
using testing::expect_success;
using testing::is_small;
using testing::sized;
using testing::StepLoop;
using testing::stream_of;

constexpr std::uint64_t kSeed = 4711;
constexpr float kWeightBound = 0.5f;
constexpr float kGradientBound = 1.0f;
// A step moves a weight by 2e-7 at most: over all samples it stays the random number that it is.
constexpr float kAlpha = 1e-7f;
constexpr float kLambda = 1.0f;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("check failed: " + what);
}

float uniform_at(std::int64_t i, std::uint32_t stream, float bound) {
  const Philox words = Philox::block(kSeed, static_cast<std::uint64_t>(i / 4), stream,
                                     RandomPurpose::kInitialisation);
  return uniform_symmetric(words.words[i % 4], bound);
}

struct Case {
  std::string name;
  std::vector<std::int64_t> sizes;  // of the tensors
  std::int64_t total() const {
    std::int64_t sum = 0;
    for (const std::int64_t n : sizes) sum += n;
    return sum;
  }
};

/// 25 M weights in as many tensors as a ResNet-50 has, of very different sizes.
std::vector<std::int64_t> many_tensors(std::int64_t total) {
  std::vector<std::int64_t> sizes;
  std::int64_t left = total;
  for (int i = 0; i < 160; ++i) {
    // Every fourth is large, as convolutions between their normalisations are.
    sizes.push_back(i % 4 == 0 ? total / 60 : total / 100000 + 16 * (i % 30));
    left -= sizes.back();
  }
  sizes.push_back(left);
  return sizes;
}

class Table {
 public:
  Table() : room_(cuda::make_cuda_backend(cuda::Precision::kFp32)), stream_(stream_of(*room_)) {
    int device = 0;
    int l2 = 0;
    expect_success(cudaGetDevice(&device), "cudaGetDevice");
    expect_success(cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device), "L2 size");
    l2_bytes_ = l2;
  }

  Json run() {
    const std::int64_t m = 1'000'000;
    const std::vector<Case> cases = {
        {"25k in 4 tensors", {768, 16384, 8192, 64}},
        {"1M", {sized(m, 8192)}},
        {"25M", {sized(25 * m, 40000)}},
        {"25M in 161 tensors", many_tensors(sized(25 * m, 120000))},
        {"256M", {sized(std::int64_t{1} << 28, 65536)}},
    };
    for (const Case& c : cases) {
      for (const bool cold : {false, true}) step_rows(c, cold);
    }
    for (const std::int64_t n : {sized(m, 8192), sized(25 * m, 40000)}) median_row(n);
    training_rows();
    return {{"device", room_->description()}, {"l2_bytes", l2_bytes_}, {"rows", rows_}};
  }

 private:
  void add_row(const std::string& what, const std::string& name, const Timing& t, double bytes,
               double ceiling_us) {
    Json row = {{"what", what},
                {"case", name},
                {"min_us", t.min},
                {"median_us", t.median},
                {"p90_us", t.p90},
                {"samples", t.samples},
                {"calls_a_sample", t.calls}};
    if (bytes > 0) {
      row["bytes"] = bytes;
      row["gb_per_s"] = bytes / t.median / 1e3;
    }
    if (ceiling_us > 0) row["percent_of_stream_ceiling"] = 100.0 * ceiling_us / t.median;
    rows_.push_back(std::move(row));
  }

  /// The fused step and what moves the same bytes, on `sets` copies of a list that together exceed
  /// the cache four times (cold), or on one (warm).
  void step_rows(const Case& c, bool cold) {
    const std::int64_t n = (c.total() + 3) / 4 * 4;  // sets start at 16 bytes
    const std::int64_t a_set = 8 * n;
    const std::int64_t sets =
        cold ? std::max<std::int64_t>(1, (4 * l2_bytes_ + a_set - 1) / a_set) : 1;
    // One set that is larger than the cache is always cold.
    if (!cold && a_set >= 4 * l2_bytes_) return;
    if (cold && is_small() && sets > 4) return;
    const std::string name = c.name + (cold ? ", cold" : ", warm");
    Array<float> w(*room_, sets * n), g(*room_, sets * n);
    const auto reset = [&] {
      room_->initialise_uniform(w.data(), w.size(), kWeightBound, kSeed, 1);
      room_->initialise_uniform(g.data(), g.size(), kGradientBound, kSeed, 2);
    };

    const double bytes = 12.0 * static_cast<double>(c.total());
    double ceiling = 0.0;
    if (c.sizes.size() == 1 || c.total() < 1'000'000) {
      ceiling = ceiling_rows(name, w, g, n, sets, reset);
      ceilings_[c.total() / 100 + (cold ? 1 : 0)] = ceiling;
    } else {
      const auto found = ceilings_.find(c.total() / 100 + (cold ? 1 : 0));
      if (found != ceilings_.end()) ceiling = found->second;
    }

    reset();
    std::vector<std::unique_ptr<ProxPlan>> plans;
    const auto groups = static_cast<std::int32_t>(c.sizes.size());
    const std::vector<float> lambda(c.sizes.size(), kLambda);
    for (std::int64_t set = 0; set < sets; ++set) {
      std::vector<ProxTensor> list;
      std::int64_t at = set * n;
      for (std::size_t t = 0; t < c.sizes.size(); ++t) {
        list.push_back({w.data() + at, g.data() + at, c.sizes[t], static_cast<std::int32_t>(t)});
        at += c.sizes[t];
      }
      plans.push_back(room_->make_plan(list, groups));
      room_->set_lambda(*plans.back(), lambda);
      room_->set_learning_rate(*plans.back(), kAlpha);
      room_->set_stop(*plans.back(), {{CountBand{0, 0}}, 1, 0});  // looked at, never met
    }
    check_step(c, *plans.front(), w, name);
    const Timing t = time_graph(stream_, sets, [&](std::int64_t set) {
      room_->prox_step(*plans[static_cast<std::size_t>(set)]);
    });
    const StepStatus& status = room_->read_status(*plans.front());
    if (status.stopped || status.nonfinite != 0 || status.steps < 2 * t.calls / sets) {
      fail(name + ": steps were not taken");
    }
    if (2 * status.total < static_cast<std::uint64_t>(c.total())) fail(name + ": weights ran dry");
    add_row("fused step", name, t, bytes, ceiling);
  }

  /// All weights to the bit and all counts, after one step of the first set.
  void check_step(const Case& c, ProxPlan& plan, const Array<float>& w, const std::string& name) {
    room_->prox_step(plan);
    const StepStatus& status = room_->read_status(plan);
    const ProxGradientStep<float> step{kAlpha, kAlpha * kLambda};
    std::vector<float> got(1 << 20);
    std::int64_t i = 0;
    for (std::size_t t = 0; t < c.sizes.size(); ++t) {
      std::uint64_t nonzero = 0;
      for (const std::int64_t end = i + c.sizes[t]; i < end;) {
        const std::int64_t count = std::min<std::int64_t>(end - i, 1 << 20);
        room_->download(got.data(), w.data() + i, static_cast<std::size_t>(count) * sizeof(float));
        for (std::int64_t e = 0; e < count; ++e, ++i) {
          const float want = step(uniform_at(i, 1, kWeightBound), uniform_at(i, 2, kGradientBound));
          if (std::bit_cast<std::uint32_t>(want) !=
              std::bit_cast<std::uint32_t>(got[static_cast<std::size_t>(e)])) {
            fail(name + ": weight " + std::to_string(i));
          }
          nonzero += is_nonzero(want) ? 1U : 0U;
        }
      }
      if (status.nnz[t] != nonzero) fail(name + ": count of tensor " + std::to_string(t));
    }
  }

  /// Copy and stream on the same buffers; returns the median of the faster stream.
  template <class Reset>
  double ceiling_rows(const std::string& name, Array<float>& w, Array<float>& g, std::int64_t n,
                      std::int64_t sets, const Reset& reset) {
    const std::vector<std::pair<const char*, Spread>> spreads = {{"resident", Spread::kResident},
                                                                 {"tiles", Spread::kTiles}};
    const auto some = static_cast<std::size_t>(std::min<std::int64_t>(n, 1 << 20));
    std::vector<float> got(some);
    double best = 0.0;
    for (const auto& [spread_name, spread] : spreads) {
      reset();
      add(g.data(), w.data(), n, spread, stream_);
      room_->download(got.data(), w.data(), some * sizeof(float));
      for (std::size_t i = 0; i < some; ++i) {
        const auto at = static_cast<std::int64_t>(i);
        if (got[i] != uniform_at(at, 1, kWeightBound) + uniform_at(at, 2, kGradientBound)) {
          fail(name + ": stream");
        }
      }
      const Timing stream = time_graph(stream_, sets, [&](std::int64_t set) {
        add(g.data() + set * n, w.data() + set * n, n, spread, stream_);
      });
      add_row(std::string("ceiling, stream 2:1, ") + spread_name, name, stream,
              12.0 * static_cast<double>(n), 0.0);
      best = best == 0.0 ? stream.median : std::min(best, stream.median);

      reset();
      copy(g.data(), w.data(), n, spread, stream_);
      room_->download(got.data(), w.data(), some * sizeof(float));
      for (std::size_t i = 0; i < some; ++i) {
        if (got[i] != uniform_at(static_cast<std::int64_t>(i), 2, kGradientBound))
          fail(name + ": copy");
      }
      const Timing copied = time_graph(stream_, sets, [&](std::int64_t set) {
        copy(g.data() + set * n, w.data() + set * n, n, spread, stream_);
      });
      add_row(std::string("ceiling, copy 1:1, ") + spread_name, name, copied,
              8.0 * static_cast<double>(n), 0.0);
    }
    return best;
  }

  /// Wall time of a bracket median with its reading back, 4 bytes a weight and pass.
  void median_row(std::int64_t n) {
    const std::string name = std::to_string(n) + " weights, one layer";
    Array<float> g(*room_, n);
    room_->initialise_uniform(g.data(), n, kGradientBound, kSeed, 2);
    const ProxTensor tensor{g.data(), g.data(), n, 0};
    const auto plan = room_->make_plan({&tensor, 1}, 1);
    const std::pair<float, float> bracket{0.25f, 0.75f};
    const MedianResult got = room_->read_bracket_medians(*plan, {&bracket, 1}).front();
    // By the definition: how many lie below it, how many are equal.
    std::uint64_t inside = 0;
    std::uint64_t below = 0;
    std::uint64_t equal = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const float x = magnitude_from_key(magnitude_key(uniform_at(i, 2, kGradientBound)));
      if (!(x > bracket.first && x < bracket.second)) continue;
      ++inside;
      if (got.median && x < *got.median) ++below;
      if (got.median && x == *got.median) ++equal;
    }
    const std::uint64_t rank = (inside - 1) / 2;
    if (got.inside != inside || !got.median || below > rank || below + equal <= rank) {
      fail("median of " + name);
    }
    const Timing t = time_calls(1, [&] { room_->read_bracket_medians(*plan, {&bracket, 1}); });
    add_row("bracket median with its reading back", name, t, 4.0 * static_cast<double>(n), 0.0);
  }

  /// The Mackey-Glass net: 1,000 rows, 6-128-128-64-1, forward, loss, backward, fused step.
  void training_rows() {
    const std::string name = "Mackey-Glass net, full batch";
    const int checked = is_small() ? 3 : 20;
    const ChosenBackend cpu = make_backend({"cpu", "reference", 0, "fp32"});
    StepLoop want(*cpu.backend, 11);
    StepLoop loop(*room_, 11);
    for (int i = 0; i < checked; ++i) {
      want.step();
      loop.step();
    }
    // cuBLAS adds in another order: float32 products of up to 1,000 terms.
    if (!(std::abs(loop.loss() - want.loss()) <= 1e-4 * want.loss())) fail(name + ": loss");
    const auto counts = std::pair{loop.status().total, want.status().total};
    const double apart =
        std::abs(static_cast<double>(counts.first) - static_cast<double>(counts.second));
    if (apart > 2e-3 * static_cast<double>(counts.second) + 1.0) fail(name + ": count");

    loop.set(1e-6f, 1e-3f);  // nothing much happens from here on
    const std::int64_t steps = is_small() ? 4 : 256;
    const Timing enqueued = time_calls(steps, [&] {
      for (std::int64_t i = 0; i < steps; ++i) loop.step();
      room_->synchronize();
    });
    add_row("training step, enqueued", name, enqueued, 0.0, 0.0);
    const Timing replayed = time_graph(stream_, 1, [&](std::int64_t) { loop.step(); });
    add_row("training step, graph replay", name, replayed, 0.0, 0.0);
    if (loop.status().nonfinite != 0) fail(name + ": non-finite");
  }

  std::unique_ptr<Backend> room_;
  cudaStream_t stream_;
  std::int64_t l2_bytes_ = 0;
  std::map<std::int64_t, double> ceilings_;  // by size and temperature
  Json rows_ = Json::array();
};

int run(const std::string& out) {
  const std::string reason = cuda::unavailable();
  if (!reason.empty()) {
    std::cerr << "cuthresh-gpu-table: skipped: " << reason << "\n";
    return 77;
  }
  const std::string text = Table().run().dump(2) + "\n";
  if (out.empty()) {
    std::cout << text;
    return 0;
  }
  std::ofstream file(out);
  file << text;
  file.close();
  if (!file) throw std::runtime_error("cannot write " + out);
  return 0;
}

}  // namespace
}  // namespace cuthresh::bench

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && (words.size() != 2 || words[0] != "--out")) {
    std::cerr << "usage: cuthresh-gpu-table [--out FILE]\n";
    return 2;
  }
  try {
    return cuthresh::bench::run(words.empty() ? "" : words[1]);
  } catch (const std::exception& error) {
    std::cerr << "cuthresh-gpu-table: " << error.what() << "\n";
    return 1;
  }
}
