#pragma once

// NVIDIA's libraries are loaded on first use, so that one binary serves machines without them.

#include <dlfcn.h>

#include <initializer_list>
#include <string>

namespace cuthresh::cuda {

/// A library that stays loaded for the life of the process.
class SharedLibrary {
 public:
  /// The first of these that can be loaded: each by its name (run path, LD_LIBRARY_PATH, the
  /// system's cache), then where toolkits install. `missing`: why there is none.
  static SharedLibrary open(std::initializer_list<const char*> sonames, std::string& missing) {
    std::string names, tried;
    for (const char* soname : sonames) {
      SharedLibrary library(soname, ::dlopen(soname, RTLD_NOW | RTLD_LOCAL));
      if (library.handle_ != nullptr) return library;
      const char* error = ::dlerror();
      tried +=
          (tried.empty() ? "" : "; ") + std::string(error != nullptr ? error : "no reason given");
      names += (names.empty() ? "" : " or ") + std::string(soname);
      const std::string installed = std::string("/usr/local/cuda/lib64/") + soname;
      library.handle_ = ::dlopen(installed.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (library.handle_ != nullptr) return library;
    }
    missing = names + " cannot be loaded (" + tried + ")";
    return {};
  }

  /// Sets `function`, or says in `missing` that the library has not got it. Nothing once something
  /// is missing.
  template <class F>
  void find(const char* name, F& function, std::string& missing) const {
    if (!missing.empty()) return;
    function = reinterpret_cast<F>(::dlsym(handle_, name));
    if (function == nullptr) missing = soname_ + " has no " + name;
  }

 private:
  SharedLibrary() = default;
  SharedLibrary(const char* soname, void* handle) : soname_(soname), handle_(handle) {}

  std::string soname_;
  void* handle_ = nullptr;
};

}  // namespace cuthresh::cuda
