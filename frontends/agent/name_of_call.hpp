// SPDX-License-Identifier: MIT
//
// Names that calls give: relative to where the program started, wherever it is now. One that a call
// gives for a single checkpoint takes the place of the configured name meanwhile; the image
// contains both, and the restarted program has the configured one again.
#pragma once

#include "ckpt/format/checksum.hpp"
#include "config.hpp"

namespace ckpt::agent {

/// To tell whether two checkpoints have been asked for under one name.
inline u64 mark_of(const fixed_text<name_capacity>& name) {
  return format::checksum(bytes_of_text(name.view()));
}

class name_of_call {
 public:
  // Context: library load
  void remember_start() {
    char text[name_capacity];
    const auto length = sys::getcwd(text, sizeof text);
    start_.clear();
    if (!length.ok() || *length < 2 || text[0] != '/') return;
    start_.append(std::string_view(text, *length - 1));
    if (*length > 2) start_.append('/');
  }

  /// The name from a call without its scheme, absolute; why not, if it means nothing.
  // Context: any, no libc
  result<void> resolve(std::string_view given, fixed_text<name_capacity>& to, report& why) const {
    if (given.size() > 1023)
      return why.refuse("a name may have 1023 characters, and this one has more or no end");
    if (has_other_scheme(given))
      return why.refuse("the name ", quoted{given.substr(0, 200)},
                        " has a scheme that this version does not know (FILE or file://FILE)");
    if (given.starts_with("file://")) given.remove_prefix(7);
    if (given.empty()) return why.refuse("the name is empty");
    to.clear();
    if (!given.starts_with('/')) to.append(start_.view());
    to.append(given);
    if (to.truncated()) return why.refuse("the name is too long with its directory before it");
    return {};
  }
  /// So that it fits and means the same when it is given back.
  [[nodiscard]] std::string_view shortened(std::string_view absolute) const {
    if (absolute.size() > 1023 && !start_.empty() && absolute.starts_with(start_.view()))
      absolute.remove_prefix(start_.view().size());
    return absolute;
  }

  // Context: triggering thread, with the agent's lock
  void replace(fixed_text<name_capacity>& configured, const fixed_text<name_capacity>& given) {
    kept_ = configured;
    configured = given;
    replaced_ = true;
  }
  // Context: triggering thread, with the agent's lock; agent, in restored memory
  void put_back(fixed_text<name_capacity>& configured) {
    if (!replaced_) return;
    configured = kept_;
    replaced_ = false;
  }

 private:
  fixed_text<name_capacity> start_;
  fixed_text<name_capacity> kept_;
  bool replaced_ = false;
};

}  // namespace ckpt::agent
