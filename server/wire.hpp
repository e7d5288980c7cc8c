// SPDX-License-Identifier: MIT
//
// A socket with TLS or without, for whoever reads and writes the same.
#pragma once

#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <optional>
#include <utility>

namespace ckpt::server {

class wire {
 public:
  using executor_type = boost::beast::tcp_stream::executor_type;

  explicit wire(boost::asio::ip::tcp::socket socket) : plain_(std::in_place, std::move(socket)) {}
  wire(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& context)
      : tls_(std::in_place, std::move(socket), context) {}

  [[nodiscard]] bool has_tls() const { return tls_.has_value(); }
  boost::beast::tcp_stream& lowest() { return tls_ ? boost::beast::get_lowest_layer(*tls_) : *plain_; }
  executor_type get_executor() { return lowest().get_executor(); }

  template <class Buffers, class Handler>
  void async_read_some(const Buffers& room, Handler&& handler) {
    if (tls_) tls_->async_read_some(room, std::forward<Handler>(handler));
    else plain_->async_read_some(room, std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  void async_write_some(const Buffers& from, Handler&& handler) {
    if (tls_) tls_->async_write_some(from, std::forward<Handler>(handler));
    else plain_->async_write_some(from, std::forward<Handler>(handler));
  }
  /// Only with TLS.
  template <class Handler>
  void async_handshake(Handler&& handler) {
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(handler));
  }
  template <class Handler>
  void async_shutdown(Handler&& handler) {
    tls_->async_shutdown(std::forward<Handler>(handler));
  }

 private:
  std::optional<boost::beast::tcp_stream> plain_;
  std::optional<boost::beast::ssl_stream<boost::beast::tcp_stream>> tls_;
};

}  // namespace ckpt::server
