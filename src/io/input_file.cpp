#include "io/input_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include "cuthresh/error.hpp"

namespace cuthresh {
namespace {

// Linux moves at most 2^31 - 4096 bytes a call; a smaller piece costs nothing measurable.
constexpr std::int64_t kReadPiece = std::int64_t{1} << 30;
constexpr std::int64_t kPipePiece = std::int64_t{1} << 20;

}  // namespace

std::string system_reason(int number) {
  return std::generic_category().message(number);
}

InputFile::InputFile(std::string path, std::string what)
    : path_(std::move(path)), what_(std::move(what)) {
  if (path_.empty()) {
    throw InputError({what_, "no path was given", "", "name the file to read"});
  }
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) {
    const int reason = errno;
    throw InputError({path_, "cannot open the " + what_ + ": " + system_reason(reason), "",
                      reason == EACCES ? "make it readable for this user"
                                       : "check the path and where it is relative to"});
  }
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    const int reason = errno;
    ::close(descriptor_);
    throw InputError({path_, "cannot examine the " + what_ + ": " + system_reason(reason), "",
                      "check the path and the file system"});
  }
  if (S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    throw InputError(
        {path_, "is a directory, expected a " + what_, "", "name a file inside the directory"});
  }
  regular_ = S_ISREG(status.st_mode);
  if (regular_) size_ = static_cast<std::int64_t>(status.st_size);
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

std::int64_t InputFile::read(void* to, std::int64_t count) {
  std::int64_t done = 0;
  while (done < count) {
    const auto piece = static_cast<std::size_t>(std::min(count - done, kReadPiece));
    const ssize_t got = ::read(descriptor_, static_cast<char*>(to) + done, piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw InputError({path_, "cannot read the " + what_ + ": " + system_reason(errno), "",
                        "check the disk and the file"});
    }
    if (got == 0) break;
    done += got;
  }
  return done;
}

std::string read_whole_file(const std::string& path, const std::string& what) {
  InputFile file(path, what);
  std::string bytes;
  std::int64_t used = 0;
  // One piece of the known size, then small ones until the end: a file may grow, and files of /proc
  // and pipes say 0.
  std::int64_t piece = std::max(file.size(), kPipePiece);
  while (true) {
    bytes.resize(static_cast<std::size_t>(used + piece));
    const std::int64_t got = file.read(bytes.data() + used, piece);
    used += got;
    if (got < piece) break;
    piece = kPipePiece;
  }
  bytes.resize(static_cast<std::size_t>(used));
  return bytes;
}

}  // namespace cuthresh
