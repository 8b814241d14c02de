#pragma once

// What idx_test and cifar10_test share: files made byte by byte, and where real ones may lie.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "tests/unit/data_cases.hpp"

#if defined(CTH_WITH_ZLIB)
#include <zlib.h>
#endif

namespace cuthresh {

using Bytes = std::vector<std::uint8_t>;

/// A folder of one test, gone after it.
class ImageFolder : public ::testing::Test {
 protected:
  ImageFolder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(::testing::TempDir()) /
              (std::string("cuthresh_") + test->test_suite_name() + "_" + test->name() + "_" +
               std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~ImageFolder() override { std::filesystem::remove_all(folder_); }

  std::string folder() const { return folder_.string(); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, const Bytes& bytes) const {
    std::ofstream(path(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path(name);
  }
  Bytes read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
#if defined(CTH_WITH_ZLIB)
  /// As `gzip -c >> name`: one more member.
  std::string write_gzipped(const std::string& name, const Bytes& bytes) const {
    gzFile file = ::gzopen(path(name).c_str(), "ab6");
    EXPECT_EQ(::gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())),
              static_cast<int>(bytes.size()));
    EXPECT_EQ(::gzclose(file), Z_OK);
    return path(name);
  }
#endif

 private:
  std::filesystem::path folder_;
};

inline void append_extent(Bytes& to, std::uint32_t extent) {
  for (int shift = 24; shift >= 0; shift -= 8)
    to.push_back(static_cast<std::uint8_t>(extent >> shift));
}

/// An IDX file: entry i of the data is `first` + 7·i, modulo `modulus`.
inline Bytes idx_file(const std::vector<std::uint32_t>& extents, unsigned first = 0,
                      unsigned modulus = 256) {
  Bytes bytes = {0, 0, 8, static_cast<std::uint8_t>(extents.size())};
  std::size_t size = 1;
  for (const std::uint32_t extent : extents) {
    append_extent(bytes, extent);
    size *= extent;
  }
  for (std::size_t i = 0; i < size; ++i) {
    bytes.push_back(static_cast<std::uint8_t>((first + 7 * i) % modulus));
  }
  return bytes;
}

/// A folder of real data; CUTHRESH_TEST_DATA names the one that holds them all.
inline std::string real_data(const std::string& name) {
  const char* from = std::getenv("CUTHRESH_TEST_DATA");
  const std::string all = from != nullptr ? from : CTH_SOURCE_DIR "/../shared/data";
  return all + "/" + name;
}

inline std::uint64_t sum_of(const Bytes& bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0});
}

}  // namespace cuthresh
