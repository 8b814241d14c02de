#pragma once

#include <cstdint>
#include <memory>

namespace cuthresh::cpu {

/// The threads of this room: a small fork and join pool.
///
/// Not OpenMP: libgomp's threads spin at every join, and with a second busy process on the same two
/// cores that turned a Mackey-Glass step of 1.5 ms into 35 ms. Here a thread that waits spins for
/// about 50 µs (longer than the gaps inside a training step) and then sleeps, and the caller takes
/// over every part that no worker has begun, so a worker that lost its core holds nobody up.
class Threads {
 public:
  /// 0: one a core that this process may use, or OMP_NUM_THREADS where that is set and smaller.
  /// Throws InternalError when a thread cannot be started; those started before it have ended then.
  explicit Threads(std::int64_t count);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int count() const { return count_; }

  /// f(part, parts) once for each part; returns when all are done. More parts than threads are cut
  /// to their number; called from inside a part, all parts run on the calling thread. An exception
  /// of a part is rethrown here, the first one caught.
  template <class F>
  void run(int parts, F&& f) const {
    if (parts > count_) parts = count_;
    if (parts <= 1) {
      f(0, 1);
      return;
    }
    run_erased(
        parts, [](void* context, int part, int all) { (*static_cast<F*>(context))(part, all); },
        &f);
  }

  /// f(begin, end) over a division of [0, size) into contiguous ranges whose ends are multiples of
  /// `unit`; at most one a thread, none with fewer than `grain` elements unless there is only one.
  template <class F>
  void ranges(std::int64_t size, std::int64_t grain, std::int64_t unit, F&& f) const {
    if (size <= 0) return;
    const std::int64_t wanted = size / (grain > 0 ? grain : 1);
    const int parts = wanted >= count_ ? count_ : (wanted > 1 ? static_cast<int>(wanted) : 1);
    const std::int64_t units = (size + unit - 1) / unit;
    run(parts, [&](int part, int all) {
      const std::int64_t begin = units * part / all * unit;
      const std::int64_t end = units * (part + 1) / all * unit;
      if (begin < size) f(begin, end < size ? end : size);
    });
  }

 private:
  using Entry = void (*)(void* context, int part, int parts);
  class Pool;
  void run_erased(int parts, Entry entry, void* context) const;

  int count_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace cuthresh::cpu
