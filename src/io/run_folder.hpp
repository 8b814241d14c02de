#pragma once

// The folder that a run leaves behind: all of it or nothing.

#include <string>
#include <string_view>
#include <vector>

#include "cuthresh/model_file.hpp"

namespace cuthresh {

/// Files are written into a hidden sibling (".NAME.partial-PID") that commit() renames into place.
/// Without commit() the destructor removes the sibling and the parent folders that were made for
/// it.
class RunFolder {
 public:
  /// Checks everything that can be checked before a training: that `path` names a folder, that
  /// nothing is there (with `force`: nothing but a folder that is empty or holds result.json or
  /// config.toml), and that its parent can be made and written to, which it does. Throws
  /// InputError.
  RunFolder(std::string path, bool force);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// Where the folder will be; after commit(), where it is.
  const std::string& path() const { return path_; }
  /// Where a file of it is until commit(), for writers that take a path. `name` is a plain file
  /// name.
  std::string staged(const std::string& name) const;
  /// Writes one file of it. Throws InputError.
  void write(const std::string& name, std::string_view bytes);
  void write(const std::string& name, const ModelFile& model);

  /// Puts the folder in place; with `force` what was there is moved aside first and removed
  /// afterwards. Where something that may not be replaced has appeared since the constructor, the
  /// folder goes under the first free name of path-2, path-3, …: a finished training is worth more
  /// than its name. Throws InputError, with the old folder back in its place, when nothing can be
  /// put there at all. Returns an empty string, or what a user should be told: another name was
  /// taken, or the old folder could not be removed.
  std::string commit();
  bool committed() const { return committed_; }

 private:
  void make_parents();
  void make_staging();
  void remove_made() noexcept;
  std::string place();
  int move_old_aside(std::string& aside) const;

  std::string path_;
  bool force_ = false;
  bool committed_ = false;
  std::string parent_;
  std::string name_;
  std::string staging_;
  std::vector<std::string> made_parents_;  ///< outermost first
};

}  // namespace cuthresh
