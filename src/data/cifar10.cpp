#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"
#include "data/gzip.hpp"
#include "data/text.hpp"

// The binary version of CIFAR-10: records of one label byte and 32 x 32 pixels, all red ones first,
// then green, then blue.

namespace cuthresh {
namespace {

constexpr std::int64_t kSide = 32;
constexpr std::int64_t kColours = 3;
constexpr std::int64_t kPixelBytes = kSide * kSide * kColours;
constexpr std::int64_t kRecord = 1 + kPixelBytes;
constexpr std::int64_t kUsualRecords = 10000;  // of a batch
constexpr std::int64_t kClasses = 10;

std::string batch_path(const std::string& folder, const std::string& name) {
  namespace fs = std::filesystem;
  for (const char* end : {"", ".gz"}) {
    const fs::path path = fs::path(folder) / (name + end);
    std::error_code ignored;
    if (fs::exists(path, ignored)) return path.string();
  }
  throw InputError({folder, "holds neither " + name + " nor " + name + ".gz", "",
                    "name the folder of CIFAR-10's binary batches (data_batch_1.bin to "
                    "data_batch_5.bin and test_batch.bin) in data.path"});
}

/// Appends the records of one file, until `data` has `limit` rows (0: all of them).
void append_batch(const std::string& path, std::int64_t limit, Dataset& data) {
  ByteReader file(path, "CIFAR-10 batch");
  std::vector<std::uint8_t> record(static_cast<std::size_t>(kRecord));
  for (std::int64_t number = 1; limit == 0 || data.rows < limit; ++number) {
    const std::int64_t got = file.read(record.data(), kRecord);
    if (got == 0 && number > 1) return;
    if (got < kRecord) {
      throw InputError({path,
                        "the CIFAR-10 batch is truncated: record " + std::to_string(number) +
                            " has fewer than " + std::to_string(kRecord) + " bytes",
                        std::to_string(got) + " bytes", "copy or fetch the file again"});
    }
    if (record[0] >= kClasses) {
      throw InputError({path, "record " + std::to_string(number) + " has no label from 0 to 9",
                        std::to_string(record[0]),
                        "give the binary version of CIFAR-10 (not CIFAR-100, nor Python's)"});
    }
    data.targets.push_back(static_cast<float>(record[0]));
    const std::size_t first = data.pixels.size();
    data.pixels.resize(first + static_cast<std::size_t>(kPixelBytes));
    std::uint8_t* to = data.pixels.data() + first;
    const std::uint8_t* from = record.data() + 1;
    for (std::int64_t pixel = 0; pixel < kSide * kSide; ++pixel) {
      for (std::int64_t colour = 0; colour < kColours; ++colour) {
        *to++ = from[colour * kSide * kSide + pixel];
      }
    }
    ++data.rows;
  }
}

Dataset read_batches(const std::vector<std::string>& paths, std::int64_t limit,
                     const std::string& source) {
  Dataset data;
  data.height = kSide;
  data.width = kSide;
  data.channels = kColours;
  data.features = kPixelBytes;
  data.outputs = 1;
  data.classes = kClasses;
  data.mean = {0.4914, 0.4822, 0.4465};
  data.std = {0.2470, 0.2435, 0.2616};
  data.source = source;
  // What the files usually hold: no page of it is taken before it is written.
  const std::int64_t usual = static_cast<std::int64_t>(paths.size()) * kUsualRecords;
  const auto expected = static_cast<std::size_t>(limit == 0 ? usual : std::min(limit, usual));
  data.pixels.reserve(expected * static_cast<std::size_t>(kPixelBytes));
  data.targets.reserve(expected);
  for (const std::string& path : paths) {
    if (limit == 0 || data.rows < limit) append_batch(path, limit, data);
  }
  if (data.rows < limit) {
    throw InputError({source,
                      "rows to read must be from 1 to the " + std::to_string(data.rows) +
                          " that there are, or 0 for all",
                      std::to_string(limit), "ask for fewer rows"});
  }
  return data;
}

}  // namespace

DataSplit read_cifar10(const std::string& folder, std::int64_t train_rows, std::int64_t test_rows) {
  std::vector<std::string> paths;
  for (int i = 1; i <= 5; ++i) {
    paths.push_back(batch_path(folder, "data_batch_" + std::to_string(i) + ".bin"));
  }
  const std::string test_path = batch_path(folder, "test_batch.bin");
  for (const std::int64_t rows : {train_rows, test_rows}) {
    if (rows >= 0) continue;
    throw InputError({folder, "rows to read must be at least 1, or 0 for all", std::to_string(rows),
                      "ask for a number of rows"});
  }
  return {read_batches(paths, train_rows, "data_batch_*.bin"),
          read_batches({test_path}, test_rows, text::file_name(test_path))};
}

}  // namespace cuthresh
