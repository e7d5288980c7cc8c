// SPDX-License-Identifier: MIT
//
// An image on its way in, verified as it comes: into a file, into a program that is run, or for
// somebody who waits for it.
#pragma once

#include <string>

#include "ckpt/sys/file.hpp"
#include "settings.hpp"

namespace ckpt::transfer {

/// All of them throw transfer_error.
void fetch_to_file(const url& from, const std::string& file, const settings& s);

/// Into a file without a name, which can be run: nobody has it open for writing when this returns.
sys::unique_fd fetch_to_run(const url& from, const settings& s);

/// For ckpt_restart and --resume: says where the file is, and holds it until they have opened it, which
/// the end of standard input says.
void fetch_and_hold(const url& from, const settings& s);

}  // namespace ckpt::transfer
