#include "progress_text.hpp"

#include <fmt/format.h>

#include <numeric>
#include <vector>

namespace cuthresh::command {
namespace {

using Progress = FitObserver::Progress;

constexpr std::size_t kProgressCells = 16;

std::string lambda_segment(const std::vector<double>& lambda, const Style& style) {
  return fmt::format("{} {}", style.unicode ? "λ" : "lambda", lambda_range(lambda));
}

std::string nnz_segment(const Progress& p, const Style& style) {
  if (!p.target_nnz) return "nnz " + grouped(p.nnz);
  return fmt::format("nnz {} {} {}", grouped(p.nnz), style.unicode ? "→" : "->",
                     grouped(*p.target_nnz));
}

std::string round_segment(std::int64_t round, std::int64_t max_rounds) {
  if (round == 0) return "dense";
  return max_rounds > 0 ? fmt::format("round {}/{}", round, max_rounds)
                        : fmt::format("round {}", round);
}

std::string steps_segment(const Progress& p) {
  return grouped(p.step) + "/" + grouped(p.steps);
}

std::string joined(const std::vector<std::string>& parts) {
  std::string line;
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    if (!line.empty()) line += "  ";
    line += part;
  }
  return line;
}

double share_done(const Progress& p) {
  return p.steps > 0 ? static_cast<double>(p.step) / static_cast<double>(p.steps) : 0.0;
}

}  // namespace

std::string progress_line(const Progress& p, std::size_t width, const Style& style) {
  enum Segment : std::size_t { kRound, kBar, kSteps, kLambda, kNnz, kLoss, kLeft };
  std::vector<std::string> parts = {round_segment(p.round, p.max_rounds),
                                    bar(share_done(p), kProgressCells, style),
                                    steps_segment(p),
                                    lambda_segment(p.lambda, style),
                                    nnz_segment(p, style),
                                    "loss " + loss_text(p.loss),
                                    duration(p.round_seconds_left) + " left"};
  std::string line = joined(parts);
  for (const Segment dropped : {kBar, kLeft, kLoss, kLambda}) {
    if (columns(line) <= width) return line;
    parts[dropped].clear();
    line = joined(parts);
  }
  return clipped(line, width);
}

std::string progress_log_line(const Progress& p, const Style& style) {
  return joined({round_segment(p.round, p.max_rounds), "step " + steps_segment(p),
                 lambda_segment(p.lambda, style), nnz_segment(p, style),
                 "loss " + loss_text(p.loss), duration(p.round_seconds_left) + " left"});
}

std::string round_line(const RoundResult& round, std::int64_t max_rounds, const Style& style) {
  std::string which = round_segment(round.round, max_rounds);
  if (round.candidate > 1) which += fmt::format(" ({})", round.candidate);
  const std::int64_t nnz = std::accumulate(round.nnz.begin(), round.nnz.end(), std::int64_t{0});
  std::string counts = "nnz " + grouped(nnz);
  if (round.nnz.size() > 1) {
    counts += " =";
    for (std::size_t i = 0; i < round.nnz.size(); ++i)
      counts += (i ? " + " : " ") + grouped(round.nnz[i]);
  }
  std::string accuracy;
  if (round.train_accuracy) accuracy = "accuracy " + percent(*round.train_accuracy) + " train";
  if (round.test_accuracy) accuracy += ", " + percent(*round.test_accuracy) + " test";
  std::string verdict;
  if (round.diverged) {
    verdict = "diverged";
  } else if (round.hit) {
    verdict = "target met";
  }
  return joined({which, lambda_segment(round.lambda, style), round.diverged ? "" : counts,
                 fmt::format("loss {} train, {} test", loss_text(round.train_loss),
                             loss_text(round.test_loss)),
                 accuracy, grouped(round.steps) + " steps", duration(round.seconds), verdict});
}

}  // namespace cuthresh::command
