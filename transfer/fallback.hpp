// SPDX-License-Identifier: MIT
//
// Where an image stays that cannot be sent: CKPT_FALLBACK.
#pragma once

#include <string>
#include <string_view>

#include "codec.hpp"

namespace ckpt::transfer {

/// The image under its name in DIR, as a program that runs itself; where it is then. Throws
/// transfer_error.
std::string keep_locally(int spool, encoding how, std::string_view name, const std::string& directory);

}  // namespace ckpt::transfer
