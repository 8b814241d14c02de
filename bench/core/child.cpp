#include "bench/core/child.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <thread>

#include "bench/core/host_memory.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::bench {
namespace {

class OutputTo {
 public:
  explicit OutputTo(const std::string& path) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, path.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_adddup2(&actions_, STDOUT_FILENO, STDERR_FILENO);
  }
  ~OutputTo() { posix_spawn_file_actions_destroy(&actions_); }
  OutputTo(const OutputTo&) = delete;
  OutputTo& operator=(const OutputTo&) = delete;
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

/// It only ever grows, so that the last look is the peak but for the last half millisecond.
std::int64_t peak_of(pid_t child) {
  const auto line = line_of("/proc/" + std::to_string(child) + "/status", "VmHWM:");
  std::int64_t kilobytes = 0;
  if (line) std::sscanf(line->c_str(), " %ld", &kilobytes);
  return kilobytes * 1024;
}

int wait_for(pid_t child, int options, int* status) {
  for (;;) {
    const pid_t ended = waitpid(child, status, options);
    if (ended >= 0 || errno != EINTR) return ended;
  }
}

}  // namespace

ChildRun run_child(const std::vector<std::string>& arguments, const std::string& output,
                   Watch watch) {
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  pointers.push_back(nullptr);
  const OutputTo actions(output);
  pid_t child = 0;
  const int error =
      posix_spawn(&child, pointers.front(), actions.get(), nullptr, pointers.data(), environ);
  if (error != 0) {
    throw InternalError({arguments.front(), "cannot be started",
                         std::generic_category().message(error), "check that it can be executed"});
  }
  ChildRun run;
  int status = 0;
  while (watch == Watch::kMemory && wait_for(child, WNOHANG, &status) == 0) {
    run.peak_bytes = std::max(run.peak_bytes, peak_of(child));
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  if (watch == Watch::kNothing) wait_for(child, 0, &status);
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

std::string beside_this_program(const std::string& name) {
  std::error_code missing;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", missing);
  const std::filesystem::path path = self.parent_path() / name;
  return std::filesystem::is_regular_file(path, missing) ? path.string() : "";
}

}  // namespace cuthresh::bench
