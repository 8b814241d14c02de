#pragma once

// A file is there complete or not at all: bytes go into a temporary file in the same folder, are
// synced and then renamed over the path.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cuthresh {

/// When the bytes of a file are to be safe from a power failure.
enum class Durable : std::uint8_t {
  kNow,
  kWithFolder  ///< by sync_files(); for a folder that is of no use before
};

/// Writes `bytes` to `path`, replacing a regular file that is there (a symbolic link to one is
/// followed). Missing folders are not created. On failure nothing is left behind and an old file is
/// untouched. Throws InputError naming the path and the system's reason; also for a path that is a
/// folder, a device or a pipe, which a rename would replace.
void write_file_atomically(const std::string& path, std::string_view bytes,
                           Durable durable = Durable::kNow);

/// The same for bytes that lie in several places, written one after another.
void write_file_atomically(const std::string& path, std::span<const std::string_view> pieces,
                           Durable durable = Durable::kNow);

/// Makes the files in `folder` and their names durable. Most of it is done with the first of them,
/// which takes what was written before along. Throws InputError when a file cannot be written.
void sync_files(const std::string& folder);

/// Makes a rename or a new entry in `folder` durable. Errors are ignored: some file systems cannot
/// do it.
void sync_folder(const std::string& folder) noexcept;

}  // namespace cuthresh
