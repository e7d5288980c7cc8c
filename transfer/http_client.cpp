// SPDX-License-Identifier: MIT
#include "http_client.hpp"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace ckpt::transfer {
namespace {

namespace http = boost::beast::http;
constexpr std::size_t piece_size = 256 * 1024;
constexpr std::size_t longest_reason = 300;

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

i64 now_ms() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
}

std::string new_upload_id() {
  unsigned char random[16];
  if (getrandom(random, sizeof random, 0) != sizeof random) throw transfer_error("no random numbers");
  std::string id;
  for (const unsigned char c : random) {
    constexpr char digits[] = "0123456789abcdef";
    id += digits[c >> 4];
    id += digits[c & 15];
  }
  return id;
}

/// One request and its answer.
class exchange {
 public:
  exchange(const url& to, const client_options& o) : connection_(to, o.whom, o.timeout_ms) {
    parser_.body_limit(~u64{0});
    host_ = to.host.find(':') == std::string::npos ? to.host : "[" + to.host + "]";
    host_ += ":" + std::to_string(to.port);
    token_ = o.token;
  }

  void send_head(std::string_view method, const std::string& name, const std::string& fields) {
    std::string head(method);
    head += " /" + percent_encoded(name) + " HTTP/1.1\r\nHost: " + host_ +
            "\r\nUser-Agent: ckpt/" CKPT_VERSION "\r\nConnection: close\r\n";
    if (!token_.empty()) head += "Authorization: Bearer " + token_ + "\r\n";
    head += fields + "\r\n";
    connection_.send_all(bytes_of_text(head));
    if (method == "HEAD") parser_.skip(true);
  }
  wire_connection& connection() { return connection_; }

  unsigned read_head() {
    while (!parser_.is_header_done()) feed();
    return parser_.get().result_int();
  }
  [[nodiscard]] std::string field(const char* name) { return std::string(view(parser_.get()[name])); }
  [[nodiscard]] std::optional<u64> length() const {
    const auto n = parser_.content_length();
    return n ? std::optional<u64>(*n) : std::nullopt;
  }

  /// 0 at the end.
  std::size_t read_body(mutable_bytes room) {
    for (;;) {
      if (parser_.is_done()) return 0;
      auto& body = parser_.get().body();
      body.data = room.data();
      body.size = room.size();
      body.more = true;
      feed();
      if (const std::size_t got = room.size() - parser_.get().body().size; got != 0) return got;
    }
  }

  /// The server's line about what it did not do.
  std::string reason() {
    std::string text;
    std::byte room[512];
    try {
      while (text.size() < longest_reason) {
        const auto n = read_body(room);
        if (n == 0) break;
        text.append(reinterpret_cast<const char*>(room), n);
      }
    } catch (const transfer_error&) {
    }
    text = text.substr(0, std::min(text.find('\n'), longest_reason));
    // What a server says goes to a terminal.
    for (char& c : text)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    return "the server says " + std::to_string(parser_.get().result_int()) +
           (text.empty() ? std::string() : " (" + text + ")");
  }

 private:
  void feed() {
    boost::beast::error_code error;
    if (buffer_.size() != 0) {
      const auto n = parser_.put(buffer_.data(), error);
      buffer_.consume(n);
      if (error == http::error::need_buffer) return;
      if (error && error != http::error::need_more)
        throw transfer_error("the server does not speak HTTP: " + error.message());
      if (n != 0 && !error) return;
    }
    const auto room = buffer_.prepare(std::min<std::size_t>(piece_size, buffer_.max_size() - buffer_.size()));
    const std::size_t n = connection_.receive({static_cast<std::byte*>(room.data()), room.size()});
    if (n == 0) {
      // The parser takes the end before the first byte for a whole message, with status 200.
      if (!parser_.is_header_done()) throw transfer_error("the connection was cut", true);
      parser_.put_eof(error);
      if (error || !parser_.is_done()) throw transfer_error("the connection was cut", true);
    }
    buffer_.commit(n);
  }

  wire_connection connection_;
  boost::beast::flat_buffer buffer_{2 * piece_size};
  http::response_parser<http::buffer_body> parser_;
  std::string host_;
  std::string token_;
};

bool may_pass(unsigned status) {
  return status == 408 || status == 409 || status == 429 || status == 500 || status == 502 ||
         status == 503 || status == 504;
}

/// Tries again, later and later, while it may be worth it; `forward` says whether there was progress.
/// The time for that begins when the file has become whole.
template <class Try>
void persist(const client_options& o, Try&& attempt, const growing_file* from = nullptr) {
  constexpr long shortest_wait = 100;
  i64 first_failure = 0;
  long wait_ms = shortest_wait;
  for (u64 last_progress = 0;;) {
    u64 at = last_progress;
    try {
      attempt(at);
      return;
    } catch (const transfer_error& error) {
      if (!error.may_pass) throw;
      const i64 now = now_ms();
      const bool grows = o.retry_ms != 0 && from != nullptr && !from->now().whole;
      if (at > last_progress || first_failure == 0) wait_ms = shortest_wait;
      if (at > last_progress || first_failure == 0 || grows) first_failure = now;
      last_progress = std::max(at, last_progress);
      if (grows) {
        if (from->wait_for_end(wait_ms)) first_failure = 0;
      } else {
        if (now + wait_ms - first_failure > o.retry_ms) throw;
        const timespec pause{wait_ms / 1000, wait_ms % 1000 * 1'000'000};
        nanosleep(&pause, nullptr);
      }
      wait_ms = std::min(wait_ms * 2, 5000L);
    }
  }
}

/// Where to go on with an upload after a cut; nothing when only the answer was lost.
std::optional<u64> offset_of(const url& to, const std::string& id, u64 size, const client_options& o) {
  exchange question(to, o);
  question.send_head("HEAD", to.name, "Upload-Id: " + id + "\r\n");
  const unsigned status = question.read_head();
  if (status == 404) return 0;
  if (status != 200) throw transfer_error(question.reason(), may_pass(status));
  if (!question.field("Upload-Complete").empty()) return std::nullopt;
  const u64 offset = parse_number(question.field("Upload-Offset")).value_or(0);
  return offset <= size ? offset : 0;
}

/// The body of an upload: in chunks, where its end is not here yet.
class upload_body {
 public:
  upload_body(wire_connection& c, bool chunked) : connection_(c), chunked_(chunked) {}

  void add(bytes piece) {
    if (chunked_) {
      char line[32];
      const int n = std::snprintf(line, sizeof line, "%s%zx\r\n", between_, piece.size());
      connection_.send_all(bytes_of_text({line, static_cast<std::size_t>(n)}), true);
      between_ = "\r\n";
    }
    connection_.send_all(piece);
  }
  void end() {
    if (chunked_) connection_.send_all(bytes_of_text(between_ + std::string("0\r\n\r\n")));
  }
  /// What no server can take for a chunk: it forgets the upload, and need not wait for another try.
  void spoil() {
    if (chunked_) connection_.send_all(bytes_of_text(between_ + std::string("torn\r\n")));
  }

 private:
  wire_connection& connection_;
  bool chunked_;
  const char* between_ = "";
};

transfer_error torn_error() { return transfer_error("it will never be whole"); }

/// Sends what there is from `at` on, and what comes; false when the server wants no more.
bool send_body(exchange& e, const growing_file& from, bool chunked, u64 at, u64& reached, const progress& tell) {
  upload_body body(e.connection(), chunked);
  std::vector<std::byte> room(piece_size);
  for (;;) {
    const auto there = from.beyond(at);
    if (e.connection().has_answer()) return false;
    if (there.torn) {
      body.spoil();
      (void)e.read_head();
      throw torn_error();
    }
    if (there.size == at) {
      body.end();
      return true;
    }
    const ssize_t n = pread(from.descriptor(), room.data(), std::min<u64>(room.size(), there.size - at), static_cast<off_t>(at));
    if (n <= 0) throw transfer_error("cannot read back what is to be sent: " + std::string(n < 0 ? std::strerror(errno) : "it has become shorter"));
    body.add({room.data(), static_cast<std::size_t>(n)});
    at += static_cast<u64>(n);
    reached = std::max(reached, at);
    if (tell) tell(at, there.whole ? there.size : there.expected);
  }
}

}  // namespace

void put(const url& to, const growing_file& from, encoding how, const client_options& o, const progress& tell) {
  const std::string id = new_upload_id();
  bool first = true;
  persist(o, [&](u64& reached) {
    // A program that has nothing to send yet needs no server.
    auto there = from.beyond(0);
    if (there.torn) throw torn_error();
    u64 offset = 0;
    if (!first) {
      const auto known = offset_of(to, id, there.size, o);
      if (!known) return;
      offset = *known;
    }
    first = false;
    exchange e(to, o);
    there = from.now();
    std::string fields = "Upload-Id: " + id + "\r\nUpload-Offset: " + std::to_string(offset) + "\r\n";
    if (there.whole) fields += "Content-Length: " + std::to_string(there.size - offset) + "\r\n";
    else fields += "Transfer-Encoding: chunked\r\n";
    if (!there.whole && there.expected != 0) fields += "Upload-Length: " + std::to_string(there.expected) + "\r\n";
    if (how != encoding::identity) fields += "Content-Encoding: " + std::string(name_of(how)) + "\r\n";
    e.send_head("PUT", to.name, fields);
    bool all = false;
    try {
      all = send_body(e, from, !there.whole, offset, reached, tell);
    } catch (const transfer_error& error) {
      if (!error.may_pass) throw;
      // A server that refuses has said why before it cut the connection.
      unsigned status = 0;
      try {
        status = e.read_head();
      } catch (const transfer_error&) {
      }
      if (status != 0) throw transfer_error(e.reason(), may_pass(status));
      throw;
    }
    const unsigned status = e.read_head();
    if (status / 100 != 2) throw transfer_error(e.reason(), may_pass(status));
    if (!all) throw transfer_error("the server says that it has all of it, and has not");
  }, &from);
}

void get(const url& from, const client_options& o, const sink& out, const progress& tell) {
  std::vector<std::byte> room(piece_size);
  std::vector<std::byte> plain(piece_size);
  std::string tag;
  std::unique_ptr<decoder> unpack;
  u64 at = 0;     // of the bytes as they come
  u64 whole = 0;
  persist(o, [&](u64& reached) {
    exchange e(from, o);
    std::string fields = "Accept-Encoding: zstd, lz4\r\n";
    if (at != 0) fields += "Range: bytes=" + std::to_string(at) + "-\r\nIf-Range: " + tag + "\r\n";
    e.send_head("GET", from.name, fields);
    const unsigned status = e.read_head();
    if (status == 404) throw absent_error("there is no such image");
    if (at == 0 ? status != 200 : status != 206 && status != 200)
      throw transfer_error(e.reason(), may_pass(status));
    if (at != 0 && status == 200) throw transfer_error("it was replaced while it was fetched");
    if (at == 0) {
      tag = e.field("ETag");
      encoding how{};
      const std::string coding = e.field("Content-Encoding");
      if (!coding.empty() && !parse_encoding(coding, how))
        throw transfer_error("the server sends it as " + coding + ", which this version does not know");
      unpack = make_decoder(how);
      whole = e.length().value_or(0);
    }
    for (;;) {
      std::size_t n = 0;
      try {
        n = e.read_body(room);
      } catch (const transfer_error& error) {
        // Without its name nobody knows whether the rest is of the same image.
        throw transfer_error(error.what(), error.may_pass && (at == 0 || !tag.empty()));
      }
      if (n == 0) break;
      at += n;
      reached = at;
      if (!unpack->add({room.data(), n}, plain, out))
        throw damaged_error(unpack->why().empty() ? "refused" : unpack->why());
      if (tell) tell(at, whole);
    }
    if (!unpack->whole()) throw damaged_error("the compressed stream is cut off");
  });
}

bool exists(const url& at, const client_options& o) {
  bool found = false;
  persist(o, [&](u64&) {
    exchange e(at, o);
    e.send_head("HEAD", at.name, "");
    const unsigned status = e.read_head();
    if (status != 200 && status != 404) throw transfer_error(e.reason(), may_pass(status));
    found = status == 200;
  });
  return found;
}

bool remove(const url& at, const client_options& o) {
  bool found = false;
  persist(o, [&](u64&) {
    exchange e(at, o);
    e.send_head("DELETE", at.name, "");
    const unsigned status = e.read_head();
    if (status != 200 && status != 404) throw transfer_error(e.reason(), may_pass(status));
    found = status == 200;
  });
  return found;
}

moved move(const url& at, const url& to, bool replace, const client_options& o) {
  auto outcome = moved::yes;
  bool first = true;
  persist(o, [&](u64&) {
    exchange e(at, o);
    e.send_head("MOVE", at.name,
                "Destination: /" + percent_encoded(to.name) + "\r\nOverwrite: " + (replace ? "T" : "F") + "\r\n");
    const unsigned status = e.read_head();
    if (status / 100 != 2 && status != 404 && status != 412) throw transfer_error(e.reason(), may_pass(status));
    outcome = status == 404 ? moved::absent : status == 412 ? moved::occupied : moved::yes;
    // The answer to a try before may have been what was lost.
    if (!first && outcome == moved::absent && exists(to, o)) outcome = moved::yes;
    first = false;
  });
  return outcome;
}

}  // namespace ckpt::transfer
