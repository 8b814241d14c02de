#pragma once

// Reading files: every failure is an InputError that names the path and the system's reason.

#include <cstdint>
#include <string>

namespace cuthresh {

/// An open file. Refuses what does not exist, cannot be opened or is a directory.
class InputFile {
 public:
  /// `what` stands for the file in messages, e.g. "data file".
  InputFile(std::string path, std::string what);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  /// Bytes in a regular file; 0 for a pipe or a device, whose length nobody knows.
  std::int64_t size() const { return size_; }
  bool regular() const { return regular_; }

  /// Reads up to `count` bytes; fewer only at the end of the file. Throws InputError on a read
  /// error.
  std::int64_t read(void* to, std::int64_t count);

 private:
  std::string path_;
  std::string what_;
  int descriptor_ = -1;
  bool regular_ = false;
  std::int64_t size_ = 0;
};

/// The whole file, a pipe included. Throws InputError.
std::string read_whole_file(const std::string& path, const std::string& what);

/// strerror(number) without its static buffer.
std::string system_reason(int number);

}  // namespace cuthresh
