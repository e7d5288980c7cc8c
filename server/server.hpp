// SPDX-License-Identifier: MIT
//
// What all connections share, and what begins and ends them.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "pending.hpp"
#include "settings.hpp"
#include "store.hpp"
#include "tokens.hpp"

namespace ckpt::server {

namespace asio = boost::asio;
using asio::ip::tcp;

/// A connection, as the server sees it.
class connection {
 public:
  virtual ~connection() = default;
  /// Ends it at once when nothing is under way in it, otherwise after what is. From any thread.
  virtual void end_soon() = 0;
};

class server {
 public:
  server(const settings& s, store& images, const tokens& who);

  /// Throws boost::system::system_error.
  void listen();
  /// Serves until somebody asks it to stop by SIGTERM or SIGINT.
  void run();
  [[nodiscard]] unsigned short port() const;

  const settings& told;
  store& images;
  const tokens& who;
  pending_uploads pending;
  asio::io_context context;
  asio::thread_pool disk;
  std::optional<asio::ssl::context> tls;
  std::atomic<unsigned> uploads{0};

  [[nodiscard]] bool stopping() const { return stopping_; }
  void joined(connection* c);
  void left(connection* c);
  /// A line on standard error.
  void say(const std::string& line) const;

 private:
  void accept(tcp::acceptor& acceptor);
  void begin_stop();
  [[nodiscard]] bool none_left() const;
  void sweep_later();

  asio::steady_timer sweep_timer_;
  asio::steady_timer grace_timer_;
  std::vector<std::unique_ptr<tcp::acceptor>> acceptors_;
  std::vector<std::unique_ptr<asio::steady_timer>> pauses_;
  unsigned most_connections_ = 0;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::unordered_set<connection*> connections_;
};

/// Takes the socket over.
void serve_plain(server& s, tcp::socket socket);
void serve_tls(server& s, tcp::socket socket);
/// One line with 503 and the connection is closed.
void turn_away(server& s, tcp::socket socket);

}  // namespace ckpt::server
