#include "config/origins.hpp"

namespace cuthresh::config {

void Origins::erase(const std::string& key) {
  std::erase_if(origins_, [&](const auto& entry) {
    const std::string& name = entry.first;
    return name.starts_with(key) &&
           (name.size() == key.size() || name[key.size()] == '[' || name[key.size()] == '.');
  });
}

const Origins::Origin* Origins::find(const std::string& key) const {
  const auto found = origins_.find(key);
  return found == origins_.end() ? nullptr : &found->second;
}

std::string Origins::where(const std::string& key) const {
  const std::string at = place(key);
  return at.empty() ? key : at + ": " + key;
}

std::string Origins::value(const std::string& key, const std::string& fallback) const {
  const Origin* origin = find(key);
  return origin ? origin->value : fallback;
}

std::string Origins::place(const std::string& key) const {
  if (const Origin* origin = find(key)) return origin->place;
  // An entry that has no place of its own is where its list is.
  const auto bracket = key.find('[');
  return bracket == std::string::npos ? source_ : place(key.substr(0, bracket));
}

}  // namespace cuthresh::config
