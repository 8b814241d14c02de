#pragma once

#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh {

/// The master copy of a stored weight: as it is while it is stored as that, to the bit, else the
/// weight itself.
template <class Storage>
CTH_HD float refreshed_master(Storage stored, float master) {
  return StorageTraits<Storage>::narrow(master).bits == stored.bits ? master : widen(stored);
}

}  // namespace cuthresh
