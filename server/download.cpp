// SPDX-License-Identifier: MIT
//
// GET and HEAD: an image, or a part of it, as it is stored or decoded.
#include <unistd.h>

#include <boost/asio/write.hpp>
#include <boost/beast/http/write.hpp>
#include <cstring>

#include "byte_range.hpp"
#include "session.hpp"

namespace ckpt::server {
namespace {

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

}  // namespace

void session::send_object() {
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

void session::begin_sending(const entry& e, sys::unique_fd file) {
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
  r.keep_alive(goes_on());
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

std::size_t session::next_piece() {
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

void session::send_piece() {
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

}  // namespace ckpt::server
