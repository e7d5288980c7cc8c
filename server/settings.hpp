// SPDX-License-Identifier: MIT
//
// What ckptsrv was told on its command line.
#pragma once

#include <string>

#include "ckpt/base/types.hpp"

namespace ckpt::server {

struct settings {
  unsigned short port = 10301;
  std::string directory;
  std::string bind = "127.0.0.1";
  std::string token_file;
  std::string certificate;
  std::string key;
  bool insecure = false;
  bool legacy = false;
  bool only_images = false;
  bool verbose = false;
  bool quiet = false;
  unsigned keep = 1;
  u64 max_size = u64{1} << 40;
  unsigned max_connections = 16384;
  unsigned max_uploads = 256;
  unsigned timeout = 30;  // seconds
  unsigned grace = 30;    // seconds
};

/// Reads the command line; ends the process where it asks for help or means nothing.
settings read_settings(int argc, char** argv);

}  // namespace ckpt::server
