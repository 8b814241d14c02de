#pragma once

#include <string>
#include <vector>

#include "bench/core/case.hpp"

namespace cuthresh::bench {

/// The fused step over lists of tensors, dense and with zeros (prox_step_cases.cpp).
std::vector<Case> prox_step_cases(const Room& room);
/// count, bracket median, k-th magnitude and certificate (list_cases.cpp).
std::vector<Case> list_cases(const Room& room);
/// λ from the counts and exactly the targets' numbers (one_run_cases.cpp).
std::vector<Case> one_run_cases(const Room& room);
/// Matrix products of the shipped models' dense layers (product_cases.cpp).
std::vector<Case> product_cases(const Room& room);
/// Convolutions of the shipped models (conv_cases.cpp).
std::vector<Case> conv_cases(const Room& room);
/// Whole training steps of the shipped models (training_cases.cpp).
std::vector<Case> training_cases(const Room& room);
/// A whole search for λ (search_cases.cpp).
std::vector<Case> search_cases(const Room& room);
/// Starts of the command that lies beside this program, or of `command` (command_cases.cpp).
std::vector<Case> command_cases(const Room& room);
std::vector<Case> command_cases(const Room& room, const std::string& command);

/// All of them, in this order. Sizes are small when room.smoke.
std::vector<Case> all_cases(const Room& room);

}  // namespace cuthresh::bench
