#include "nn/layer_spec.hpp"

#include <charconv>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "core/suggest.hpp"
#include "cuthresh/error.hpp"
#include "nn/activation_names.hpp"

namespace cuthresh::nn {
namespace {

// Far above any layer, and far below what a product of two could overflow.
constexpr std::int64_t kMostOutputs = std::int64_t{1} << 31;
constexpr std::int64_t kLargestWindow = std::int64_t{1} << 16;

std::optional<std::int64_t> whole_number(std::string_view text, std::int64_t least,
                                         std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value < least || value > most ? std::nullopt : std::optional(value);
}

/// Reads one line word by word.
class Line {
 public:
  Line(const std::string& line, std::size_t index)
      : where_("model.layers[" + std::to_string(index) + "]"), line_(line) {
    std::istringstream stream(line);
    for (std::string word; stream >> word;) words_.push_back(word);
  }

  bool done() const { return next_ == words_.size(); }
  const std::string& peek() const { return words_[next_]; }

  std::string take(const std::string& what) {
    if (done()) refuse("expects " + what + " after \"" + line_ + "\"", "nothing", "add it");
    return words_[next_++];
  }

  bool accept(std::string_view word) {
    if (done() || peek() != word) return false;
    ++next_;
    return true;
  }

  std::int64_t number(const std::string& what, std::int64_t least, std::int64_t most) {
    const std::string word = take(what);
    const auto value = whole_number(word, least, most);
    if (!value) refuse_word(word, what, least, most);
    return *value;
  }

  /// "3x5" or "3" for both.
  std::pair<std::int64_t, std::int64_t> pair(const std::string& what, std::int64_t least) {
    const std::string word = take(what);
    const std::size_t cross = word.find('x');
    const auto first = whole_number(word.substr(0, cross), least, kLargestWindow);
    const auto second = cross == std::string::npos
                            ? first
                            : whole_number(word.substr(cross + 1), least, kLargestWindow);
    if (!first || !second) refuse_word(word, what, least, kLargestWindow);
    return {*first, *second};
  }

  /// The activation that may end a line; nothing may follow it.
  Activation last_activation() {
    if (done()) return Activation::kIdentity;
    const std::string word = peek();
    const auto activation = activation_from_name(word);
    if (!activation) {
      refuse("has a word that does not belong here in \"" + line_ + "\"", word,
             "end the line, or with an activation: relu, leaky-relu, tanh, sigmoid, gelu, silu");
    }
    ++next_;
    end();
    return *activation;
  }

  void end() {
    if (!done()) refuse("has a word too many in \"" + line_ + "\"", peek(), "remove it");
  }

  [[noreturn]] void refuse(std::string what, std::string value, std::string remedy) const {
    throw InputError({where_, std::move(what), std::move(value), std::move(remedy)});
  }

 private:
  [[noreturn]] void refuse_word(const std::string& word, const std::string& what,
                                std::int64_t least, std::int64_t most) const {
    refuse("expects " + what + " in \"" + line_ + "\", whole numbers from " +
               std::to_string(least) + " to " + std::to_string(most),
           word, "write for instance conv 32 3x3 pad 1 relu");
  }

  std::string where_;
  std::string line_;
  std::vector<std::string> words_;
  std::size_t next_ = 0;
};

void read_window(Line& line, LayerSpec& spec, bool convolution) {
  std::tie(spec.window.height, spec.window.width) = line.pair("a window such as 3x3", 1);
  if (!convolution) {  // pools move by their own size unless told otherwise
    spec.window.stride_height = spec.window.height;
    spec.window.stride_width = spec.window.width;
  }
  while (!line.done()) {
    if (line.accept("stride")) {
      std::tie(spec.window.stride_height, spec.window.stride_width) = line.pair("a stride", 1);
    } else if (convolution && line.accept("no-bias")) {
      spec.bias = false;
    } else if (line.accept("pad")) {
      if (line.accept("same")) {
        if (spec.window.height % 2 == 0 || spec.window.width % 2 == 0) {
          line.refuse("pads an even window the same on both sides", spec.text,
                      "give pad as numbers, or an odd window");
        }
        spec.window.pad_height = spec.window.height / 2;
        spec.window.pad_width = spec.window.width / 2;
      } else {
        std::tie(spec.window.pad_height, spec.window.pad_width) = line.pair("a padding", 0);
      }
    } else {
      break;
    }
  }
  if (!convolution && (2 * spec.window.pad_height > spec.window.height ||
                       2 * spec.window.pad_width > spec.window.width)) {
    line.refuse("pads by more than half the window", spec.text, "use a smaller pad");
  }
}

LayerSpec parse_line(const std::string& text, std::size_t index) {
  Line line(text, index);
  LayerSpec spec;
  spec.text = text;
  const std::string kind = line.take("a layer");
  if (kind == "conv") {
    spec.kind = LayerKind::kConv;
    spec.outputs = line.number("the number of channels", 1, kMostOutputs);
    read_window(line, spec, true);
    spec.activation = line.last_activation();
  } else if (kind == "dense") {
    spec.kind = LayerKind::kDense;
    spec.outputs = line.number("the number of outputs", 1, kMostOutputs);
    spec.activation = line.last_activation();
  } else if (kind == "maxpool" || kind == "avgpool") {
    spec.kind = kind == "maxpool" ? LayerKind::kMaxPool : LayerKind::kAveragePool;
    read_window(line, spec, false);
  } else if (kind == "global-avgpool") {
    spec.kind = LayerKind::kGlobalAverage;
  } else if (kind == "batchnorm") {
    spec.kind = LayerKind::kBatchNorm;
    spec.activation = line.last_activation();
  } else if (kind == "dropout") {
    spec.kind = LayerKind::kDropout;
    const std::string word = line.take("a rate");
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), spec.rate);
    if (error != std::errc() || end != word.data() + word.size() ||
        !(spec.rate >= 0.0f && spec.rate < 1.0f)) {
      line.refuse("expects a rate of at least 0 and below 1 in \"" + text + "\"", word,
                  "write for instance dropout 0.5");
    }
  } else if (kind == "flatten") {
    spec.kind = LayerKind::kFlatten;
  } else if (kind == "residual") {
    spec.kind = LayerKind::kResidual;
  } else if (kind == "shortcut") {
    spec.kind = LayerKind::kShortcut;
  } else if (kind == "end") {
    spec.kind = LayerKind::kEnd;
    spec.activation = line.last_activation();
  } else if (const auto activation = activation_from_name(kind)) {
    spec.kind = LayerKind::kActivation;
    spec.activation = *activation;
  } else {
    static const std::vector<std::string_view> kKinds{
        "conv",    "dense",    "maxpool",  "avgpool", "global-avgpool", "batchnorm", "dropout",
        "flatten", "residual", "shortcut", "end"};
    line.refuse("is no layer", kind,
                did_you_mean(kind, kKinds,
                             "use conv, dense, maxpool, avgpool, global-avgpool, batchnorm, "
                             "dropout, flatten, residual, shortcut, end, or an activation"));
  }
  line.end();
  return spec;
}

}  // namespace

std::vector<LayerSpec> parse_layers(std::span<const std::string> lines) {
  std::vector<LayerSpec> specs;
  for (const std::string& line : lines) specs.push_back(parse_line(line, specs.size()));
  return specs;
}

}  // namespace cuthresh::nn
