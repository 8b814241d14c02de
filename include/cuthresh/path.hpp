#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cuthresh/fit.hpp"

namespace cuthresh {

/// One network of a path.
struct PathPoint {
  double target = 0.0;     ///< as it was asked for: below 1 a share of zeros, else nonzeros
  std::int64_t nnz = 0;    ///< penalised weights that compare unequal to zero
  std::int64_t numel = 0;  ///< penalised weights
  bool achieved = false;   ///< within the tolerance
  double lambda = 0.0;     ///< the largest of its layers'
  NetworkScores scores;    ///< of the returned network; steps of all its trainings
  double seconds = 0.0;
  std::string folder;  ///< its run folder
};

struct PathResult {
  std::string folder;
  std::vector<PathPoint> points;       ///< in the order of training: from dense to sparse
  std::optional<NetworkScores> dense;  ///< with search.compare_dense: trained once, without λ
  std::int64_t taken_over = 0;         ///< points that an earlier call had left in the folder
  bool complete = false;               ///< every target has a point: nobody cancelled
};

/// Of the network of one target after another.
class CTH_API PathObserver : public FitObserver {
 public:
  ~PathObserver() override;
  /// Before the training of point `index` of `count`, both from 0.
  virtual void point_begins(std::int64_t /*index*/, std::int64_t /*count*/, double /*target*/) {}
};

/// The regularisation path: the same network brought to each of `targets` (below 1: a share of
/// zeros; from 1 on: a whole number of nonzeros; all of one kind), from dense to sparse, each from
/// the weights of the one before (`warm`) or all from the same initial ones. `config` says the
/// rest; its target is not looked at, and it must not prescribe layers or a fixed λ. Writes into
/// run.out path.json, path.csv, path.svg and a run folder a point, path.json after every point. A
/// call with the same configuration, there again, trains only what is missing. Throws InputError,
/// also when run.out holds anything else and run.force does not say to replace it.
CTH_API PathResult path(const FitConfig& config, const std::vector<double>& targets, bool warm,
                        PathObserver* observer = nullptr);

}  // namespace cuthresh
