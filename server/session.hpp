// SPDX-License-Identifier: MIT
//
// One connection. It reads a request, serves it and reads the next. Idle it has a socket, a timer and
// half a KiB; the buffer of an upload or download is there only for as long as that lasts.
#pragma once

#include <openssl/evp.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "chunked_body.hpp"
#include "request_target.hpp"
#include "server.hpp"
#include "wire.hpp"

namespace ckpt::server {

namespace beast = boost::beast;
namespace http = beast::http;
using error_code = boost::system::error_code;
using seconds = std::chrono::seconds;

inline constexpr std::size_t piece_size = 256 * 1024;

[[nodiscard]] inline std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }
[[nodiscard]] std::string shown(std::string_view name);
[[nodiscard]] std::string http_date(i64 when);
[[nodiscard]] nlohmann::ordered_json json_of(const entry& e);

class session final : public connection, public std::enable_shared_from_this<session> {
 public:
  template <class... Arguments>
  session(server& s, tcp::socket socket, Arguments&... arguments)
      : server_(s), stream_(std::move(socket), arguments...) {
    error_code ignored;
    const auto peer = lowest().socket().remote_endpoint(ignored);
    if (!ignored) peer_ = peer.address().to_string() + ":" + std::to_string(peer.port());
    server_.joined(this);
  }
  ~session() override {
    leave_upload();
    server_.left(this);
  }
  void start();
  void end_soon() override;

 private:
  auto self() { return this->shared_from_this(); }
  beast::tcp_stream& lowest() { return stream_.lowest(); }
  [[nodiscard]] seconds patience() const { return seconds(server_.told.timeout); }

  // session.cpp: one request after the other
  void close();
  void note(std::string_view what, std::string_view why);
  void note_request(std::string_view why);
  void look_at_first_byte();
  void next_request();
  void on_head(error_code error);
  [[nodiscard]] bool has_body() const {
    return parser_->chunked() || (parser_->content_length() && *parser_->content_length() > 0);
  }
  void serve();
  /// Runs `work` where waiting for the disk keeps no other connection waiting, then `then` here.
  void on_disk(std::function<void()> work, std::function<void()> then);

  // reply.cpp: short answers, and how a connection ends
  using short_response = http::response<http::string_body>;
  /// What every answer has.
  void dress(http::response_header<>& r);
  [[nodiscard]] bool goes_on() const { return parser_->get().keep_alive() && !server_.stopping() && !closes_; }
  /// One line of text; `drain`: the client may still be sending what is not wanted.
  void answer(http::status status, const std::string& line, bool drain);
  void answer_json(http::status status, const nlohmann::ordered_json& json);
  void send(short_response r, bool drain);
  /// Ends the connection so that what was sent arrives.
  void finish(bool drain);
  void drain();
  std::byte* room();

  // names.cpp: what there is, and what it is called
  void list();
  void remove();
  /// RFC 4918, 9.9: Destination and Overwrite.
  void move();

  // download.cpp: GET and HEAD
  void send_object();
  void begin_sending(const entry& e, sys::unique_fd file);
  /// Fills the room with the next bytes of the body; 0 at a failure.
  std::size_t next_piece();
  void send_piece();

  // upload.cpp: PUT, and where an upload is
  void tell_offset();
  void receive();
  /// False when it has answered already.
  bool find_or_begin(transfer::encoding encoding);
  /// Gives the upload's place back. What has come of one that has an id waits for its client.
  void leave_upload();
  /// Of one that nobody need come back for.
  void drop_upload();
  void begin_body();
  void read_plain();
  void read_chunked();
  /// What is in the room.
  void take_chunks(std::size_t size);
  /// False when the upload has ended here.
  bool take(bytes piece);
  void cut(error_code error);
  void complete();

  struct outgoing {
    sys::unique_fd file;
    u64 at = 0;    // in the file
    u64 left = 0;  // of the body
    u64 skip = 0;  // of what is decoded
    bool keep_alive = false;
    bool ended = false;
    std::unique_ptr<transfer::decoder> decoder;
    std::unique_ptr<std::byte[]> packed;
    bytes in;
  };
  static constexpr std::size_t packed_size = 64 * 1024;
  struct free_hash {
    void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
  };

  server& server_;
  wire stream_;
  beast::flat_buffer buffer_{64 * 1024};
  std::optional<http::request_parser<http::buffer_body>> parser_;
  std::optional<short_response> response_;
  std::optional<http::response<http::empty_body>> head_;
  std::optional<http::response_serializer<http::empty_body>> head_writer_;
  request_target target_;
  std::string peer_ = "?";
  bool idle_ = true;
  std::unique_ptr<std::byte[]> room_;
  outgoing out_;
  bool closes_ = false;
  bool allow_ = false;
  bool complete_ = false;
  std::optional<u64> offset_;
  u64 drained_ = 0;
  std::chrono::steady_clock::time_point drain_until_;
  std::shared_ptr<shared_upload> upload_;
  std::string upload_id_;
  u64 claim_ = 0;
  bool counted_ = false;
  std::optional<u64> whole_;  // as its Upload-Length has it
  u64 left_ = 0;
  chunked_body chunks_;
  u64 body_received_ = 0;
  std::chrono::steady_clock::time_point began_;
  std::string digest_;
  std::unique_ptr<EVP_MD_CTX, free_hash> hash_;
};

}  // namespace ckpt::server
