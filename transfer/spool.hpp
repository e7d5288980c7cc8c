// SPDX-License-Identifier: MIT
//
// A file without a name, which goes with its last descriptor: what is on its way is there whole before
// it is sent, so that a cut costs nothing but the rest, and the program need not wait for the network.
#pragma once

#include <string>

#include "ckpt/sys/file.hpp"

namespace ckpt::transfer {

/// In TMPDIR, /var/tmp or /tmp, in this order; in memory where none can be had. `runs`: where a
/// program in it can be run. Throws transfer_error.
sys::unique_fd open_spool(bool runs);

/// Throws transfer_error.
void write_all(int fd, bytes piece);

}  // namespace ckpt::transfer
