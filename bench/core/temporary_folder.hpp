#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "cuthresh/error.hpp"

namespace cuthresh::bench {

/// A new folder in TMPDIR, which goes with this object.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_((std::filesystem::temp_directory_path() / "cuthresh-bench-XXXXXX").string()) {
    if (mkdtemp(path_.data()) != nullptr) return;
    throw InputError({"temporary folder", "cannot be made", path_,
                      "name a folder that can be written to in TMPDIR"});
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const {
    return std::filesystem::path(path_) / name;
  }

 private:
  std::string path_;
};

}  // namespace cuthresh::bench
