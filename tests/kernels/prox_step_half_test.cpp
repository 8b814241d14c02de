// The fused step on 16-bit weights with a float32 master copy.

#include "prox_step_suite.hpp"

namespace cuthresh::testing {
namespace {

using Storages = ::testing::Types<Bf16, Fp16>;
INSTANTIATE_TYPED_TEST_SUITE_P(Half, ProxStepKernel, Storages);

}  // namespace
}  // namespace cuthresh::testing
