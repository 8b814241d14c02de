#include "capi/boundary.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <new>
#include <string_view>
#include <utility>

#include "backend/check_values.hpp"

namespace cuthresh::capi {
namespace {

/// The latest message of a thread. Longer ones end in "…".
constexpr std::size_t kMessageBytes = 1024;
thread_local std::array<char, kMessageBytes> last_message{};

/// `text` into the buffer, after "function: " where it does not name the function itself.
void keep_message(std::string_view function, std::string_view text) noexcept {
  std::size_t used = 0;
  const auto add = [&](std::string_view part) {
    const std::size_t n = std::min(part.size(), kMessageBytes - 1 - used);
    std::copy_n(part.data(), n, last_message.data() + used);
    used += n;
    last_message[used] = '\0';
    return n == part.size();
  };
  const bool named = text.substr(0, function.size()) == function;
  if ((named || (add(function) && add(": "))) && add(text)) return;
  constexpr std::string_view kCut = "…";
  used = kMessageBytes - 1 - kCut.size();
  // Not in the middle of a character of several bytes.
  while (used > 0 && (static_cast<unsigned char>(last_message[used]) & 0xC0U) == 0x80U) --used;
  add(kCut);
}

cth_status keep(cth_status status, const char* function, std::string_view text) noexcept {
  keep_message(function, text);
  return status;
}

}  // namespace

void invalid(std::string where, std::string what, std::string value, std::string remedy) {
  throw Refusal(CTH_INVALID_ARGUMENT,
                {std::move(where), std::move(what), std::move(value), std::move(remedy)});
}

void unsupported(std::string where, std::string what, std::string value, std::string remedy) {
  throw Refusal(CTH_UNSUPPORTED,
                {std::move(where), std::move(what), std::move(value), std::move(remedy)});
}

std::string argument(const char* function, const std::string& name) {
  return std::string(function) + ", " + name;
}

std::string element(const char* name, std::size_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

std::string text_of(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return std::string(text.data(), end);
}

std::string text_of(float value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return std::string(text.data(), end);
}

void require(const char* function, const char* name, const void* pointer) {
  if (pointer != nullptr) return;
  invalid(argument(function, name), "must not be NULL", "NULL", "pass a pointer");
}

void require_count(const char* function, const char* name, std::size_t count, std::size_t wanted,
                   const char* of) {
  if (count == wanted) return;
  invalid(argument(function, name),
          "must be the number of " + std::string(of) + ", " + std::to_string(wanted),
          std::to_string(count), "pass an array of as many");
}

void check_struct_size(const char* function, const void* options, std::size_t given,
                       std::size_t first, std::size_t known) {
  // No struct of any version is near this; what is beyond is no size, and reading so far would
  // leave the caller's memory.
  constexpr std::size_t kLargest = 4096;
  const std::string where = argument(function, "options->struct_size");
  if (given < first || given > kLargest) {
    invalid(where, "must be the size of the struct, " + std::to_string(known),
            std::to_string(given), "begin with the struct's …_INIT, or set it to sizeof");
  }
  if (given <= known) return;
  const auto* const bytes = static_cast<const unsigned char*>(options);
  if (std::any_of(bytes + known, bytes + given, [](unsigned char byte) { return byte != 0; })) {
    unsupported(where, "the struct has members that this version does not know, and they are set",
                std::to_string(given) + " bytes, known " + std::to_string(known),
                "leave them 0, or load a later libcuthresh.so; this is " CTH_VERSION);
  }
}

cth_status status_of_exception(const char* function) noexcept {
  try {
    throw;
  } catch (const Refusal& error) {
    return keep(error.status(), function, error.what());
  } catch (const InputError& error) {
    return keep(CTH_INVALID_ARGUMENT, function, error.what());
  } catch (const RefusedArgument& error) {
    return keep(CTH_INVALID_ARGUMENT, function, error.what());
  } catch (const InternalError& error) {  // what rooms throw when the machine fails them
    return keep(CTH_DEVICE_ERROR, function, error.what());
  } catch (const std::bad_alloc&) {
    return keep(CTH_DEVICE_ERROR, function, "the host is out of memory; free some and try again");
  } catch (const std::exception& error) {
    return keep(CTH_INTERNAL_ERROR, function, error.what());
  } catch (...) {
    return keep(CTH_INTERNAL_ERROR, function, "an exception of an unknown type");
  }
}

}  // namespace cuthresh::capi

const char* cth_version(void) {
  return CTH_VERSION;
}

void cth_version_numbers(int* major, int* minor, int* patch) {
  if (major != nullptr) *major = CTH_VERSION_MAJOR;
  if (minor != nullptr) *minor = CTH_VERSION_MINOR;
  if (patch != nullptr) *patch = CTH_VERSION_PATCH;
}

const char* cth_last_error(void) {
  return cuthresh::capi::last_message.data();
}

const char* cth_status_name(cth_status status) {
  switch (cuthresh::capi::number_of(status)) {
    case CTH_OK:
      return "CTH_OK";
    case CTH_INVALID_ARGUMENT:
      return "CTH_INVALID_ARGUMENT";
    case CTH_UNSUPPORTED:
      return "CTH_UNSUPPORTED";
    case CTH_DEVICE_ERROR:
      return "CTH_DEVICE_ERROR";
    case CTH_INTERNAL_ERROR:
      return "CTH_INTERNAL_ERROR";
  }
  return "unknown status";
}
