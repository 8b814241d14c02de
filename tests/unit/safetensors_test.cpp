// safetensors files: bytes another reader takes, bits that come back, damage that is refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "cuthresh/model_file.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// RapidCheck prints this seed with a failure; RC_PARAMS in the environment overrides it.
const bool kSeeded = ::setenv("RC_PARAMS", "seed=1408", 0) == 0;

std::string scratch(const std::string& name) {
  return (fs::temp_directory_path() / ("cuthresh-st-" + std::to_string(::getpid()) + "-" + name))
      .string();
}

class Safetensors : public ::testing::Test {
 protected:
  void TearDown() override { fs::remove(path_); }
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  std::string bytes() const {
    std::ostringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }
  ErrorInfo refusal(const std::string& file_bytes) const {
    write(file_bytes);
    try {
      read_safetensors(path_);
    } catch (const InputError& error) {
      EXPECT_THAT(error.info().where, StartsWith(path_));
      EXPECT_FALSE(error.info().remedy.empty()) << error.what();
      EXPECT_LT(std::strlen(error.what()), 600U) << "a message must not carry the file";
      return error.info();
    }
    ADD_FAILURE() << "nothing was refused";
    return {};
  }
  const std::string path_ = scratch("model.safetensors");
};

std::string length_bytes(std::uint64_t length) {
  std::string text;
  for (int shift = 0; shift < 64; shift += 8) text += static_cast<char>((length >> shift) & 0xFF);
  return text;
}

std::string with_header(const std::string& header, std::size_t data_bytes) {
  return length_bytes(header.size()) + header + std::string(data_bytes, '\0');
}

ModelFile small_model() {
  return {{{"fc1.weight", {2, 3}, {1, -2, 3, -0.0f, 5, 6}}, {"fc1.bias", {2}, {0.5f, -0.5f}}},
          {{"format", "pt"}}};
}

// The layout written out by hand from the format's description.
TEST_F(Safetensors, WritesTheDocumentedBytes) {
  write_safetensors(path_, small_model());
  std::string header = R"({"__metadata__":{"format":"pt"},)"
                       R"("fc1.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                       R"("fc1.bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}})";
  while (header.size() % 8 != 0) header += ' ';
  std::string data;
  for (const std::uint32_t word : {0x3F800000U, 0xC0000000U, 0x40400000U, 0x80000000U, 0x40A00000U,
                                   0x40C00000U, 0x3F000000U, 0xBF000000U}) {
    for (int shift = 0; shift < 32; shift += 8) data += static_cast<char>((word >> shift) & 0xFF);
  }
  EXPECT_EQ(bytes(), length_bytes(header.size()) + header + data);
}

// A file as Python's library writes it: names sorted, so the data are not in the order of the
// header.
TEST_F(Safetensors, ReadsAnyHeaderOrderAndSpaces) {
  const std::string header =
      R"( {"b":{"data_offsets":[4,12],"shape":[2,1],"dtype":"F32"}, "a":{"dtype":"F32","shape":[],)"
      R"("data_offsets":[0,4]}}   )";
  std::string file = with_header(header.substr(1), 0);
  for (const float value : {1.5f, 2.5f, 3.5f}) {
    file.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  write(file);
  const ModelFile model = read_safetensors(path_);
  ASSERT_EQ(model.tensors.size(), 2U);
  EXPECT_EQ(model.tensors[0].name, "a");
  EXPECT_TRUE(model.tensors[0].shape.empty());
  EXPECT_EQ(model.tensors[0].values, (std::vector<float>{1.5f}));
  EXPECT_EQ(model.tensors[1].shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(model.tensors[1].values, (std::vector<float>{2.5f, 3.5f}));
  EXPECT_TRUE(model.metadata.empty());
}

rc::Gen<std::string> any_text() {
  return rc::gen::oneOf(
      rc::gen::element<std::string>("", "fc1.weight", "\"quoted\\\"", "\xC3\xA9t\xC3\xA9", "a\nb",
                                    std::string("nul\0nul", 7)),
      rc::gen::container<std::string>(rc::gen::inRange<char>(' ', '~')));
}

// Every float32 pattern, NaN payloads among them, any shape with zero extents and scalars, any
// name.
RC_GTEST_PROP(SafetensorsRoundTrip, KeepsEveryBitAndName, ()) {
  ModelFile model;
  const auto names = *rc::gen::uniqueBy<std::vector<std::string>>(
      any_text(), [](const auto& name) { return name; });
  for (const std::string& name : names) {
    NamedTensor tensor;
    tensor.name = name;
    tensor.shape = *rc::gen::container<std::vector<std::int64_t>>(
        *rc::gen::inRange<std::size_t>(0, 4), rc::gen::inRange<std::int64_t>(0, 4));
    std::size_t count = 1;
    for (const std::int64_t extent : tensor.shape) count *= static_cast<std::size_t>(extent);
    for (std::size_t i = 0; i < count; ++i) {
      tensor.values.push_back(std::bit_cast<float>(*rc::gen::arbitrary<std::uint32_t>()));
    }
    model.tensors.push_back(tensor);
  }
  model.metadata = *rc::gen::container<std::map<std::string, std::string>>(any_text(), any_text());
  const std::string path = scratch("round-trip");
  write_safetensors(path, model);
  std::uint64_t header = 0;
  std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(&header), sizeof header);
  const ModelFile read = read_safetensors(path);
  fs::remove(path);
  RC_ASSERT(header % 8 == 0U);
  RC_ASSERT(read.metadata == model.metadata);
  RC_ASSERT(read.tensors.size() == model.tensors.size());
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    RC_ASSERT(read.tensors[i].name == model.tensors[i].name);
    RC_ASSERT(read.tensors[i].shape == model.tensors[i].shape);
    const auto& values = model.tensors[i].values;
    RC_ASSERT(read.tensors[i].values.size() == values.size());
    const bool same = values.empty() || std::memcmp(read.tensors[i].values.data(), values.data(),
                                                    values.size() * sizeof(float)) == 0;
    RC_ASSERT(same);
  }
}

TEST_F(Safetensors, RefusesEveryTruncation) {
  write_safetensors(path_, small_model());
  const std::string whole = bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE("cut after byte " + std::to_string(size));
    refusal(whole.substr(0, size));
  }
}

// Any single damaged byte is refused or still gives a well-formed model; never anything else.
TEST_F(Safetensors, SurvivesEveryDamagedByte) {
  write_safetensors(path_, small_model());
  const std::string whole = bytes();
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {0x01, 0x10, 0x80, 0xFF}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      write(damaged);
      try {
        for (const NamedTensor& tensor : read_safetensors(path_).tensors) {
          std::int64_t count = 1;
          for (const std::int64_t extent : tensor.shape) count *= extent;
          EXPECT_EQ(count, static_cast<std::int64_t>(tensor.values.size()));
        }
      } catch (const InputError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 300);
}

struct BadFile {
  std::string bytes;
  std::string what;
  std::string value;
};

// One tensor "a" of the given dtype, shape and offsets.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets,
                std::size_t data_bytes) {
  return with_header(
      R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}",
      data_bytes);
}

std::string two(const std::string& first, const std::string& second, std::size_t data_bytes) {
  return with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + first +
                         R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}",
                     data_bytes);
}

TEST_F(Safetensors, Refusals) {
  const std::vector<BadFile> cases = {
      {"", "too short", "0 bytes"},
      {length_bytes(100'000'001) + "{}", "above the limit", "100000001"},
      {length_bytes(~std::uint64_t{0}) + "{}", "above the limit", "18446744073709551615"},
      {length_bytes(3) + "{}", "ends behind the file", "10 bytes"},
      {length_bytes(0), "does not start with", ""},
      {with_header("[1]", 0), "does not start with", ""},
      {with_header("{\"a\":", 0), "not valid JSON", ""},
      {with_header("{} x", 0), "not valid JSON", ""},
      {with_header("{\"\xFF\":1}", 0), "not valid JSON", ""},
      {with_header("{\"" + std::string(100000, 'x'), 0), "not valid JSON", ""},
      {with_header("{\"a\":" + std::string(1000, '['), 0), "nested", ""},
      {with_header("{\"a\":3}", 0), "not a JSON object", "3"},
      {with_header("{\"a\":{}}", 0), "gives no \"dtype\"", ""},
      {with_header(R"({"a":{"dtype":"F32"}})", 0), "gives no \"shape\"", ""},
      {with_header(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "gives no \"data_offsets\"", ""},
      {with_header(R"({"__metadata__":[]})", 0), "__metadata__ is not", "[]"},
      {with_header(R"({"__metadata__":{"epoch":3}})", 0), "text only", "3"},
      {with_header(R"({"__metadata__":{},"__metadata__":{}})", 0), "twice", "\"__metadata__\""},
      {with_header(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
                   R"("a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})",
                   0),
       "twice", "\"a\""},
      {one(R"("F16")", "[2]", "[0,4]", 4), "only dtype", "\"F16\""},
      {one("7", "[2]", "[0,8]", 8), "only dtype", "7"},
      {one(R"("F32")", "2", "[0,8]", 8), "not a list", "2"},
      {one(R"("F32")", "[-2]", "[0,8]", 8), "whole numbers", "-2"},
      {one(R"("F32")", "[2.0]", "[0,8]", 8), "whole numbers", "2.0"},
      {one(R"("F32")", "[9223372036854775808]", "[0,8]", 8), "whole numbers",
       "9223372036854775808"},
      {one(R"("F32")", "[4294967296,4294967296]", "[0,0]", 0), "64 bits",
       "[4294967296,4294967296]"},
      {one(R"("F32")", "[4611686018427387904]", "[0,0]", 0), "64 bits", "[4611686018427387904]"},
      {one(R"("F32")", "[2]", "[0,8,9]", 8), "[begin, end]", "[0,8,9]"},
      {one(R"("F32")", "[2]", "8", 8), "[begin, end]", "8"},
      {one(R"("F32")", "[2]", "[0,1e1]", 8), "whole numbers", "10.0"},
      {one(R"("F32")", "[2]", "[8,0]", 8), "end before they begin", "[8,0]"},
      {one(R"("F32")", "[3]", "[0,8]", 8), "needs 12 bytes", "[0,8]"},
      {one(R"("F32")", "[2]", "[4,12]", 12), "gap", "4"},
      {one(R"("F32")", "[2]", "[0,8]", 7), "end behind the file", "8"},
      {one(R"("F32")", "[2]", "[0,8]", 9), "no tensor", "9 bytes"},
      {with_header("{}", 1), "no tensor", "1 bytes"},
      {two("[0,8]", "[4,12]", 12), "overlap", "4"},
      {two("[0,8]", "[0,8]", 8), "overlap", "0"},
      {two("[0,8]", "[12,20]", 20), "gap", "12"},
  };
  for (const BadFile& bad : cases) {
    SCOPED_TRACE(bad.what + " " + bad.value);
    const ErrorInfo info = refusal(bad.bytes);
    EXPECT_THAT(info.what, HasSubstr(bad.what));
    EXPECT_THAT(info.value, HasSubstr(bad.value));
  }
  EXPECT_THAT(refusal(one(R"("F16")", "[2]", "[0,4]", 4)).where, HasSubstr("tensor \"a\""));
}

TEST_F(Safetensors, NamesAFileThatCannotBeRead) {
  for (const std::string& path :
       {path_, fs::temp_directory_path().string(), std::string("/dev/null")}) {
    try {
      read_safetensors(path);
      ADD_FAILURE() << path;
    } catch (const InputError& error) {
      EXPECT_EQ(error.info().where, path);
    }
  }
}

TEST_F(Safetensors, WriterRefusesWhatIsNoModelAndLeavesNothing) {
  const std::vector<ModelFile> bad = {
      {{{"a", {2}, {1}}}, {}},
      {{{"a", {-1}, {1}}}, {}},
      {{{"a", {1}, {1}}, {"a", {1}, {1}}}, {}},
      {{{"__metadata__", {1}, {1}}}, {}},
      {{{"\xFF", {1}, {1}}}, {}},
      {{{"a", {std::int64_t{1} << 62, 16}, {}}}, {}},
  };
  for (const ModelFile& model : bad) {
    EXPECT_THROW(write_safetensors(path_, model), InputError);
    EXPECT_FALSE(fs::exists(path_));
  }
}

}  // namespace
}  // namespace cuthresh
