#include "bench/cases/cases.hpp"

#include <iterator>

namespace cuthresh::bench {

std::vector<Case> all_cases(const Room& room) {
  std::vector<Case> all;
  using Group = std::vector<Case> (*)(const Room&);
  for (const Group group : {prox_step_cases, list_cases, one_run_cases, product_cases, conv_cases,
                            training_cases, search_cases, Group(command_cases)}) {
    std::vector<Case> cases = group(room);
    all.insert(all.end(), std::make_move_iterator(cases.begin()),
               std::make_move_iterator(cases.end()));
  }
  return all;
}

}  // namespace cuthresh::bench
