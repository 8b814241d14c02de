#include <algorithm>
#include <span>

#include "capi/boundary.hpp"
#include "search/allocation.hpp"

using namespace cuthresh::capi;

cth_status cth_allocate_erdos_renyi(const int64_t* sizes, const int64_t* dims, size_t layers,
                                    uint64_t total, uint64_t* nonzeros) {
  constexpr char kFunction[] = "cth_allocate_erdos_renyi";
  return guarded(kFunction, [&] {
    require(kFunction, "sizes", sizes);
    require(kFunction, "dims", dims);
    require(kFunction, "nonzeros", nonzeros);
    const std::vector<std::uint64_t> numbers =
        cuthresh::search::allocate({sizes, layers}, {dims, layers}, total);
    std::copy(numbers.begin(), numbers.end(), nonzeros);
  });
}
