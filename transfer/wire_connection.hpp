// SPDX-License-Identifier: MIT
//
// A connection to a server, with or without TLS, on which no wait is without a bound.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "ckpt/sys/file.hpp"
#include "url.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace ckpt::transfer {

/// What came in the way, as the end of a line.
class transfer_error : public std::runtime_error {
 public:
  explicit transfer_error(const std::string& what, bool passes = false)
      : std::runtime_error(what), may_pass(passes) {}
  const bool may_pass;  // another try may be worth it
};

/// There is no image of that name.
class absent_error : public transfer_error {
 public:
  using transfer_error::transfer_error;
};
/// What is there is none.
class damaged_error : public transfer_error {
 public:
  using transfer_error::transfer_error;
};

struct trust {
  std::string ca_file;  // empty: what the system trusts
};

class wire_connection {
 public:
  /// Throws transfer_error.
  wire_connection(const url& to, const trust& t, int timeout_ms);
  ~wire_connection();
  wire_connection(const wire_connection&) = delete;
  wire_connection& operator=(const wire_connection&) = delete;

  /// At least one byte is taken; how many.
  std::size_t send(bytes piece, bool more = false);
  /// `more`: the network may wait a moment for what is sent next.
  void send_all(bytes piece, bool more = false);
  /// 0 at the end.
  std::size_t receive(mutable_bytes room);
  /// Whether the server has said something already.
  [[nodiscard]] bool has_answer();

 private:
  void connect(const url& to);
  void begin_tls(const url& to, const trust& t);
  void wait(short events);

  int timeout_ms_;
  sys::unique_fd fd_;
  ssl_ctx_st* context_ = nullptr;
  ssl_st* tls_ = nullptr;
};

}  // namespace ckpt::transfer
