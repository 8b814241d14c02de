#pragma once

// What the files of data_test share.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh {

// RapidCheck prints this seed with a failure; RC_PARAMS in the environment overrides it.
inline const bool kSeeded = ::setenv("RC_PARAMS", "seed=1408", 0) == 0;

/// What the action was refused with; an InputError that names its place and a remedy.
template <typename Action>
ErrorInfo refusal(const Action& action) {
  try {
    action();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr(error.info().where));
    EXPECT_FALSE(error.info().remedy.empty()) << error.what();
    return error.info();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

inline std::uint32_t bits(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

inline std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> list;
  for (const float value : values) list.push_back(bits(value));
  return list;
}

}  // namespace cuthresh
