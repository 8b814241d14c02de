#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "cuthresh/config.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh {

namespace fs = std::filesystem;

FitConfig load_config(const std::string& path, const std::vector<std::string>& overrides) {
  // A configuration is some hundred bytes; more than this is another file given by mistake.
  constexpr std::streamsize kLargest = 1 << 20;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    throw InputError(
        {path, "is a folder, and a configuration file was expected", "", "name the .toml file"});
  }
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw InputError(
        {path, "cannot be opened for reading", "", "check the name and its permissions"});
  std::string text(static_cast<std::size_t>(kLargest) + 1, '\0');
  file.read(text.data(), kLargest + 1);
  if (file.bad()) throw InputError({path, "reading failed", "", "check the disk the file is on"});
  if (file.gcount() > kLargest) {
    throw InputError(
        {path, "is larger than 1 MiB, which no configuration is", "", "name the .toml file"});
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  const std::string folder = fs::path(path).parent_path().string();
  return parse_config(text, path, folder.empty() ? "." : folder, overrides);
}

}  // namespace cuthresh
