// SPDX-License-Identifier: MIT
//
// The image of a job that lies on a server: ckpt-transfer fetches, renames and removes it, as a child.
#pragma once

#include <functional>
#include <string>

#include "ckpt/sys/file.hpp"

namespace ckpt::command {

struct remote_image {
  enum class outcome : unsigned char { there, absent, damaged, failed, interrupted };
  outcome state = outcome::failed;
  std::string why;     // a line's part, unless it is there or absent
  sys::unique_fd file;  // without a name
};
/// All of it, verified, or only what comes before the data; unless `stop` says that somebody will not
/// wait for that.
[[nodiscard]] remote_image fetch(const std::string& name, bool only_head, const std::function<bool()>& stop);

enum class changed : unsigned char { yes, absent, occupied, failed };
/// Neither needs an answer about what was not there. When it fails, ckpt-transfer has said why.
[[nodiscard]] changed remove_remote(const std::string& name);
[[nodiscard]] changed move_remote(const std::string& name, const std::string& to, bool replace);

/// Where CKPT_FALLBACK has such an image when the server did not take it; empty without that variable.
[[nodiscard]] std::string fallback_of(const std::string& name);

/// The path whose lock stands for the name on this machine, and on all that share the user's state
/// directory. It is no file itself.
[[nodiscard]] std::string lock_place_of(const std::string& name);

}  // namespace ckpt::command
