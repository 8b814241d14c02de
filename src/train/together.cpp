#include "train/together.hpp"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "cuthresh/error.hpp"

namespace cuthresh::train {
namespace {

class Crew {
 public:
  explicit Crew(const std::function<void()>& failed) : failed_(failed) {}
  ~Crew() {
    for (std::thread& thread : threads_) thread.join();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  template <class Work>
  void guard(const Work& work) {
    try {
      work();
    } catch (...) {
      failed_();
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  void start(const std::function<void(std::size_t)>& f, std::size_t i) {
    try {
      threads_.emplace_back([this, &f, i] { run(f, i); });
    } catch (const std::system_error& error) {
      throw InternalError(
          {"search.parallel",
           "could not start a thread for training " + std::to_string(i + 1) + ": " + error.what(),
           "", "let fewer train at the same time"});
    }
  }

  void wait(const std::function<void()>& waiting) {
    std::unique_lock lock(mutex_);
    const auto all = [this] { return ended_ == threads_.size(); };
    while (!one_ended_.wait_for(lock, std::chrono::milliseconds(100), all)) {
      lock.unlock();
      guard(waiting);
      lock.lock();
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void run(const std::function<void(std::size_t)>& f, std::size_t i) {
    guard([&] { f(i); });
    const std::lock_guard lock(mutex_);
    ++ended_;
    one_ended_.notify_all();
  }

  const std::function<void()>& failed_;
  std::mutex mutex_;
  std::condition_variable one_ended_;
  std::size_t ended_ = 0;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace

void run_together(std::size_t n, const std::function<void(std::size_t)>& f,
                  const std::function<void()>& waiting, const std::function<void()>& failed) {
  if (n == 1) return f(0);
  Crew crew(failed);
  crew.guard([&] {
    for (std::size_t i = 1; i < n; ++i) crew.start(f, i);
    f(0);
  });
  crew.wait(waiting);
}

}  // namespace cuthresh::train
