// SPDX-License-Identifier: MIT
//
// Names that calls give: relative to where the program started, wherever it is now.
#pragma once

#include "ckpt/format/checksum.hpp"
#include "config.hpp"

namespace ckpt::agent {

/// To tell whether two checkpoints have been asked for under one name.
inline u64 mark_of_name(std::string_view name) { return format::checksum(bytes_of_text(name)); }

class name_of_call {
 public:
  // Context: library load
  void remember_start() {
    char room[name_capacity + 1];
    start_.clear();
    start_.append(directory_before(room));
  }

  /// The pattern from a call without its scheme, absolute; why not, if it means nothing.
  // Context: any, no libc
  result<void> resolve(std::string_view given, fixed_text<name_capacity>& to, report& why) const {
    fixed_text<192> reason;
    if (!options::may_be_name(given, reason))
      return why.refuse("the name ", quoted{given.substr(0, 200)}, " ", reason.view());
    given = options::without_scheme(given);
    to.clear();
    if (!given.starts_with('/') && !options::goes_elsewhere(given))
      options::append_literally(to, start_.view());
    to.append(given);
    return check(to, why);
  }
  /// Of an image that is there.
  // Context: any, no libc
  result<void> resolve_file(std::string_view given, fixed_text<name_capacity>& to,
                            report& why) const {
    fixed_text<192> reason;
    if (given.empty() || options::has_other_scheme(given)) {
      (void)options::may_be_name(given, reason);
      return why.refuse("the name ", quoted{given.substr(0, 200)}, " ", reason.view());
    }
    given = options::without_scheme(given);
    to.clear();
    if (!given.starts_with('/') && !options::goes_elsewhere(given)) to.append(start_.view());
    to.append(given);
    return check(to, why);
  }
  /// So that it fits and means the same when it is given back.
  [[nodiscard]] std::string_view shortened(std::string_view absolute) const {
    fixed_text<name_capacity> start;
    options::append_literally(start, start_.view());
    if (absolute.size() > options::longest_name && !start.empty() &&
        absolute.starts_with(start.view()))
      absolute.remove_prefix(start.view().size());
    return absolute;
  }

 private:
  static result<void> check(const fixed_text<name_capacity>& name, report& why) {
    if (name.truncated()) return why.refuse("the name is too long with its directory before it");
    return {};
  }

  fixed_text<name_capacity> start_;
};

}  // namespace ckpt::agent
