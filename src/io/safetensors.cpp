// The safetensors format: 8 bytes little-endian header length, a JSON header padded with spaces to
// a multiple of 8, then raw little-endian data. What is read is held to the rules of the reference
// implementation: offsets that start at 0, ascend without gap or overlap and end at the end of the
// file.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "cuthresh/error.hpp"
#include "cuthresh/model_file.hpp"
#include "io/input_file.hpp"
#include "io/safetensors.hpp"

namespace cuthresh {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensor data are written as they lie in memory");

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kLongestHeader = 100'000'000;  // the reference implementation's limit
constexpr std::uint64_t kAlignment = 8;
constexpr const char* kMetadata = "__metadata__";
constexpr const char* kDamaged = "get the file again or write it anew";

[[noreturn]] void refuse_file(const std::string& where, const std::string& what,
                              const std::string& value = "", const std::string& remedy = kDamaged) {
  throw InputError({where, what, value, remedy});
}

// A value of the header as it stands there, cut to what fits in a message.
std::string shown(const Json& value) {
  constexpr std::size_t kLongest = 60;
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

std::string in_tensor(const std::string& path, const std::string& name) {
  return path + ": tensor " + shown(Json(name));
}

// Parses the header; the order of its names is kept beside it, as Json sorts them.
class HeaderParser {
 public:
  HeaderParser(const std::string& path, const std::string& text) : path_(path) {
    try {
      header_ = Json::parse(text, [this](int depth, Json::parse_event_t event, Json& value) {
        return check(depth, event, value);
      });
    } catch (const Json::exception& error) {
      // The message repeats what was read last, which may be the whole header.
      refuse_file(path_,
                  "the header is not valid JSON: " + std::string(error.what()).substr(0, 200));
    }
    if (!header_.is_object()) refuse_file(path_, "the header is not a JSON object", shown(header_));
  }

  const Json& header() const { return header_; }
  std::int64_t position(const std::string& name) const { return positions_.at(name); }

 private:
  // Json keeps the last of two equal names without a word, so names are checked as they come.
  // Nesting is bounded for the same reason as the length: a header has three levels.
  bool check(int depth, Json::parse_event_t event, const Json& value) {
    if (depth > 8) refuse_file(path_, "the header is nested too deeply");
    if (event == Json::parse_event_t::object_start) {
      names_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      names_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      if (!names_.back().insert(name).second) {
        refuse_file(path_, "the header names the same thing twice", shown(value));
      }
      if (names_.size() == 1) {
        positions_.emplace(name, static_cast<std::int64_t>(positions_.size()));
      }
    }
    return true;
  }

  const std::string& path_;
  Json header_;
  std::vector<std::set<std::string>> names_;  // of each open object
  std::map<std::string, std::int64_t> positions_;
};

// A tensor of the header: where its bytes are, counted from the end of the header.
struct Entry {
  std::string name;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::int64_t position = 0;
};

const Json& member(const std::string& where, const Json& tensor, const char* key) {
  const auto found = tensor.find(key);
  if (found == tensor.end()) refuse_file(where, std::string("the header gives no \"") + key + "\"");
  return *found;
}

std::uint64_t whole_number(const std::string& where, const char* what, const Json& value) {
  constexpr auto kLargest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > kLargest) {
    refuse_file(where, std::string(what) + " must be whole numbers from 0 to 2^63 - 1",
                shown(value));
  }
  return value.get<std::uint64_t>();
}

Entry parse_entry(const std::string& path, const std::string& name, const Json& tensor) {
  const std::string where = in_tensor(path, name);
  if (!tensor.is_object())
    refuse_file(where, "its header entry is not a JSON object", shown(tensor));
  const Json& dtype = member(where, tensor, "dtype");
  if (dtype != "F32") {
    refuse_file(where, "only dtype \"F32\" is read", shown(dtype), "convert the tensor to float32");
  }
  Entry entry;
  entry.name = name;
  const Json& shape = member(where, tensor, "shape");
  if (!shape.is_array()) refuse_file(where, "its shape is not a list", shown(shape));
  std::uint64_t bytes = sizeof(float);
  for (const Json& extent : shape) {
    const std::uint64_t size = whole_number(where, "the extents of a shape", extent);
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      refuse_file(where, "its shape has more elements than 64 bits count", shown(shape));
    }
    entry.shape.push_back(static_cast<std::int64_t>(size));
  }
  const Json& offsets = member(where, tensor, "data_offsets");
  if (!offsets.is_array() || offsets.size() != 2) {
    refuse_file(where, "data_offsets must be [begin, end]", shown(offsets));
  }
  entry.begin = whole_number(where, "data_offsets", offsets[0]);
  entry.end = whole_number(where, "data_offsets", offsets[1]);
  if (entry.end < entry.begin) refuse_file(where, "its data end before they begin", shown(offsets));
  if (entry.end - entry.begin != bytes) {
    refuse_file(where,
                "shape " + shown(shape) + " needs " + std::to_string(bytes) +
                    " bytes, and data_offsets gives " + std::to_string(entry.end - entry.begin),
                shown(offsets));
  }
  return entry;
}

// Sorted by their data; no gap, no overlap, nothing missing, nothing left over.
void check_cover(const std::string& path, const std::vector<Entry>& entries, std::uint64_t bytes) {
  std::uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered) {
      refuse_file(
          in_tensor(path, entry.name),
          std::string("its data ") +
              (entry.begin < covered ? "overlap those before" : "leave a gap behind those before") +
              ", which end at byte " + std::to_string(covered),
          std::to_string(entry.begin));
    }
    covered = entry.end;
    if (covered > bytes) {
      refuse_file(
          in_tensor(path, entry.name),
          "its data end behind the file, which holds " + std::to_string(bytes) + " bytes of data",
          std::to_string(covered), "the file is cut short: get it again");
    }
  }
  if (covered != bytes) {
    refuse_file(path,
                "the file holds bytes that belong to no tensor: its data should end at byte " +
                    std::to_string(covered),
                std::to_string(bytes) + " bytes of data");
  }
}

std::string read_header(InputFile& file) {
  const std::string& path = file.path();
  if (!file.regular()) {
    refuse_file(path, "is a device or a pipe, expected a safetensors file", "",
                "copy it to a regular file first");
  }
  const auto size = static_cast<std::uint64_t>(file.size());
  const std::string bytes_shown = std::to_string(size) + " bytes";
  std::uint64_t length = 0;
  if (file.read(&length, kLengthBytes) != static_cast<std::int64_t>(kLengthBytes)) {
    refuse_file(path,
                "too short for a safetensors file, which starts with 8 bytes of header length",
                bytes_shown);
  }
  if (length > kLongestHeader) {
    refuse_file(path, "the header length is above the limit of 100000000 bytes",
                std::to_string(length), "check that this is a safetensors file");
  }
  if (length > size - kLengthBytes) {
    refuse_file(path, "the header of " + std::to_string(length) + " bytes ends behind the file",
                bytes_shown, "the file is cut short: get it again");
  }
  std::string text(length, '\0');
  if (file.read(text.data(), static_cast<std::int64_t>(length)) !=
      static_cast<std::int64_t>(length)) {
    refuse_file(path, "the file became shorter while it was read");
  }
  if (text.empty() || text.front() != '{') {
    refuse_file(path, "the header does not start with \"{\"", "",
                "check that this is a safetensors file");
  }
  return text;
}

std::uint64_t checked_bytes(const std::string& path, const NamedTensor& tensor) {
  std::uint64_t count = 1;
  bool good = true;
  for (const std::int64_t extent : tensor.shape) {
    good = good && extent >= 0 &&
           !__builtin_mul_overflow(count, static_cast<std::uint64_t>(extent), &count);
  }
  if (!good || count != tensor.values.size()) {
    refuse_file(
        in_tensor(path, tensor.name), "its shape does not agree with its values",
        shown(Json(tensor.shape)) + " with " + std::to_string(tensor.values.size()) + " values",
        "give as many values as the product of the extents, each at least 0");
  }
  return count * sizeof(float);
}

std::string header_text(const std::string& path, const ModelFile& model) {
  OrderedJson header = OrderedJson::object();
  if (!model.metadata.empty()) header[kMetadata] = model.metadata;
  std::set<std::string_view> names;
  std::string text;
  std::uint64_t offset = 0;
  for (const NamedTensor& tensor : model.tensors) {
    if (tensor.name == kMetadata || !names.insert(tensor.name).second) {
      refuse_file(in_tensor(path, tensor.name), "the name is taken", "",
                  "give every tensor its own name");
    }
    const std::uint64_t end = offset + checked_bytes(path, tensor);
    OrderedJson entry = {{"dtype", "F32"}, {"shape", tensor.shape}};
    entry["data_offsets"] = {offset, end};
    header[tensor.name] = std::move(entry);
    offset = end;
  }
  try {
    text = header.dump();
  } catch (const OrderedJson::exception&) {
    refuse_file(path, "a tensor name or a metadata text is not UTF-8", "", "use UTF-8 names");
  }
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  if (text.size() > kLongestHeader) {
    refuse_file(path, "the header would be longer than 100000000 bytes",
                std::to_string(text.size()), "write fewer tensors or less metadata to one file");
  }
  return text;
}

}  // namespace

ModelFile read_safetensors(const std::string& path) {
  InputFile file(path, "safetensors file");
  const std::string text = read_header(file);
  const HeaderParser parser(path, text);
  ModelFile model;
  std::vector<Entry> entries;
  for (const auto& [name, value] : parser.header().items()) {
    if (name != kMetadata) {
      entries.push_back(parse_entry(path, name, value));
      entries.back().position = parser.position(name);
      continue;
    }
    if (!value.is_object()) refuse_file(path, "__metadata__ is not a JSON object", shown(value));
    for (const auto& [key, item] : value.items()) {
      if (!item.is_string()) refuse_file(path, "__metadata__ may hold text only", shown(item));
      model.metadata[key] = item.get<std::string>();
    }
  }
  // Tensors without elements share their offsets with a neighbour; the header's order decides then.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.position) < std::tie(b.begin, b.end, b.position);
  });
  check_cover(path, entries, static_cast<std::uint64_t>(file.size()) - kLengthBytes - text.size());
  for (Entry& entry : entries) {
    NamedTensor tensor{std::move(entry.name), std::move(entry.shape), {}};
    const std::uint64_t bytes = entry.end - entry.begin;
    tensor.values.resize(bytes / sizeof(float));
    const auto count = static_cast<std::int64_t>(bytes);
    if (file.read(tensor.values.data(), count) != count) {
      refuse_file(path, "the file became shorter while it was read");
    }
    model.tensors.push_back(std::move(tensor));
  }
  return model;
}

void write_safetensors(const std::string& path, const ModelFile& model, Durable durable) {
  const std::string text = header_text(path, model);
  char length[kLengthBytes];
  const std::uint64_t text_size = text.size();
  std::memcpy(length, &text_size, kLengthBytes);
  std::vector<std::string_view> pieces = {{length, kLengthBytes}, text};
  for (const NamedTensor& tensor : model.tensors) {
    pieces.emplace_back(reinterpret_cast<const char*>(tensor.values.data()),
                        tensor.values.size() * sizeof(float));
  }
  write_file_atomically(path, pieces, durable);
}

void write_safetensors(const std::string& path, const ModelFile& model) {
  write_safetensors(path, model, Durable::kNow);
}

}  // namespace cuthresh
