// SPDX-License-Identifier: MIT
//
// Images to a server and from it, over HTTP/1.1: what was cut goes on where it was, and what a server
// has acknowledged is there whole.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "codec.hpp"
#include "growing_file.hpp"
#include "wire_connection.hpp"

namespace ckpt::transfer {

struct client_options {
  trust whom;
  std::string token;
  int timeout_ms = 30'000;
  int retry_ms = 10'000;  // how long it is tried again after the first failure
};

/// Told how many bytes are there, of how many; 0 while nobody knows.
using progress = std::function<void(u64, u64)>;

/// The bytes of the file, which may still be growing: it is sent as it grows, and the server keeps it
/// when it has become whole. The time to try again begins then. Throws transfer_error.
void put(const url& to, const growing_file& from, encoding how, const client_options& o, const progress& tell);

/// What comes, decoded. Throws transfer_error, also when the sink wants no more.
void get(const url& from, const client_options& o, const sink& out, const progress& tell);

/// Whether there is one. Throws transfer_error when that cannot be told.
bool exists(const url& at, const client_options& o);

/// False when there was none.
bool remove(const url& at, const client_options& o);

enum class moved : u8 { yes, absent, occupied };
/// Gives an image another name of the same server.
moved move(const url& at, const url& to, bool replace, const client_options& o);

}  // namespace ckpt::transfer
