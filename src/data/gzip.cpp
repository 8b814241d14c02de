#include "data/gzip.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "cuthresh/error.hpp"
#include "io/input_file.hpp"

#if defined(CTH_WITH_ZLIB)
#include <zlib.h>
#endif

namespace cuthresh {
namespace {

constexpr std::int64_t kStoredPiece = std::int64_t{1} << 18;

}  // namespace

/// The file, with what was read of it and not yet handed out, and the state of inflation.
class ByteReader::Source {
 public:
  Source(const std::string& path, const std::string& what) : file_(path, what), what_(what) {
    buffer_.resize(static_cast<std::size_t>(kStoredPiece));
    refill();
    gzipped_ = end_ >= 2 && buffer_[0] == 0x1f && buffer_[1] == 0x8b;
    if (gzipped_) start_inflation();
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  std::int64_t read(unsigned char* to, std::int64_t count) {
    return gzipped_ ? read_inflated(to, count) : read_plain(to, count);
  }

  const InputFile& file() const { return file_; }
  bool gzipped() const { return gzipped_; }

 private:
  void refill() {
    begin_ = 0;
    end_ = file_.read(buffer_.data(), kStoredPiece);
  }

  std::int64_t read_plain(unsigned char* to, std::int64_t count) {
    const std::int64_t held = std::min(count, end_ - begin_);
    if (held > 0) std::memcpy(to, buffer_.data() + begin_, static_cast<std::size_t>(held));
    begin_ += held;
    return held == count ? held : held + file_.read(to + held, count - held);
  }

#if defined(CTH_WITH_ZLIB)
 public:
  ~Source() {
    if (gzipped_) ::inflateEnd(&stream_);
  }

 private:
  void start_inflation() {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (::inflateInit2(&stream_, kGzipOnly) == Z_OK) return;
    gzipped_ = false;  // nothing to end
    throw InternalError({"zlib", "could not start to inflate " + file_.path(), ::zlibVersion(),
                         "free memory, or gunzip the file"});
  }

  std::int64_t read_inflated(unsigned char* to, std::int64_t count) {
    std::int64_t done = 0;
    while (done < count) {
      if (begin_ == end_) refill();
      if (begin_ == end_) {
        if (!inside_member_) break;
        throw InputError({file_.path(), "the gzipped " + what_ + " ends too early", "",
                          "copy or fetch the file again"});
      }
      inside_member_ = true;
      constexpr std::int64_t kMost = std::int64_t{1} << 30;  // zlib counts in 32 bits
      const std::int64_t room = std::min(count - done, kMost);
      stream_.next_in = buffer_.data() + begin_;
      stream_.avail_in = static_cast<uInt>(end_ - begin_);
      stream_.next_out = to + done;
      stream_.avail_out = static_cast<uInt>(room);
      const int status = ::inflate(&stream_, Z_NO_FLUSH);
      begin_ = end_ - static_cast<std::int64_t>(stream_.avail_in);
      done += room - static_cast<std::int64_t>(stream_.avail_out);
      if (status == Z_STREAM_END) {
        // Another member may follow: `cat a.gz b.gz` is a gzipped file too.
        inside_member_ = false;
        ::inflateReset(&stream_);
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        throw InputError({file_.path(), "the gzipped " + what_ + " is damaged",
                          stream_.msg == nullptr ? std::to_string(status) : stream_.msg,
                          "copy or fetch the file again"});
      }
    }
    return done;
  }

  z_stream stream_{};
  bool inside_member_ = false;  // some of it was inflated, its end not
#else
  [[noreturn]] void start_inflation() {
    throw InputError({file_.path(), "the " + what_ + " is gzipped, and this build has no zlib", "",
                      "gunzip it, or install zlib1g-dev and build cuthresh again"});
  }
  std::int64_t read_inflated(unsigned char*, std::int64_t) {
    return 0;
  }
#endif

  InputFile file_;
  std::string what_;
  std::vector<unsigned char> buffer_;
  std::int64_t begin_ = 0;
  std::int64_t end_ = 0;
  bool gzipped_ = false;
};

ByteReader::ByteReader(const std::string& path, const std::string& what)
    : source_(std::make_unique<Source>(path, what)) {}

ByteReader::~ByteReader() = default;

std::int64_t ByteReader::read(void* to, std::int64_t count) {
  return source_->read(static_cast<unsigned char*>(to), count);
}

bool ByteReader::skip_byte() {
  unsigned char byte = 0;
  return source_->read(&byte, 1) == 1;
}

const std::string& ByteReader::path() const {
  return source_->file().path();
}

bool ByteReader::gzipped() const {
  return source_->gzipped();
}

std::int64_t ByteReader::stored() const {
  return source_->file().size();
}

}  // namespace cuthresh
