#include "io/run_folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cuthresh/error.hpp"
#include "io/atomic_file.hpp"
#include "io/input_file.hpp"
#include "io/safetensors.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse_folder(const std::string& path, const std::string& what,
                                const std::string& remedy) {
  throw InputError({path, what, "", remedy});
}

bool there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

bool holds_working_folder(const fs::path& folder) {
  std::error_code error;
  fs::path at = fs::current_path(error);
  while (!error && !at.empty()) {
    if (fs::equivalent(at, folder, error) && !error) return true;
    error.clear();
    const fs::path up = at.parent_path();
    if (up == at) break;
    at = up;
  }
  return false;
}

// What may be lost under `force` must be a run folder: a mistyped path must not cost a home folder.
void check_replaceable(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (fs::is_symlink(status)) {
    refuse_folder(path, "is a symbolic link, which force does not replace",
                  "remove the link or choose another run.out");
  }
  if (!fs::is_directory(status)) {
    refuse_folder(path, "is not a folder, and force replaces run folders only",
                  "remove it or choose another run.out");
  }
  const bool is_empty = fs::is_empty(path, error);
  if (error) {
    refuse_folder(path, "cannot look into the folder: " + error.message(),
                  "choose another run.out");
  }
  if (!is_empty && !there(fs::path(path) / "result.json") &&
      !there(fs::path(path) / "config.toml")) {
    refuse_folder(
        path,
        "holds other things than a run (no result.json, no config.toml), so force does not "
        "replace it",
        "choose another run.out or remove the folder yourself");
  }
  if (holds_working_folder(path)) {
    refuse_folder(path, "holds the working folder, so force does not replace it",
                  "choose another run.out or run from elsewhere");
  }
}

void check_free(const std::string& path, bool force) {
  if (!there(path)) return;
  if (force) return check_replaceable(path);
  refuse_folder(path, "the run folder exists already",
                "choose another run.out, or replace it with --force (run.force = true)");
}

bool still_usable(const std::string& path, bool force) {
  try {
    check_free(path, force);
    return true;
  } catch (const InputError&) {
    return false;
  }
}

// rename(2) would silently replace an empty folder that appeared meanwhile; this does not.
int rename_new(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (there(to)) return EEXIST;  // a file system without RENAME_NOREPLACE
  return std::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

}  // namespace

RunFolder::RunFolder(std::string path, bool force) : path_(std::move(path)), force_(force) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  if (path_.empty()) {
    throw InputError({"run.out", "no run folder was given", "", "name a folder to write to"});
  }
  const fs::path as_path(path_);
  name_ = as_path.filename().string();
  parent_ = as_path.parent_path().string();
  if (name_.empty() || name_ == "." || name_ == "..") {
    refuse_folder(path_, "is not the name of a new folder", "end run.out with a folder name");
  }
  check_free(path_, force_);
  try {
    make_parents();
    make_staging();
  } catch (...) {
    remove_made();
    throw;
  }
}

RunFolder::~RunFolder() {
  if (!committed_) remove_made();
}

void RunFolder::make_parents() {
  fs::path so_far;
  for (const fs::path& part : fs::path(parent_)) {
    so_far /= part;
    std::error_code error;
    const fs::file_status status = fs::status(so_far, error);
    if (fs::is_directory(status)) continue;
    if (fs::exists(status)) {
      refuse_folder(path_, "cannot be made: " + so_far.string() + " is not a folder",
                    "choose another run.out");
    }
    if (::mkdir(so_far.c_str(), 0777) == 0) {
      made_parents_.push_back(so_far.string());
    } else if (errno != EEXIST) {
      refuse_folder(path_,
                    "cannot make the folder " + so_far.string() + ": " + system_reason(errno),
                    "choose a run.out in a folder that can be written");
    }
  }
}

void RunFolder::make_staging() {
  const std::string base = "." + name_ + ".partial-" + std::to_string(::getpid());
  // A dead process with this number may have left its folder: try a few more names.
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::string name = attempt == 0 ? base : base + "-" + std::to_string(attempt);
    const std::string candidate = (fs::path(parent_) / name).string();
    if (::mkdir(candidate.c_str(), 0777) == 0) {
      staging_ = candidate;
      return;
    }
    if (errno != EEXIST) break;
  }
  refuse_folder(path_,
                "cannot write to the folder " + (parent_.empty() ? "." : parent_) + ": " +
                    system_reason(errno),
                "choose a run.out in a folder that can be written");
}

void RunFolder::remove_made() noexcept {
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
  for (auto folder = made_parents_.rbegin(); folder != made_parents_.rend(); ++folder) {
    ::rmdir(folder->c_str());  // keeps a folder that somebody else uses by now
  }
}

std::string RunFolder::staged(const std::string& name) const {
  return (fs::path(staging_) / name).string();
}

void RunFolder::write(const std::string& name, std::string_view bytes) {
  write_file_atomically(staged(name), bytes, Durable::kWithFolder);
}

void RunFolder::write(const std::string& name, const ModelFile& model) {
  write_safetensors(staged(name), model, Durable::kWithFolder);
}

int RunFolder::move_old_aside(std::string& aside) const {
  const fs::path base =
      fs::path(parent_) / ("." + name_ + ".replaced-" + std::to_string(::getpid()));
  int reason = EEXIST;
  for (int attempt = 0; attempt < 100 && reason == EEXIST; ++attempt) {
    aside = attempt == 0 ? base.string() : base.string() + "-" + std::to_string(attempt);
    reason = rename_new(path_, aside);
  }
  if (reason != 0) aside.clear();
  return reason;
}

// Renames the staging folder to the path asked for, or to another name where that is taken. Returns
// where the old folder was moved to; empty when there is none.
std::string RunFolder::place() {
  std::string aside;
  int reason = EEXIST;
  if (still_usable(path_, force_) && (!there(path_) || move_old_aside(aside) == 0)) {
    reason = rename_new(staging_, path_);
    if (reason == 0) return aside;
    if (!aside.empty() && rename_new(aside, path_) == 0) aside.clear();
  }
  const std::string wanted = path_;
  for (int number = 2; reason == EEXIST && number < 10000; ++number) {
    path_ = wanted + "-" + std::to_string(number);
    reason = rename_new(staging_, path_);
  }
  if (reason == 0) return aside;
  path_ = wanted;
  refuse_folder(path_, "cannot put the run folder in place: " + system_reason(reason),
                "choose another run.out");
}

std::string RunFolder::commit() {
  sync_files(staging_);
  const std::string wanted = path_;
  const std::string aside = place();
  committed_ = true;
  sync_folder(parent_);
  if (path_ != wanted) {
    std::string note = wanted + " was taken while the training ran: the run folder is " + path_;
    if (!aside.empty()) note += "; the folder that was to be replaced is " + aside;
    return note;
  }
  if (aside.empty()) return "";
  std::error_code error;
  fs::remove_all(aside, error);
  return error ? "the replaced run folder could not be removed: " + aside + " (" + error.message() +
                     ")"
               : "";
}

}  // namespace cuthresh
