#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace cuthresh {

/// The bytes of a file, inflated when the file is gzipped, which its first two bytes say and not
/// its name.
class ByteReader {
 public:
  /// `what` stands for the file in messages, e.g. "IDX file". Throws InputError when the file
  /// cannot be opened, and for a gzipped one when this build has no zlib.
  ByteReader(const std::string& path, const std::string& what);
  ~ByteReader();
  ByteReader(const ByteReader&) = delete;
  ByteReader& operator=(const ByteReader&) = delete;

  /// Reads up to `count` bytes; fewer only at the end. Throws InputError for a gzipped file that is
  /// damaged or ends too early.
  std::int64_t read(void* to, std::int64_t count);
  /// True when another byte follows, which is lost. False: all was read, and the checksum held.
  bool skip_byte();

  const std::string& path() const;
  bool gzipped() const;
  /// Bytes of the file as it is stored; 0 for a pipe, whose length nobody knows.
  std::int64_t stored() const;

 private:
  class Source;
  std::unique_ptr<Source> source_;
};

}  // namespace cuthresh
