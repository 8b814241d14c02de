#include "cuthresh/error.hpp"

#include <utility>

namespace cuthresh {
namespace {

std::string sentence(const ErrorInfo& info) {
  std::string text = info.where.empty() ? info.what : info.where + ": " + info.what;
  if (!info.value.empty()) text += " (got " + info.value + ")";
  if (!info.remedy.empty()) text += "; " + info.remedy;
  return text;
}

}  // namespace

InputError::InputError(ErrorInfo info)
    : std::runtime_error(sentence(info)), info_(std::move(info)) {}

InternalError::InternalError(ErrorInfo info)
    : std::runtime_error(sentence(info)), info_(std::move(info)) {}

}  // namespace cuthresh
