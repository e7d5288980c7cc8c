// SPDX-License-Identifier: MIT
//
// What a connection answers in short, and how it ends so that the answer arrives.
#include <boost/beast/http/write.hpp>
#include <ctime>

#include "session.hpp"

namespace ckpt::server {
namespace {

/// What is read and thrown away, so that a client that still sends sees why it was refused.
constexpr u64 most_drained = u64{64} << 20;
constexpr auto drain_patience = seconds(2);

}  // namespace

std::string http_date(i64 when) {
  const time_t t = static_cast<time_t>(when);
  std::tm parts{};
  gmtime_r(&t, &parts);
  char text[64];
  const auto n = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text, n};
}

nlohmann::ordered_json json_of(const entry& e) {
  return {{"name", e.name},
          {"size", e.size},
          {"stored_size", e.stored_size},
          {"encoding", transfer::name_of(e.encoding)},
          {"image", e.is_image},
          {"version", e.version},
          {"modified", e.modified}};
}

void session::dress(http::response_header<>& r) {
  r.version(11);
  r.set(http::field::server, "ckptsrv/" CKPT_VERSION);
  r.set(http::field::date, http_date(time(nullptr)));
  if (r.result() == http::status::unauthorized) r.set(http::field::www_authenticate, "Bearer");
  if (r.result() == http::status::service_unavailable) r.set(http::field::retry_after, "1");
  if (allow_) r.set(http::field::allow, "GET, HEAD, PUT, DELETE, MOVE");
  if (offset_) r.set("Upload-Offset", std::to_string(*offset_));
  if (complete_) r.set("Upload-Complete", "?1");
  allow_ = false;
  complete_ = false;
  offset_.reset();
}

void session::answer(http::status status, const std::string& line, bool drain) {
  short_response r(status, 11);
  r.set(http::field::content_type, "text/plain; charset=utf-8");
  r.body() = line + "\n";
  send(std::move(r), drain);
}

void session::answer_json(http::status status, const nlohmann::ordered_json& json) {
  short_response r(status, 11);
  r.set(http::field::content_type, "application/json");
  // A name that is not UTF-8 never gets in.
  r.body() = json.dump() + "\n";
  send(std::move(r), false);
}

void session::send(short_response r, bool drain) {
  dress(r);
  r.keep_alive(goes_on() && !drain);
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

void session::finish(bool drain) {
  if (stream_.has_tls()) {
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

void session::drain() {
  stream_.async_read_some(asio::buffer(room_.get(), piece_size), [self = self()](error_code error, std::size_t n) {
    self->drained_ += n;
    if (error || self->drained_ > most_drained) return self->close();
    self->drain();
  });
}

std::byte* session::room() {
  if (!room_) room_ = std::make_unique<std::byte[]>(piece_size);
  return room_.get();
}

}  // namespace ckpt::server
