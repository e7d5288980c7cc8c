// SPDX-License-Identifier: MIT
#include "legacy.hpp"

#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include "request_target.hpp"
#include "server.hpp"

namespace ckpt::server {
namespace {

using error_code = boost::system::error_code;
constexpr std::size_t piece_size = 64 * 1024;
constexpr std::size_t longest_legacy_name = 1023;

enum operation : unsigned char { save, restore, access_image, remove_image };

class legacy_session final : public connection, public std::enable_shared_from_this<legacy_session> {
 public:
  legacy_session(server& s, tcp::socket socket, unsigned char what, std::string peer)
      : server_(s), stream_(std::move(socket)), what_(what), peer_(std::move(peer)), room_(piece_size) {
    server_.joined(this);
  }
  ~legacy_session() override {
    upload_.reset();
    if (counted_) --server_.uploads;
    server_.left(this);
  }
  void end_soon() override {}  // there is always something under way

  void start() {
    limit();
    asio::async_read(stream_, asio::buffer(room_.data(), 4), [self = shared_from_this()](error_code e, std::size_t) {
      if (e) return;
      std::size_t length = 0;
      for (int i = 0; i < 4; ++i) length = length << 8 | std::to_integer<unsigned>(self->room_[static_cast<std::size_t>(i)]);
      if (length == 0 || length > longest_legacy_name) return self->refuse("a name of " + std::to_string(length) + " bytes");
      self->limit();
      asio::async_read(self->stream_, asio::buffer(self->room_.data(), length), [self, length](error_code error, std::size_t) {
        if (error) return;
        self->name_.assign(reinterpret_cast<const char*>(self->room_.data()), length);
        self->serve();
      });
    });
  }

 private:
  void limit() { stream_.expires_after(std::chrono::seconds(server_.told.timeout)); }
  void say(const std::string& text) {
    fixed_text<1400> line;
    line.append(peer_).append(": legacy ").append(quoted{name_}).append(": ").append(text);
    server_.say(std::string(line.view()));
  }
  void refuse(const std::string& why) {
    say(why);
    reply(1, [] {});
  }
  template <class Then>
  void reply(unsigned char what, Then then) {
    answer_ = what;
    limit();
    asio::async_write(stream_, asio::buffer(&answer_, 1), [self = shared_from_this(), then](error_code e, std::size_t) {
      if (!e) then();
    });
  }

  void serve() {
    while (name_.ends_with('\0')) name_.pop_back();
    if (const auto fault = fault_of_name(name_)) return refuse(*fault);
    try {
      switch (what_) {
        case save:
          if (server_.uploads.fetch_add(1) >= server_.told.max_uploads) {
            --server_.uploads;
            return refuse("too many uploads at once");
          }
          counted_ = true;
          upload_ = std::make_unique<upload>(server_.images, name_, transfer::encoding::identity,
                                             server_.told.max_size, true);
          return reply(0, [this] { receive(); });
        case restore: {
          const auto found = server_.images.find(name_, {});
          if (found) file_ = server_.images.open_object(*found);
          if (!file_) return reply(1, [] {});
          if (found->encoding != transfer::encoding::identity) decoder_ = transfer::make_decoder(found->encoding);
          return reply(0, [this] { send(); });
        }
        case access_image: return reply(server_.images.find(name_, {}) ? 0 : 1, [] {});
        default: return reply(server_.images.remove(name_, {}) ? 0 : 1, [] {});
      }
    } catch (const std::exception& error) {
      refuse(error.what());
    }
  }

  void receive() {
    limit();
    stream_.async_read_some(asio::buffer(room_), [self = shared_from_this()](error_code e, std::size_t n) {
      try {
        if (n != 0 && !self->upload_->add({self->room_.data(), n})) return self->say(self->upload_->why() + "; nothing is kept");
        if (!e) return self->receive();
        if (e != asio::error::eof) return self->say("the connection was cut (" + e.message() + "); nothing is kept");
        if (!self->upload_->finish()) return self->say(self->upload_->why() + "; nothing is kept");
      } catch (const std::exception& error) {
        return self->say(error.what());
      }
      asio::post(self->server_.disk, [self, guard = asio::make_work_guard(self->server_.context)] {
        try {
          (void)self->server_.images.commit(*self->upload_);
        } catch (const std::exception& error) {
          self->say(error.what());
        }
      });
    });
  }

  void send() {
    std::size_t made = 0;
    if (!decoder_) {
      const ssize_t n = read(file_.get(), room_.data(), room_.size());
      made = n > 0 ? static_cast<std::size_t>(n) : 0;
    } else {
      while (made == 0) {
        if (in_.empty()) {
          packed_.resize(piece_size);
          const ssize_t n = read(file_.get(), packed_.data(), packed_.size());
          if (n < 0) return;
          in_ = {packed_.data(), static_cast<std::size_t>(n)};
        }
        const bool last = in_.empty();
        if (!decoder_->step(in_, room_, made) || (last && made == 0)) break;
      }
    }
    if (made == 0) return;
    limit();
    asio::async_write(stream_, asio::buffer(room_.data(), made), [self = shared_from_this()](error_code e, std::size_t) {
      if (!e) self->send();
    });
  }

  server& server_;
  boost::beast::tcp_stream stream_;
  unsigned char what_;
  unsigned char answer_ = 0;
  std::string peer_;
  std::string name_;
  std::vector<std::byte> room_;
  std::vector<std::byte> packed_;
  bytes in_;
  std::unique_ptr<upload> upload_;
  std::unique_ptr<transfer::decoder> decoder_;
  sys::unique_fd file_;
  bool counted_ = false;
};

}  // namespace

void serve_legacy(server& s, tcp::socket socket, unsigned char operation, const std::string& peer) {
  std::make_shared<legacy_session>(s, std::move(socket), operation, peer)->start();
}

}  // namespace ckpt::server
