#pragma once

#include <cstddef>
#include <functional>

namespace cuthresh::train {

/// f(0) on this thread and f(1) … f(n − 1) each on one of its own, at the same time; returns when
/// all have ended. Where this thread is done before the others it calls `waiting` about ten times a
/// second. What is thrown, `waiting` included, is rethrown at the end, the first one caught; before
/// that `failed` is called, on the thread that threw, so that the others can end early.
void run_together(std::size_t n, const std::function<void(std::size_t)>& f,
                  const std::function<void()>& waiting, const std::function<void()>& failed);

}  // namespace cuthresh::train
