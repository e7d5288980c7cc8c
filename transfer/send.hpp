// SPDX-License-Identifier: MIT
//
// An image on its way out: verified and compressed as it comes, kept in a spool until it is there.
#pragma once

#include <functional>
#include <string>

#include "settings.hpp"

namespace ckpt::transfer {

/// The image that `file` has, or standard input for "-". `received` is called when all is here, and the
/// sender may go. Throws transfer_error.
void send_image(const url& to, const std::string& shown_to, const std::string& file, const settings& s,
                const std::function<void()>& received);

}  // namespace ckpt::transfer
