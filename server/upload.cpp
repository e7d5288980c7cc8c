// SPDX-License-Identifier: MIT
//
// PUT: an image as it comes, from its first byte or from where it was cut, until it is on the disk.
#include <boost/asio/write.hpp>
#include <cstring>

#include "session.hpp"

namespace ckpt::server {
namespace {

constexpr u64 slowest = 1024;  // bytes a second, of a client that may keep an upload's place

}  // namespace

void session::tell_offset() {
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

void session::receive() {
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

bool session::find_or_begin(transfer::encoding encoding) {
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

void session::leave_upload() {
  if (counted_) --server_.uploads;
  counted_ = false;
  if (upload_ && !upload_id_.empty()) server_.pending.touch(upload_id_);
  upload_.reset();
  upload_id_.clear();
  hash_.reset();
}

void session::drop_upload() {
  if (!upload_id_.empty()) server_.pending.remove(upload_id_);
  upload_id_.clear();
  leave_upload();
}

void session::begin_body() {
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

void session::read_plain() {
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

void session::read_chunked() {
  lowest().expires_after(patience());
  stream_.async_read_some(asio::buffer(room_.get(), piece_size), [self = self()](error_code error, std::size_t got) {
    if (error) return self->cut(error);
    self->take_chunks(got);
  });
}

void session::take_chunks(std::size_t size) {
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

bool session::take(bytes piece) {
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

void session::cut(error_code error) {
  const bool waits = !upload_id_.empty();
  note_request((error == beast::error::timeout ? std::string("nothing has come for ") + std::to_string(server_.told.timeout) + " s"
                                               : "the connection was cut (" + error.message() + ")") +
               " after " + std::to_string(body_received_) + " bytes; " +
               (waits ? "they wait for the client to go on" : "nothing is kept"));
  leave_upload();
  close();
}

void session::complete() {
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

}  // namespace ckpt::server
