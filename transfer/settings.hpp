// SPDX-License-Identifier: MIT
//
// What ckpt-transfer is told, by options and by variables.
#pragma once

#include <string>
#include <string_view>

#include "codec.hpp"
#include "http_client.hpp"

namespace ckpt::transfer {

struct settings {
  client_options client;
  compression compress;
  std::string token_file;
  std::string fallback;
  int status_fd = -1;
  bool quiet = false;
  bool only_new = false;   // a move replaces nothing
  bool only_head = false;  // fetch what comes before the data
  bool later = false;  // whoever started it waits only until all has been received
};

/// "0" to seconds; -1 for what is no number.
[[nodiscard]] int milliseconds_of(std::string_view text);
/// What comes by variables. Throws transfer_error for what means nothing.
void read_variables(settings& s);
/// The first line that is no comment. Throws transfer_error.
[[nodiscard]] std::string token_in(const std::string& path);
/// Throws transfer_error.
[[nodiscard]] url name_of_image(const std::string& text);

}  // namespace ckpt::transfer
