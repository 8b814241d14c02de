#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "bench/cases/cases.hpp"
#include "bench/cases/lists.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::uint32_t kDrawnStream = 2;
constexpr float kDrawnBound = 1.0f;

/// What lists hold: values with zeros, or gradients by the room's own generator.
enum class Contents : std::uint8_t { kWeights, kWeightsAndGradients, kDrawnGradients };

struct ListOfCase {
  Room room;
  ListShape shape;
  ListSource source;
};

/// Magnitudes of the drawn gradients, piece by piece, as the host draws them.
void for_magnitudes(const ListOfCase& list,
                    const std::function<void(const ListPiece&, std::span<const float>)>& look) {
  std::vector<float> block(static_cast<std::size_t>(std::min(list.shape.extent, kListBlock)));
  for_blocks(list.shape, [&](const ListPiece& piece) {
    in_parallel(list.room.threads, piece.count, [&](std::int64_t begin, std::int64_t end) {
      const auto part = std::span(block).subspan(static_cast<std::size_t>(begin),
                                                 static_cast<std::size_t>(end - begin));
      draw(piece.first + begin, part, kDrawnBound, kDrawnStream);
      for (float& g : part) g = std::abs(g);
    });
    look(piece, std::span(block).first(static_cast<std::size_t>(piece.count)));
  });
}

/// Nonzero weights of each tensor.
struct CountQuestion {
  using Answer = std::vector<std::uint64_t>;
  static constexpr Contents kContents = Contents::kWeights;

  Answer ask(Backend& room, ProxPlan& plan) const { return room.read_nonzeros(plan); }

  std::string check(const ListOfCase& list, const Answer& got) const {
    Answer want(list.shape.sizes.size(), 0);
    ListValues block = list.source.make_block(list.shape.extent, false);
    for_blocks(list.shape, [&](const ListPiece& piece) {
      list.source.fill(piece.first, piece.count, block, list.room.threads);
      for (std::int64_t i = 0; i < piece.count; ++i) {
        want[piece.tensor] += block.w[static_cast<std::size_t>(i)] != 0.0f ? 1U : 0U;
      }
    });
    for (std::size_t t = 0; t < want.size(); ++t) {
      if (got[t] == want[t]) continue;
      throw CheckFailed(
          fmt::format("tensor {}: {} nonzero weights, expected {}", t, got[t], want[t]));
    }
    return "the counts of " + list.shape.text();
  }
};

/// The certificate. λ lies below the largest |g| of the zeros, so that these leave a residual too.
struct KktQuestion {
  using Answer = std::vector<KktResult>;
  static constexpr Contents kContents = Contents::kWeightsAndGradients;
  static constexpr float kLeastLambda = 1.0f / 64.0f;

  void prepare(Backend& room, ProxPlan& plan, const ListShape& shape) const {
    room.set_lambda(plan, lambdas_of(shape, kLeastLambda));
  }
  Answer ask(Backend& room, ProxPlan& plan) const { return room.read_kkt(plan); }

  /// Maxima in float64, where they are exact: rounding keeps order, so that the float32 maximum is
  /// this one rounded.
  struct Residuals {
    std::uint64_t nonzeros = 0;
    std::uint64_t zeros = 0;
    double on_nonzero = 0.0;
    double on_zero = 0.0;

    void add(double w, double g, double lambda) {
      if (w != 0.0) {
        ++nonzeros;
        on_nonzero = std::max(on_nonzero, std::abs(g + std::copysign(lambda, w)));
      } else {
        ++zeros;
        on_zero = std::max(on_zero, std::abs(g) - lambda);
      }
    }
    bool is(const KktResult& got) const {
      return got.nonzeros == nonzeros && got.zeros == zeros &&
             got.on_nonzero == static_cast<float>(on_nonzero) &&
             got.on_zero == static_cast<float>(on_zero);
    }
  };

  std::string check(const ListOfCase& list, const Answer& got) const {
    const std::vector<float> lambda = lambdas_of(list.shape, kLeastLambda);
    std::vector<Residuals> want(lambda.size());
    ListValues block = list.source.make_block(list.shape.extent, false);
    for_blocks(list.shape, [&](const ListPiece& piece) {
      list.source.fill(piece.first, piece.count, block, list.room.threads);
      for (std::int64_t i = 0; i < piece.count; ++i) {
        const auto at = static_cast<std::size_t>(i);
        want[piece.tensor].add(static_cast<double>(block.w[at]), static_cast<double>(block.g[at]),
                               static_cast<double>(lambda[piece.tensor]));
      }
    });
    for (std::size_t t = 0; t < want.size(); ++t) {
      if (want[t].is(got[t])) continue;
      throw CheckFailed(fmt::format(
          "tensor {}: residuals {:.9g} on {} nonzero weights and {:.9g} on {} zeros, expected "
          "{:.9g} on {} and {:.9g} on {}",
          t, got[t].on_nonzero, got[t].nonzeros, got[t].on_zero, got[t].zeros, want[t].on_nonzero,
          want[t].nonzeros, want[t].on_zero, want[t].zeros));
    }
    return "residuals and counts of " + list.shape.text() + ", exactly as in float64";
  }
};

/// How the numbers that matter lie about a value that is said to have some rank.
struct Ranks {
  std::uint64_t inside = 0;
  std::uint64_t below = 0;
  std::uint64_t equal = 0;

  void add(float x, const std::optional<float>& value) {
    ++inside;
    if (value && x < *value) ++below;
    if (value && x == *value) ++equal;
  }
  bool has_rank(std::uint64_t rank) const { return below <= rank && rank < below + equal; }
};

/// The median of about 40 % of each tensor, or of all. One end is a value that occurs, which does
/// not belong to the bracket.
struct MedianQuestion {
  using Answer = std::vector<MedianResult>;
  static constexpr Contents kContents = Contents::kDrawnGradients;
  bool over_all = false;
  std::vector<std::pair<float, float>> brackets = {};

  void prepare(Backend&, ProxPlan&, const ListShape& shape) {
    brackets.clear();
    for (std::size_t t = 0; t < (over_all ? 1 : shape.offsets.size()); ++t) {
      float first = 0.0f;
      draw(shape.offsets[t], {&first, 1}, kDrawnBound, kDrawnStream);
      const float end = std::abs(first);
      brackets.push_back(end < 0.5f ? std::pair{end, end + 0.4f} : std::pair{end - 0.4f, end});
    }
  }
  Answer ask(Backend& room, ProxPlan& plan) const {
    return room.read_bracket_medians(plan, brackets);
  }

  std::string check(const ListOfCase& list, const Answer& got) const {
    std::vector<Ranks> want(brackets.size());
    for_magnitudes(list, [&](const ListPiece& piece, std::span<const float> magnitudes) {
      const std::size_t of = over_all ? 0 : piece.tensor;
      for (const float x : magnitudes) {
        if (x > brackets[of].first && x < brackets[of].second) want[of].add(x, got[of].median);
      }
    });
    for (std::size_t i = 0; i < want.size(); ++i) {
      const bool right = want[i].inside == 0 ? !got[i].median.has_value()
                                             : want[i].has_rank((want[i].inside - 1) / 2);
      if (right && got[i].inside == want[i].inside) continue;
      throw CheckFailed(fmt::format(
          "bracket {}: {} entries and the median {:.9g}, expected {} entries; {} are below it, {} "
          "equal it",
          i, got[i].inside, got[i].median.value_or(NAN), want[i].inside, want[i].below,
          want[i].equal));
    }
    return fmt::format("{} of {} by rank", over_all ? "the median" : "the medians",
                       list.shape.text());
  }
};

struct KthQuestion {
  using Answer = float;
  static constexpr Contents kContents = Contents::kDrawnGradients;
  std::int64_t percent = 1;
  std::int64_t k = 1;

  void prepare(Backend&, ProxPlan&, const ListShape& shape) {
    k = std::max<std::int64_t>(1, shape.weights * percent / 100);
  }
  Answer ask(Backend& room, ProxPlan& plan) const { return room.read_kth_gradient(plan, k); }

  std::string check(const ListOfCase& list, const Answer& got) const {
    Ranks ranks;
    for_magnitudes(list, [&](const ListPiece&, std::span<const float> magnitudes) {
      for (const float x : magnitudes) ranks.add(x, got);
    });
    if (!ranks.has_rank(static_cast<std::uint64_t>(list.shape.weights - k))) {
      throw CheckFailed(
          fmt::format("{:.9g} is not the {}-th largest of {}: {} are below it, {} equal it", got, k,
                      list.shape.weights, ranks.below, ranks.equal));
    }
    return fmt::format("magnitude number {} of {} by rank", k, list.shape.text());
  }
};

bool same_answer(const KktResult& a, const KktResult& b) {
  return a.nonzeros == b.nonzeros && a.zeros == b.zeros && a.on_nonzero == b.on_nonzero &&
         a.on_zero == b.on_zero;
}
bool same_answer(const MedianResult& a, const MedianResult& b) {
  return a.inside == b.inside && a.median == b.median;
}
bool same_answer(std::uint64_t a, std::uint64_t b) {
  return a == b;
}
bool same_answer(float a, float b) {
  return a == b;
}
template <class T>
bool same_answer(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const T& x, const T& y) { return same_answer(x, y); });
}

/// A question about a list that changes nothing in it.
template <class Question>
class QuestionWorkload final : public Workload {
 public:
  QuestionWorkload(const Room& room, const ListShape& shape, Question question, std::int64_t sets)
      : list_{room, shape, ListSource(shape, {ZeroPlaces::kRandom, 50})},
        question_(std::move(question)) {
    constexpr bool kDrawn = Question::kContents == Contents::kDrawnGradients;
    constexpr bool kBoth = Question::kContents == Contents::kWeightsAndGradients;
    for (std::int64_t set = 0; set < sets; ++set) {
      auto buffers =
          std::make_unique<ListBuffers>(room.backend, shape, !kDrawn, kDrawn || kBoth, false);
      if (kDrawn) {
        room.backend.initialise_uniform(buffers->g.data(), shape.extent, kDrawnBound, kListSeed,
                                        kDrawnStream);
      } else if (set == 0) {
        upload_list(room, shape, list_.source, *buffers);
      } else {
        buffers->w.copy_from(sets_.front()->w);
        buffers->g.copy_from(sets_.front()->g);
      }
      // A question reads the one or the other; the list wants both.
      float* const w = kDrawn ? buffers->g.data() : buffers->w.data();
      float* const g = kDrawn || kBoth ? buffers->g.data() : w;
      plans_.push_back(room.backend.make_plan(tensors_of(shape, w, g), shape.tensors()));
      sets_.push_back(std::move(buffers));
      if constexpr (requires { question_.prepare(room.backend, *plans_.back(), shape); }) {
        question_.prepare(room.backend, *plans_.back(), shape);
      }
    }
  }

  std::string check() override {
    checked_ = question_.ask(list_.room.backend, *plans_.front());
    return question_.check(list_, checked_);
  }
  void call(std::int64_t set) override {
    const auto answer = question_.ask(list_.room.backend, *plans_[static_cast<std::size_t>(set)]);
    same_ = same_ && same_answer(answer, checked_);
  }
  void check_after(std::int64_t /*calls*/) override {
    if (same_) return;
    throw CheckFailed("calls on equal lists did not all give the answer that was checked");
  }

 private:
  ListOfCase list_;
  Question question_;
  std::vector<std::unique_ptr<ListBuffers>> sets_;
  std::vector<std::unique_ptr<ProxPlan>> plans_;
  typename Question::Answer checked_ = {};
  bool same_ = true;
};

template <class Question>
Case question_case(const std::string& group, const std::string& what, Operation needs,
                   const ListShape& shape, const Question& question) {
  const std::int64_t arrays = Question::kContents == Contents::kWeightsAndGradients ? 2 : 1;
  Case c;
  c.name = group + "/" + shape.name;
  c.what = what + ": " + shape.text();
  c.set_bytes = arrays * shape.buffer_bytes();
  c.more_bytes = 2 * static_cast<std::int64_t>(sizeof(float)) * kListBlock;  // on the host
  // What is asked about is read once; more passes show as a smaller share of the ceiling.
  c.work.bytes = static_cast<double>(arrays) * 4.0 * static_cast<double>(shape.weights);
  c.traffic = Traffic::kRead;
  c.rotates = true;
  c.waits = true;
  c.make = [shape, question](const Room& room, std::int64_t sets) {
    return std::make_unique<QuestionWorkload<Question>>(room, shape, question, sets);
  };
  c.lacks = [needs](const Room& room) { return room.backend.unsupported(needs); };
  return c;
}

}  // namespace

std::vector<Case> list_cases(const Room& room) {
  std::vector<ListShape> lists;
  for (const char* name : {"25k_4", "687k_5", "25m_161", "25m_1", "64m"}) {
    lists.push_back(make_list(name, room.smoke));
  }
  std::vector<Case> cases;
  for (const ListShape& list : lists) {
    cases.push_back(question_case("count/fp32", "nonzero weights of each tensor",
                                  Operation::kProxStep, list, CountQuestion{}));
  }
  for (const ListShape& list : lists) {
    cases.push_back(question_case("bracket_median/fp32/per_layer",
                                  "the median of 40 % of each tensor", Operation::kSelect, list,
                                  MedianQuestion{false}));
    if (list.tensors() == 1) continue;  // over all is the same then
    cases.push_back(question_case("bracket_median/fp32/over_all", "the median of 40 % of all",
                                  Operation::kSelect, list, MedianQuestion{true}));
  }
  for (const std::int64_t percent : {1, 50}) {
    for (const ListShape& list : lists) {
      cases.push_back(question_case(fmt::format("kth/fp32/{}_percent", percent),
                                    fmt::format("the magnitude that {} % reach", percent),
                                    Operation::kSelect, list, KthQuestion{percent}));
    }
  }
  for (const ListShape& list : lists) {
    cases.push_back(question_case("kkt/fp32", "the certificate of each tensor, at 50 % zeros",
                                  Operation::kKkt, list, KktQuestion{}));
  }
  return cases;
}

}  // namespace cuthresh::bench
