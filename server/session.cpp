// SPDX-License-Identifier: MIT
//
// A connection's requests, one after the other: who may make them, what they name, who serves them.
#include "session.hpp"

#include <boost/asio/post.hpp>
#include <boost/beast/http/read.hpp>

#include "legacy.hpp"

namespace ckpt::server {
namespace {

constexpr std::size_t header_limit = 16 * 1024;

}  // namespace

std::string shown(std::string_view name) {
  fixed_text<1400> text;
  text.append(quoted{name});
  return std::string(text.view());
}

void session::start() {
  lowest().expires_after(patience());
  if (stream_.has_tls())
    return stream_.async_handshake([self = self()](error_code error) {
      if (error) return self->note("TLS handshake", error.message());
      self->next_request();
    });
  if (server_.told.legacy) return look_at_first_byte();
  next_request();
}

void session::end_soon() {
  const auto still = this->weak_from_this();
  asio::post(lowest().get_executor(), [still] {
    const auto self = still.lock();
    if (self && self->idle_) self->close();
  });
}

void session::close() {
  error_code ignored;
  lowest().socket().close(ignored);
}

void session::note(std::string_view what, std::string_view why) {
  server_.say(peer_ + ": " + std::string(what) + ": " + std::string(why));
}

void session::note_request(std::string_view why) {
  note(std::string(view(parser_->get().method_string())) + " " + shown(target_.name), why);
}

void session::look_at_first_byte() {
  stream_.async_read_some(buffer_.prepare(1), [self = self()](error_code error, std::size_t n) {
    if (error) return self->close();
    self->buffer_.commit(n);
    const auto first = *static_cast<const unsigned char*>(self->buffer_.data().data());
    if (first > 3) return self->next_request();
    self->lowest().expires_never();
    serve_legacy(self->server_, self->lowest().release_socket(), first, self->peer_);
  });
}

void session::next_request() {
  if (server_.stopping()) return close();
  idle_ = buffer_.size() == 0;
  parser_.emplace();
  parser_->header_limit(header_limit);
  parser_->body_limit(~u64{0});  // what is too much is said before the body
  target_ = {};
  // One limit for the whole head: a client that sends it byte by byte has no more.
  lowest().expires_after(patience());
  http::async_read_header(stream_, buffer_, *parser_, [self = self()](error_code error, std::size_t) {
    self->idle_ = false;
    self->on_head(error);
  });
}

void session::on_head(error_code error) {
  if (error == http::error::end_of_stream || error == asio::error::operation_aborted ||
      error == beast::error::timeout || error == asio::error::connection_reset ||
      error == asio::error::eof)
    return close();
  if (error == asio::ssl::error::stream_truncated) return close();
  if (error == http::error::header_limit)
    return answer(http::status::request_header_fields_too_large,
                  "the head of the request is longer than 16 KiB", true);
  if (error) {
    if (error.category() != http::make_error_code(http::error::end_of_stream).category()) return close();
    note("request", error.message());
    return answer(http::status::bad_request, "this is no HTTP/1.1 request: " + error.message(), true);
  }
  serve();
}

void session::serve() {
  const auto& request = parser_->get();
  const auto right = server_.who.allowed(view(request[http::field::authorization]));
  const bool writes =
      request.method() == http::verb::put || request.method() == http::verb::delete_ || request.method() == http::verb::move;
  if (right == access::none || (writes && right != access::write)) {
    const bool unknown = right == access::none;
    note(std::string(view(request.method_string())), unknown ? "no token, or one that is not known" : "the token may only read");
    return answer(unknown ? http::status::unauthorized : http::status::forbidden,
                  unknown ? "this server wants a token that it knows (Authorization: Bearer TOKEN)"
                          : "this token may only read",
                  has_body());
  }
  // RFC 9112, 6.1: whose end nobody knows is not read on behind.
  if (request.find(http::field::transfer_encoding) != request.end() && !beast::iequals(request[http::field::transfer_encoding], "chunked"))
    return answer(http::status::not_implemented, "the only Transfer-Encoding that this server knows is chunked", true);
  std::string why;
  const auto target = parse_target(view(request.target()), why);
  if (!target) {
    note(std::string(view(request.method_string())), why);
    return answer(http::status::bad_request, why, has_body());
  }
  target_ = *target;
  switch (request.method()) {
    case http::verb::get:
    case http::verb::head:
      if (has_body()) return answer(http::status::bad_request, "a request of this kind has no body", true);
      if (request.method() == http::verb::head && request.find("Upload-Id") != request.end())
        return tell_offset();
      return target_.name.empty() ? list() : send_object();
    case http::verb::put: return receive();
    case http::verb::delete_:
      if (has_body()) return answer(http::status::bad_request, "a request of this kind has no body", true);
      return remove();
    case http::verb::move:
      if (has_body()) return answer(http::status::bad_request, "a request of this kind has no body", true);
      return move();
    default:
      allow_ = true;
      return answer(http::status::method_not_allowed, "this server knows GET, HEAD, PUT, DELETE and MOVE", has_body());
  }
}

void session::on_disk(std::function<void()> work, std::function<void()> then) {
  lowest().expires_never();
  asio::post(server_.disk, [self = self(), guard = asio::make_work_guard(server_.context),
                            work = std::move(work), then = std::move(then)]() mutable {
    std::string failure;
    bool full = false;
    try {
      work();
    } catch (const storage_error& error) {
      failure = error.what();
      full = error.disk_full;
    } catch (const std::exception& error) {
      failure = error.what();
    }
    auto& executor = self->lowest();
    asio::post(executor.get_executor(), [self, failure, full, then = std::move(then)]() mutable {
      if (failure.empty()) return then();
      self->note_request(failure);
      self->leave_upload();
      self->answer(full ? http::status::insufficient_storage : http::status::internal_server_error,
                   full ? "the server's disk is full" : "the server cannot do it: " + failure, false);
    });
  });
}

void serve_plain(server& s, tcp::socket socket) {
  std::make_shared<session>(s, std::move(socket))->start();
}

void serve_tls(server& s, tcp::socket socket) {
  std::make_shared<session>(s, std::move(socket), *s.tls)->start();
}

void turn_away(server& s, tcp::socket socket) {
  static constexpr std::string_view line =
      "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
  error_code ignored;
  socket.non_blocking(true, ignored);
  if (!s.tls) socket.write_some(asio::buffer(line.data(), line.size()), ignored);
}

}  // namespace ckpt::server
