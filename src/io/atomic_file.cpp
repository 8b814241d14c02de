#include "io/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "cuthresh/error.hpp"
#include "io/input_file.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kWritePiece = std::size_t{1}
                                    << 30;  // Linux writes at most 2^31 - 4096 bytes a call

[[noreturn]] void fail(const std::string& path, const std::string& doing, int reason) {
  const std::string remedy =
      reason == ENOSPC || reason == EDQUOT    ? "free some space or write to another disk"
      : reason == ENOENT || reason == ENOTDIR ? "create the folder first or choose another path"
                                              : "choose a path in a folder that can be written";
  throw InputError({path, doing + ": " + system_reason(reason), "", remedy});
}

// The file that the rename will replace.
fs::path resolve_target(const std::string& path) {
  if (path.empty()) {
    throw InputError({"output file", "no path was given", "", "name the file to write"});
  }
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status) || fs::path(path).filename().empty()) {
    throw InputError(
        {path, "cannot write a file here: it names a folder", "", "name a file inside the folder"});
  }
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw InputError({path, "cannot write a file here: it is a device, a pipe or a socket", "",
                      "name a regular file"});
  }
  if (fs::exists(status) && fs::is_symlink(fs::symlink_status(path, error))) {
    const fs::path real = fs::canonical(path, error);
    if (!error) return real;
  }
  return path;
}

// Removes the temporary file unless it was renamed.
class TemporaryFile {
 public:
  TemporaryFile(const fs::path& target, const std::string& shown) : shown_(shown) {
    static std::atomic<std::uint64_t> counter{0};
    for (int attempt = 0;; ++attempt) {
      name_ = target.parent_path() / (".cuthresh-" + std::to_string(::getpid()) + "-" +
                                      std::to_string(counter.fetch_add(1)) + ".tmp");
      descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ >= 0) return;
      // A dead process with this number may have left its file.
      if (errno != EEXIST || attempt == 100) fail(shown_, "cannot create a temporary file", errno);
    }
  }
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!renamed_) ::unlink(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kWritePiece));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail(shown_, "cannot write", errno);
      bytes.remove_prefix(static_cast<std::size_t>(done));
    }
  }

  void sync() {
    if (::fsync(descriptor_) != 0) fail(shown_, "cannot write to disk", errno);
  }

  void rename_to(const fs::path& target) {
    const int closed = ::close(descriptor_);
    descriptor_ = -1;
    if (closed != 0) fail(shown_, "cannot write to disk", errno);
    if (std::rename(name_.c_str(), target.c_str()) != 0)
      fail(shown_, "cannot put it in place", errno);
    renamed_ = true;
  }

 private:
  const std::string& shown_;
  fs::path name_;
  int descriptor_ = -1;
  bool renamed_ = false;
};

}  // namespace

void sync_folder(const std::string& folder) noexcept {
  const char* name = folder.empty() ? "." : folder.c_str();
  const int descriptor = ::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

void sync_files(const std::string& folder) {
  std::error_code gone;  // then there is nothing to sync, and a rename will say it
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, gone)) {
    if (!entry.is_regular_file()) continue;
    const std::string path = entry.path().string();
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const int reason = descriptor < 0 || ::fsync(descriptor) != 0 ? errno : 0;
    if (descriptor >= 0) ::close(descriptor);
    if (reason != 0) fail(path, "cannot write to disk", reason);
  }
  sync_folder(folder);
}

void write_file_atomically(const std::string& path, std::span<const std::string_view> pieces,
                           Durable durable) {
  const fs::path target = resolve_target(path);
  TemporaryFile file(target, path);
  for (const std::string_view piece : pieces) file.write(piece);
  if (durable == Durable::kNow) file.sync();
  file.rename_to(target);
  if (durable == Durable::kNow) sync_folder(target.parent_path().string());
}

void write_file_atomically(const std::string& path, std::string_view bytes, Durable durable) {
  write_file_atomically(path, std::span<const std::string_view>(&bytes, 1), durable);
}

}  // namespace cuthresh
