// SPDX-License-Identifier: MIT
//
// A shared object as a copy in another process's anonymous memory: a file may be out of its sight (another
// mount namespace, chroot), and no descriptor is needed. All that can be done before that process is
// held is done then.
#pragma once

#include <vector>

#include "shared_object.hpp"

namespace ckpt::hijack {

class copied_object {
 public:
  explicit copied_object(const shared_object& object);

  /// Its base there, with `extra` bytes of memory behind it that may be written. At an error nothing is
  /// left.
  result<u64> map(tracee& t, remote_caller& caller, u64 extra);
  [[nodiscard]] u64 length() const { return object_.length(); }

 private:
  struct run {
    range memory;
    int protection;
  };
  result<void> fill(tracee& t, remote_caller& caller, u64 base, u64 extra);

  const shared_object& object_;
  std::vector<std::byte> bytes_;  // from the base up to where nothing but zeros follows
  std::vector<run> runs_;         // what is to be more than read
};

}  // namespace ckpt::hijack
