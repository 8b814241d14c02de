#pragma once

// How many of a total of nonzero weights each layer is given.

#include <cstdint>
#include <span>
#include <vector>

namespace cuthresh::search {

/// Numbers in proportion to `shares`, from 1 to the layer's size each, in all exactly `total`: what
/// a layer cannot take or must have more is balanced by the others, in proportion too. Rounded down
/// and then up where the remainder is largest, of equal ones where the index is lowest; exact, no
/// floating point. With shares = sizes every layer has one density; with the sum of a weight's
/// extents ([out, in]: out + in) it is Erdős–Rényi (Mocanu et al. 2018), with a kernel's extents
/// added its kernel version (Evci et al. 2020, RigL). Throws InputError for no layers, another
/// number of shares, sizes or shares below 1, and a total below the number of layers or above the
/// sum of the sizes.
std::vector<std::uint64_t> allocate(std::span<const std::int64_t> sizes,
                                    std::span<const std::int64_t> shares, std::uint64_t total);

}  // namespace cuthresh::search
