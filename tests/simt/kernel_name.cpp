// Names for kernel pointers: tests and messages say "prox_step_kernel<256>", not an address. The
// dynamic symbol table lacks hidden symbols, so the file's own one is read.

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>

#include "simt/interpreter.hpp"

namespace cuthresh::simt {
namespace {

std::string read_all(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

template <class T>
bool read_at(const std::string& image, std::uint64_t offset, T& value) {
  if (offset > image.size() || image.size() - offset < sizeof(T)) return false;
  std::memcpy(&value, image.data() + offset, sizeof(T));
  return true;
}

using SymbolTable = std::map<std::uint64_t, std::string>;  // offset in the program → mangled name

SymbolTable read_symbols(const std::string& image) {
  SymbolTable table;
  ElfW(Ehdr) head;
  if (!read_at(image, 0, head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return table;
  for (std::uint64_t s = 0; s < head.e_shnum; ++s) {
    ElfW(Shdr) section, names;
    if (!read_at(image, head.e_shoff + s * head.e_shentsize, section)) return table;
    if (section.sh_type != SHT_SYMTAB) continue;
    if (!read_at(image, head.e_shoff + section.sh_link * std::uint64_t{head.e_shentsize}, names)) {
      return table;
    }
    for (std::uint64_t at = 0; at + sizeof(ElfW(Sym)) <= section.sh_size; at += sizeof(ElfW(Sym))) {
      ElfW(Sym) symbol;
      if (!read_at(image, section.sh_offset + at, symbol)) return table;
      if ((symbol.st_info & 0xf) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
      const std::uint64_t name = names.sh_offset + symbol.st_name;
      if (name < image.size()) table.emplace(symbol.st_value, image.c_str() + name);
    }
  }
  return table;
}

void erase_all(std::string& text, const char* what) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at)) {
    text.erase(at, std::strlen(what));
  }
}

// "void cuthresh::k<256u>(int, float*)" → "k<256u>".
std::string shorten(const char* mangled) {
  int status = 0;
  char* raw = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = status == 0 ? raw : mangled;
  std::free(raw);
  erase_all(name, "(anonymous namespace)::");
  erase_all(name, "cuthresh::");
  if (name.starts_with("void ")) name.erase(0, 5);
  int depth = 0;
  for (std::size_t i = name.size(); i-- > 0 && name.ends_with(')');) {
    if (name[i] == ')') ++depth;
    if (name[i] == '(' && --depth == 0) {
      name.resize(i);
      break;
    }
  }
  return name;
}

}  // namespace

std::string kernel_name(const void* kernel) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  static std::map<const void*, std::string> known;
  const auto found = known.find(kernel);
  if (found != known.end()) return found->second;
  char address[32];
  std::snprintf(address, sizeof address, "kernel at %p", kernel);
  std::string name = address;
  Dl_info info{};
  if (dladdr(kernel, &info) != 0 && info.dli_fname != nullptr) {
    static std::map<const void*, SymbolTable> programs;
    auto program = programs.find(info.dli_fbase);
    if (program == programs.end()) {
      // The main program is listed under its argv[0], which need not be a path from here.
      SymbolTable table = read_symbols(read_all(info.dli_fname));
      if (table.empty()) table = read_symbols(read_all("/proc/self/exe"));
      program = programs.emplace(info.dli_fbase, std::move(table)).first;
    }
    // Symbols count from where the program was loaded; in one that is not relocatable they are
    // addresses.
    const auto address_of = reinterpret_cast<std::uint64_t>(kernel);
    auto symbol =
        program->second.find(address_of - reinterpret_cast<std::uint64_t>(info.dli_fbase));
    if (symbol == program->second.end()) symbol = program->second.find(address_of);
    if (symbol != program->second.end()) name = shorten(symbol->second.c_str());
  }
  known.emplace(kernel, name);
  return name;
}

}  // namespace cuthresh::simt
