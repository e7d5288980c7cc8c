// SPDX-License-Identifier: MIT
//
// One connection. It reads a request, serves it and reads the next. Idle it has a socket, a timer and
// half a KiB; the buffer of an upload or download is there only for as long as that lasts.
#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "byte_range.hpp"
#include "chunked_body.hpp"
#include "legacy.hpp"
#include "request_target.hpp"
#include "server.hpp"

namespace ckpt::server {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using error_code = boost::system::error_code;
using seconds = std::chrono::seconds;

constexpr std::size_t piece_size = 256 * 1024;
constexpr std::size_t header_limit = 16 * 1024;
constexpr u64 slowest = 1024;  // bytes a second, of a client that may keep an upload's place
/// What is read and thrown away, so that a client that still sends sees why it was refused.
constexpr u64 most_drained = u64{64} << 20;
constexpr auto drain_patience = seconds(2);

std::string http_date(i64 when) {
  const time_t t = static_cast<time_t>(when);
  std::tm parts{};
  gmtime_r(&t, &parts);
  char text[64];
  const auto n = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text, n};
}

std::string shown(std::string_view name) {
  fixed_text<1400> text;
  text.append(quoted{name});
  return std::string(text.view());
}

/// Whether the field Accept-Encoding has the coding, and not with the weight 0.
bool accepts(std::string_view field, std::string_view coding) {
  while (!field.empty()) {
    const auto comma = field.find(',');
    auto item = field.substr(0, comma);
    field = comma == std::string_view::npos ? std::string_view() : field.substr(comma + 1);
    while (item.starts_with(' ') || item.starts_with('\t')) item.remove_prefix(1);
    const auto semicolon = item.find(';');
    auto name = item.substr(0, semicolon);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (name != coding) continue;
    if (semicolon == std::string_view::npos) return true;
    auto weight = item.substr(semicolon + 1);
    while (weight.starts_with(' ')) weight.remove_prefix(1);
    return weight != "q=0" && weight != "q=0.0" && weight != "q=0.00" && weight != "q=0.000";
  }
  return false;
}

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

nlohmann::ordered_json json_of(const entry& e) {
  return {{"name", e.name},
          {"size", e.size},
          {"stored_size", e.stored_size},
          {"encoding", transfer::name_of(e.encoding)},
          {"image", e.is_image},
          {"version", e.version},
          {"modified", e.modified}};
}

template <class Stream>
class session final : public connection, public std::enable_shared_from_this<session<Stream>> {
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

  void start() {
    lowest().expires_after(patience());
    if constexpr (with_tls) {
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = self()](error_code error) {
                                if (error) return self->note("TLS handshake", error.message());
                                self->next_request();
                              });
    } else {
      if (server_.told.legacy) return look_at_first_byte();
      next_request();
    }
  }

  void end_soon() override {
    const auto still = this->weak_from_this();
    asio::post(lowest().get_executor(), [still] {
      const auto self = still.lock();
      if (self && self->idle_) self->close();
    });
  }

 private:
  static constexpr bool with_tls = !std::is_same_v<Stream, beast::tcp_stream>;
  auto self() { return this->shared_from_this(); }
  beast::tcp_stream& lowest() { return beast::get_lowest_layer(stream_); }
  [[nodiscard]] seconds patience() const { return seconds(server_.told.timeout); }

  void close() {
    error_code ignored;
    lowest().socket().close(ignored);
  }
  void note(std::string_view what, std::string_view why) {
    server_.say(peer_ + ": " + std::string(what) + ": " + std::string(why));
  }
  void note_request(std::string_view why) {
    note(std::string(view(parser_->get().method_string())) + " " + shown(target_.name), why);
  }

  // --- the next request --------------------------------------------------------------------------

  void look_at_first_byte() {
    if constexpr (!with_tls) {
      stream_.async_read_some(buffer_.prepare(1), [self = self()](error_code error, std::size_t n) {
        if (error) return self->close();
        self->buffer_.commit(n);
        const auto first = *static_cast<const unsigned char*>(self->buffer_.data().data());
        if (first > 3) return self->next_request();
        self->lowest().expires_never();
        serve_legacy(self->server_, self->lowest().release_socket(), first, self->peer_);
      });
    }
  }

  void next_request() {
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

  void on_head(error_code error) {
    if (error == http::error::end_of_stream || error == asio::error::operation_aborted ||
        error == beast::error::timeout || error == asio::error::connection_reset ||
        error == asio::error::eof)
      return close();
    if constexpr (with_tls)
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

  [[nodiscard]] bool has_body() const {
    return parser_->chunked() || (parser_->content_length() && *parser_->content_length() > 0);
  }

  void serve() {
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

  // --- short answers -----------------------------------------------------------------------------

  using short_response = http::response<http::string_body>;

  template <class Response>
  void dress(Response& r) {
    r.version(11);
    r.set(http::field::server, "ckptsrv/" CKPT_VERSION);
    r.set(http::field::date, http_date(time(nullptr)));
    r.keep_alive(parser_->get().keep_alive() && !server_.stopping() && !closes_);
    if (r.result() == http::status::unauthorized) r.set(http::field::www_authenticate, "Bearer");
    if (r.result() == http::status::service_unavailable) r.set(http::field::retry_after, "1");
    if (allow_) r.set(http::field::allow, "GET, HEAD, PUT, DELETE, MOVE");
    if (offset_) r.set("Upload-Offset", std::to_string(*offset_));
    if (complete_) r.set("Upload-Complete", "?1");
    allow_ = false;
    complete_ = false;
    offset_.reset();
  }

  /// One line of text; `drain`: the client may still be sending what is not wanted.
  void answer(http::status status, const std::string& line, bool drain) {
    short_response r(status, 11);
    r.set(http::field::content_type, "text/plain; charset=utf-8");
    r.body() = line + "\n";
    send(std::move(r), drain);
  }
  void answer_json(http::status status, const nlohmann::ordered_json& json) {
    short_response r(status, 11);
    r.set(http::field::content_type, "application/json");
    // A name that is not UTF-8 never gets in.
    r.body() = json.dump() + "\n";
    send(std::move(r), false);
  }
  void send(short_response r, bool drain) {
    dress(r);
    if (drain) r.keep_alive(false);
    r.prepare_payload();
    if (parser_->get().method() == http::verb::head) r.body().clear();
    response_.emplace(std::move(r));
    lowest().expires_after(patience());
    http::async_write(stream_, *response_, [self = self(), drain](error_code error, std::size_t) {
      const bool again = !error && self->response_->keep_alive() && !drain;
      self->response_.reset();
      if (again) return self->next_request();
      if (error) return self->close();
      self->finish(drain);
    });
  }

  /// Ends the connection so that what was sent arrives.
  void finish(bool drain) {
    if constexpr (with_tls) {
      lowest().expires_after(drain_patience);
      stream_.async_shutdown([self = self()](error_code) { self->close(); });
    } else {
      error_code ignored;
      lowest().socket().shutdown(tcp::socket::shutdown_send, ignored);
      if (!drain) return close();
      room();
      drain_until_ = std::chrono::steady_clock::now() + drain_patience;
      drained_ = 0;
      lowest().expires_at(drain_until_);
      this->drain();
    }
  }
  void drain() {
    stream_.async_read_some(asio::buffer(room_.get(), piece_size), [self = self()](error_code error, std::size_t n) {
      self->drained_ += n;
      if (error || self->drained_ > most_drained) return self->close();
      self->drain();
    });
  }

  std::byte* room() {
    if (!room_) room_ = std::make_unique<std::byte[]>(piece_size);
    return room_.get();
  }

  // --- GET, HEAD, DELETE -------------------------------------------------------------------------

  /// Runs `work` where waiting for the disk keeps no other connection waiting, then `then` here.
  template <class Work, class Then>
  void on_disk(Work work, Then then) {
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

  void list() {
    auto found = std::make_shared<std::vector<entry>>();
    on_disk([this, found] { *found = server_.images.all(); },
            [this, found] {
              nlohmann::ordered_json images = nlohmann::ordered_json::array();
              for (const auto& e : *found) images.push_back(json_of(e));
              answer_json(http::status::ok, {{"images", images}});
            });
  }

  void remove() {
    if (target_.name.empty()) return answer(http::status::bad_request, "the name is empty", false);
    auto found = std::make_shared<bool>(false);
    on_disk([this, found] { *found = server_.images.remove(target_.name, target_.version); },
            [this, found] {
              if (!*found) return answer(http::status::not_found, "there is no such image", false);
              if (server_.told.verbose) note_request("removed");
              answer_json(http::status::ok, {{"removed", target_.name}});
            });
  }

  /// RFC 4918, 9.9: Destination and Overwrite.
  void move() {
    const auto& request = parser_->get();
    const auto refuse = [&](const std::string& why) {
      note_request(why);
      answer(http::status::bad_request, why, false);
    };
    if (target_.name.empty() || target_.version) return refuse("a move names an image, and no version");
    std::string why;
    const auto to = parse_target(view(request["Destination"]), why);
    if (!to) return refuse("the Destination is no name: " + why);
    if (to->name.empty() || to->version) return refuse("the Destination is no name");
    const bool replace = view(request["Overwrite"]) != "F";
    auto outcome = std::make_shared<moved>(moved::absent);
    on_disk([this, outcome, to = to->name, replace] { *outcome = server_.images.move(target_.name, to, replace); },
            [this, outcome, to = to->name] {
              if (*outcome == moved::absent) return answer(http::status::not_found, "there is no such image", false);
              if (*outcome == moved::occupied)
                return answer(http::status::precondition_failed, "there is an image of that name", false);
              if (server_.told.verbose) note_request("moved to " + shown(to));
              answer_json(http::status::created, {{"moved", target_.name}, {"to", to}});
            });
  }

  void send_object() {
    struct opened {
      std::optional<entry> e;
      sys::unique_fd file;
    };
    auto got = std::make_shared<opened>();
    on_disk(
        [this, got] {
          // One that was replaced between the two looks is looked up again.
          for (int tries = 0; tries < 10 && !got->file; ++tries) {
            got->e = server_.images.find(target_.name, target_.version);
            if (!got->e) return;
            got->file = server_.images.open_object(*got->e);
          }
        },
        [this, got] {
          if (!got->e || !got->file) return answer(http::status::not_found, "there is no such image", false);
          begin_sending(*got->e, std::move(got->file));
        });
  }

  void begin_sending(const entry& e, sys::unique_fd file) {
    const auto& request = parser_->get();
    const bool as_stored =
        e.encoding == transfer::encoding::identity ||
        accepts(view(request[http::field::accept_encoding]), transfer::name_of(e.encoding));
    const u64 size = as_stored ? e.stored_size : e.size;
    const std::string tag = "\"" + e.object + (as_stored ? "" : "-plain") + "\"";
    wanted_range range;
    const auto if_range = request.find(http::field::if_range);
    if (if_range == request.end() || view(if_range->value()) == tag)
      range = parse_range(view(request[http::field::range]), size);
    http::response<http::empty_body> r;
    r.result(http::status::ok);
    r.set(http::field::accept_ranges, "bytes");
    r.set(http::field::etag, tag);
    r.set(http::field::last_modified, http_date(e.modified));
    r.set(http::field::content_type, "application/octet-stream");
    r.set("Image-Version", std::to_string(e.version));
    if (e.encoding != transfer::encoding::identity) {
      r.set(http::field::vary, "Accept-Encoding");
      if (as_stored) r.set(http::field::content_encoding, std::string(transfer::name_of(e.encoding)));
    }
    byte_range part{0, size};
    if (range.kind == range_kind::unsatisfiable) {
      r.result(http::status::range_not_satisfiable);
      r.set(http::field::content_range, "bytes */" + std::to_string(size));
      part = {0, 0};
    } else if (range.kind == range_kind::part) {
      part = range.part;
      r.result(http::status::partial_content);
      r.set(http::field::content_range, "bytes " + std::to_string(part.begin) + "-" +
                                            std::to_string(part.end - 1) + "/" + std::to_string(size));
    }
    dress(r);
    r.content_length(part.end - part.begin);
    const bool with_bytes = request.method() == http::verb::get && part.end > part.begin;
    out_ = {};
    out_.file = std::move(file);
    out_.left = with_bytes ? part.end - part.begin : 0;
    out_.keep_alive = r.keep_alive();
    if (as_stored) {
      out_.at = part.begin;
    } else {
      out_.decoder = transfer::make_decoder(e.encoding);
      out_.skip = part.begin;
    }
    head_.emplace(std::move(r));
    head_writer_.emplace(*head_);
    lowest().expires_after(patience());
    http::async_write_header(stream_, *head_writer_, [self = self()](error_code error, std::size_t) {
      self->head_writer_.reset();
      self->head_.reset();
      if (error) return self->close();
      self->send_piece();
    });
  }

  /// Fills the room with the next bytes of the body; 0 at a failure.
  std::size_t next_piece() {
    std::byte* to = room();
    const std::size_t most = out_.left < piece_size ? static_cast<std::size_t>(out_.left) : piece_size;
    if (!out_.decoder) {
      const ssize_t n = pread(out_.file.get(), to, most, static_cast<off_t>(out_.at));
      if (n <= 0) return 0;
      out_.at += static_cast<u64>(n);
      return static_cast<std::size_t>(n);
    }
    for (;;) {
      if (out_.in.empty() && !out_.ended) {
        if (!out_.packed) out_.packed = std::make_unique<std::byte[]>(packed_size);
        const ssize_t n = pread(out_.file.get(), out_.packed.get(), packed_size, static_cast<off_t>(out_.at));
        if (n < 0) return 0;
        out_.ended = n == 0;
        out_.at += static_cast<u64>(n);
        out_.in = {out_.packed.get(), static_cast<std::size_t>(n)};
      }
      std::size_t made = 0;
      const std::size_t wanted = out_.skip != 0 ? piece_size : most;
      if (!out_.decoder->step(out_.in, {to, wanted}, made)) return 0;
      if (made == 0 && out_.ended) return 0;
      const std::size_t skipped = out_.skip < made ? static_cast<std::size_t>(out_.skip) : made;
      out_.skip -= skipped;
      made -= skipped;
      if (made > most) made = most;  // only where bytes were skipped, and more is not decoded again
      if (made == 0) continue;
      if (skipped != 0) std::memmove(to, to + skipped, made);
      return made;
    }
  }

  void send_piece() {
    if (out_.left == 0) {
      const bool again = out_.keep_alive;
      out_ = {};
      room_.reset();
      return again ? next_request() : finish(false);
    }
    const std::size_t n = next_piece();
    if (n == 0) {
      note_request("cannot read what is stored; the disk or the file is damaged");
      return close();
    }
    out_.left -= n;
    lowest().expires_after(patience());
    asio::async_write(stream_, asio::buffer(room_.get(), n), [self = self()](error_code error, std::size_t) {
      if (error) {
        self->note_request("the client has gone, or takes nothing: " + error.message());
        return self->close();
      }
      self->send_piece();
    });
  }

  // --- PUT ---------------------------------------------------------------------------------------

  void tell_offset() {
    const auto known = server_.pending.find(std::string(view(parser_->get()["Upload-Id"])));
    if (!known) return answer(http::status::not_found, "nothing is known of this upload", false);
    {
      const std::lock_guard guard(known->mutex);
      ++known->claim;  // whoever is still connected to a client that has come again is late
      complete_ = known->done.has_value();
      offset_ = known->done ? known->done->stored_size : known->data ? known->data->received() : 0;
    }
    answer(http::status::ok, "", false);
  }

  void receive() {
    const auto& request = parser_->get();
    const auto refuse = [&](http::status status, const std::string& why) {
      note_request(why);
      answer(status, why, has_body());
    };
    if (target_.name.empty() || target_.version)
      return refuse(http::status::bad_request, "an upload names an image, and no version");
    if (request.find(http::field::content_range) != request.end())
      return refuse(http::status::bad_request, "an upload goes on by Upload-Id and Upload-Offset, not by Content-Range");
    transfer::encoding encoding{};
    const auto coding = request[http::field::content_encoding];
    if (!coding.empty() && !transfer::parse_encoding(view(coding), encoding))
      return refuse(http::status::unsupported_media_type, "the Content-Encoding is not lz4, zstd or identity");
    const auto length = parser_->content_length();
    if (!length && !parser_->chunked())
      return refuse(http::status::length_required, "an upload has a Content-Length or is chunked");
    const auto announced = request["Upload-Length"];
    whole_.reset();
    if (!announced.empty()) {
      const auto number = parse_number(view(announced));
      if (!number.ok()) return refuse(http::status::bad_request, "the Upload-Length is no number");
      whole_ = *number;
    }
    const auto expected = whole_ ? whole_ : length ? std::optional<u64>(*length) : std::nullopt;
    if (expected && *expected > server_.told.max_size)
      return refuse(http::status::payload_too_large, "larger than this server takes (--max-size)");
    if (expected && *expected > server_.images.room())
      return refuse(http::status::insufficient_storage, "the server's disk is full");
    digest_.clear();
    if (const auto field = request.find("Content-Digest"); field != request.end()) {
      const auto text = view(field->value());
      constexpr std::string_view key = "sha-256=:";
      const auto at = text.find(key);
      const auto end = at == std::string_view::npos ? at : text.find(':', at + key.size());
      if (end == std::string_view::npos)
        return refuse(http::status::bad_request, "the Content-Digest is not sha-256=:BASE64:");
      digest_ = std::string(text.substr(at + key.size(), end - at - key.size()));
      hash_.reset(EVP_MD_CTX_new());
      EVP_DigestInit_ex(hash_.get(), EVP_sha256(), nullptr);
    }
    if (server_.uploads.fetch_add(1) >= server_.told.max_uploads) {
      --server_.uploads;
      return refuse(http::status::service_unavailable, "too many uploads at once; try again");
    }
    counted_ = true;
    if (!find_or_begin(encoding)) return;
    body_received_ = 0;
    began_ = std::chrono::steady_clock::now();
    left_ = length ? *length : 0;
    if (beast::iequals(request[http::field::expect], "100-continue")) {
      static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      lowest().expires_after(patience());
      asio::async_write(stream_, asio::buffer(go_on.data(), go_on.size()),
                        [self = self()](error_code error, std::size_t) {
                          if (error) return self->cut(error);
                          self->begin_body();
                        });
      return;
    }
    begin_body();
  }

  /// False when it has answered already.
  bool find_or_begin(transfer::encoding encoding) {
    const auto& request = parser_->get();
    const std::string id(view(request["Upload-Id"]));
    const auto offset_text = request["Upload-Offset"];
    const auto offset = offset_text.empty() ? result<u64>(0) : parse_number(view(offset_text));
    const auto refuse = [&](http::status status, const std::string& why) {
      note_request(why);
      leave_upload();
      answer(status, why, has_body());
      return false;
    };
    if (!offset.ok() || (!id.empty() && !is_upload_id(id)) || (id.empty() && *offset != 0))
      return refuse(http::status::bad_request, "the Upload-Id is not 32 to 64 hexadecimal digits, or the Upload-Offset no number");
    if (!id.empty()) {
      if (const auto known = server_.pending.find(id); known) {
        const std::lock_guard guard(known->mutex);
        const u64 there = known->data ? known->data->received() : 0;
        const bool same = known->data && known->data->name() == target_.name && known->data->encoding() == encoding;
        if (known->done || !same || there != *offset) {
          complete_ = known->done.has_value();
          offset_ = there;
          return refuse(http::status::conflict, "the upload is not where the client takes it to be");
        }
        claim_ = ++known->claim;
        upload_ = known;
        upload_id_ = id;
        return true;
      }
      if (*offset != 0) {
        offset_ = 0;
        return refuse(http::status::conflict, "nothing is known of this upload");
      }
    }
    auto fresh = std::make_shared<shared_upload>();
    try {
      fresh->data = std::make_unique<upload>(server_.images, target_.name, encoding,
                                             server_.told.max_size, server_.told.only_images);
    } catch (const storage_error& error) {
      note_request(error.what());
      leave_upload();
      answer(error.disk_full ? http::status::insufficient_storage : http::status::internal_server_error,
             error.disk_full ? "the server's disk is full" : "the server cannot do it", has_body());
      return false;
    }
    claim_ = ++fresh->claim;
    if (!id.empty() && !server_.pending.add(id, fresh))
      return refuse(http::status::service_unavailable, "too many uploads at once; try again");
    upload_ = std::move(fresh);
    upload_id_ = id;
    return true;
  }

  /// Gives the upload's place back. What has come of one that has an id waits for its client.
  void leave_upload() {
    if (counted_) --server_.uploads;
    counted_ = false;
    if (upload_ && !upload_id_.empty()) server_.pending.touch(upload_id_);
    upload_.reset();
    upload_id_.clear();
    hash_.reset();
  }
  /// Of one that nobody need come back for.
  void drop_upload() {
    if (!upload_id_.empty()) server_.pending.remove(upload_id_);
    upload_id_.clear();
    leave_upload();
  }

  void begin_body() {
    room();
    // Of a body the parser has nothing more to say: what has come with the head is the first of it.
    const auto waiting = buffer_.data();
    if (parser_->chunked()) {
      chunks_ = {};
      std::memcpy(room_.get(), waiting.data(), waiting.size());
      const std::size_t n = waiting.size();
      buffer_.consume(n);
      return take_chunks(n);
    }
    const std::size_t n = left_ < waiting.size() ? static_cast<std::size_t>(left_) : waiting.size();
    if (n != 0 && !take({static_cast<const std::byte*>(waiting.data()), n})) return;
    buffer_.consume(n);
    left_ -= n;
    read_plain();
  }

  void read_plain() {
    if (left_ == 0) return complete();
    lowest().expires_after(patience());
    const std::size_t n = left_ < piece_size ? static_cast<std::size_t>(left_) : piece_size;
    stream_.async_read_some(asio::buffer(room_.get(), n), [self = self()](error_code error, std::size_t got) {
      self->left_ -= got;
      if (got != 0 && !self->take({self->room_.get(), got})) return;
      if (error) return self->cut(error);
      self->read_plain();
    });
  }

  void read_chunked() {
    lowest().expires_after(patience());
    stream_.async_read_some(asio::buffer(room_.get(), piece_size), [self = self()](error_code error, std::size_t got) {
      if (error) return self->cut(error);
      self->take_chunks(got);
    });
  }
  /// What is in the room.
  void take_chunks(std::size_t size) {
    bytes in(room_.get(), size);
    for (bytes data;;) switch (chunks_.next(in, data)) {
        case chunked_body::found::data:
          if (!take(data)) return;
          break;
        case chunked_body::found::nothing: return read_chunked();
        case chunked_body::found::end:
          // What follows is the next request; one that is not answered is sent again.
          if (in.size() > buffer_.max_size()) closes_ = true;
          else buffer_.commit(asio::buffer_copy(buffer_.prepare(in.size()), asio::buffer(in.data(), in.size())));
          return complete();
        case chunked_body::found::malformed:
          note_request("what comes is no chunk; nothing is kept");
          drop_upload();
          return answer(http::status::bad_request, "the body is malformed", true);
      }
  }

  /// False when the upload has ended here.
  bool take(bytes piece) {
    body_received_ += piece.size();
    const auto since = std::chrono::steady_clock::now() - began_ - 2 * patience();
    if (since.count() > 0 &&
        body_received_ < static_cast<u64>(std::chrono::duration_cast<seconds>(since).count()) * slowest) {
      note_request("the client sends less than 1 KiB a second; nothing is kept");
      drop_upload();
      answer(http::status::request_timeout, "too slow", true);
      return false;
    }
    if (hash_) EVP_DigestUpdate(hash_.get(), piece.data(), piece.size());
    std::string why;
    auto status = http::status::unprocessable_entity;
    {
      const std::lock_guard guard(upload_->mutex);
      if (upload_->claim != claim_ || !upload_->data) {
        upload_id_.clear();
        leave_upload();
        close();
        return false;
      }
      try {
        if (upload_->data->add(piece)) return true;
        why = upload_->data->why();
        if (upload_->data->too_large()) status = http::status::payload_too_large;
      } catch (const storage_error& error) {
        why = error.what();
        if (error.disk_full) status = http::status::insufficient_storage;
        upload_->data.reset();
      }
    }
    note_request(why + "; nothing is kept");
    drop_upload();
    answer(status, status == http::status::insufficient_storage ? "the server's disk is full" : why, true);
    return false;
  }

  void cut(error_code error) {
    const bool waits = !upload_id_.empty();
    note_request((error == beast::error::timeout ? std::string("nothing has come for ") + std::to_string(server_.told.timeout) + " s"
                                                 : "the connection was cut (" + error.message() + ")") +
                 " after " + std::to_string(body_received_) + " bytes; " +
                 (waits ? "they wait for the client to go on" : "nothing is kept"));
    leave_upload();
    close();
  }

  void complete() {
    if (hash_) {
      unsigned char sum[EVP_MAX_MD_SIZE];
      unsigned size = 0;
      EVP_DigestFinal_ex(hash_.get(), sum, &size);
      unsigned char text[2 * EVP_MAX_MD_SIZE];
      const int n = EVP_EncodeBlock(text, sum, static_cast<int>(size));
      if (digest_ != std::string(reinterpret_cast<const char*>(text), static_cast<std::size_t>(n))) {
        note_request("the bytes are not those of its Content-Digest; nothing is kept");
        drop_upload();
        return answer(http::status::unprocessable_entity, "the bytes are not those of the Content-Digest", false);
      }
    }
    // HTTP has no name for what another version of it replaced: the reply tells the number.
    auto why = std::make_shared<std::string>();
    auto made = std::make_shared<entry>();
    on_disk(
        [this, why, made, upload = upload_] {
          const std::lock_guard guard(upload->mutex);
          if (upload->claim != claim_ || !upload->data) {
            *why = "another connection has taken the upload over";
            return;
          }
          if (whole_ && *whole_ != upload->data->received()) {
            *why = "not as long as its Upload-Length";
            upload->data.reset();
            return;
          }
          if (!upload->data->finish()) {
            *why = upload->data->why();
            upload->data.reset();  // gone before the answer says so
            return;
          }
          try {
            *made = server_.images.commit(*upload->data);
          } catch (...) {
            upload->data.reset();
            throw;
          }
          upload->done = *made;
          upload->data.reset();
        },
        [this, why, made] {
          if (!why->empty()) {
            note_request(*why + "; nothing is kept");
            drop_upload();
            return answer(http::status::unprocessable_entity, *why, false);
          }
          if (server_.told.verbose)
            note_request("kept, " + std::to_string(made->stored_size) + " bytes, version " + std::to_string(made->version));
          leave_upload();
          room_.reset();
          answer_json(http::status::created, json_of(*made));
        });
  }

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
  Stream stream_;
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

}  // namespace

void serve_plain(server& s, tcp::socket socket) {
  std::make_shared<session<beast::tcp_stream>>(s, std::move(socket))->start();
}

void serve_tls(server& s, tcp::socket socket) {
  std::make_shared<session<beast::ssl_stream<beast::tcp_stream>>>(s, std::move(socket), *s.tls)->start();
}

void turn_away(server& s, tcp::socket socket) {
  static constexpr std::string_view line =
      "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
  error_code ignored;
  socket.non_blocking(true, ignored);
  if (!s.tls) socket.write_some(asio::buffer(line.data(), line.size()), ignored);
}

}  // namespace ckpt::server
