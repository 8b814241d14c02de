#pragma once

#include <cstdint>

namespace cuthresh::cpu {

/// Threads of this room. run() is OpenMP's fork and join, with the job handed over through atomics, so that
/// ThreadSanitizer (which does not see into libgomp) knows what happened before what.
class Threads {
 public:
  /// 0: one a core that this process may use.
  explicit Threads(std::int64_t count);

  int count() const { return count_; }

  /// f(part, parts) once for each part, on parts ≤ count() threads; returns when all are done. An exception of a part
  /// is rethrown here, the first one caught.
  template <class F>
  void run(int parts, F&& f) const {
    if (parts <= 1) {
      f(0, 1);
      return;
    }
    run_erased(parts, [](void* context, int part, int all) { (*static_cast<F*>(context))(part, all); }, &f);
  }

  /// f(begin, end) over a division of [0, size) into contiguous ranges whose ends are multiples of `unit`; at
  /// most one a thread, none with fewer than `grain` elements unless there is only one.
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
  static void run_erased(int parts, Entry entry, void* context);

  int count_;
};

}  // namespace cuthresh::cpu
