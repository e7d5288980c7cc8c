// SPDX-License-Identifier: MIT
#include "server.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <cstdio>
#include <thread>

namespace ckpt::server {
namespace {

constexpr auto sweep_period = std::chrono::seconds(10);
constexpr auto pause_without_descriptors = std::chrono::milliseconds(200);

unsigned processors() { return std::max(1u, std::thread::hardware_concurrency()); }

/// Every connection has a descriptor, and an upload a second one.
unsigned connections_for(unsigned wanted) {
  constexpr rlim_t own = 64;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur == RLIM_INFINITY) return wanted;
  const rlim_t free = limit.rlim_cur > 2 * own ? limit.rlim_cur - own : own;
  return free < wanted ? static_cast<unsigned>(free) : wanted;
}

}  // namespace

server::server(const settings& s, store& i, const tokens& t)
    : told(s), images(i), who(t), context(static_cast<int>(2 * processors())),
      disk(std::max(4u, processors())), sweep_timer_(context), grace_timer_(context) {}

void server::listen() {
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(told.bind, std::to_string(told.port),
                                      tcp::resolver::passive | tcp::resolver::numeric_service);
  unsigned short chosen = told.port;
  for (const auto& one : found) {
    auto endpoint = one.endpoint();
    endpoint.port(chosen);
    auto acceptor = std::make_unique<tcp::acceptor>(context);
    acceptor->open(endpoint.protocol());
    acceptor->set_option(tcp::acceptor::reuse_address(true));
    if (endpoint.address().is_v6()) acceptor->set_option(asio::ip::v6_only(true));
    acceptor->bind(endpoint);
    acceptor->listen(4096);
    chosen = acceptor->local_endpoint().port();
    acceptors_.push_back(std::move(acceptor));
    pauses_.push_back(std::make_unique<asio::steady_timer>(context));
  }
}

unsigned short server::port() const { return acceptors_.at(0)->local_endpoint().port(); }

void server::say(const std::string& line) const {
  if (told.quiet) return;
  const std::string whole = "ckptsrv: " + line + "\n";
  (void)!write(2, whole.data(), whole.size());
}

void server::joined(connection* c) {
  const std::lock_guard guard(mutex_);
  connections_.insert(c);
}
void server::left(connection* c) {
  {
    const std::lock_guard guard(mutex_);
    connections_.erase(c);
  }
  if (stopping_ && none_left()) context.stop();
}
bool server::none_left() const {
  const std::lock_guard guard(mutex_);
  return connections_.empty();
}

void server::accept(tcp::acceptor& acceptor) {
  acceptor.async_accept(asio::make_strand(context), [this, &acceptor](auto error, tcp::socket socket) {
    if (stopping_) return;
    if (error) {
      if (error == asio::error::operation_aborted) return;
      // No descriptor is free: those who wait are served when somebody has gone.
      auto& pause = *pauses_[0];
      pause.expires_after(pause_without_descriptors);
      pause.async_wait([this, &acceptor](auto) {
        if (!stopping_) accept(acceptor);
      });
      return;
    }
    std::size_t now = 0;
    {
      const std::lock_guard guard(mutex_);
      now = connections_.size();
    }
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    if (now >= most_connections_)
      turn_away(*this, std::move(socket));
    else if (tls)
      serve_tls(*this, std::move(socket));
    else
      serve_plain(*this, std::move(socket));
    accept(acceptor);
  });
}

void server::sweep_later() {
  sweep_timer_.expires_after(sweep_period);
  sweep_timer_.async_wait([this](auto error) {
    if (error || stopping_) return;
    pending.sweep();
    sweep_later();
  });
}

void server::begin_stop() {
  if (stopping_.exchange(true)) {
    context.stop();  // asked twice: now
    return;
  }
  boost::system::error_code ignored;
  for (const auto& a : acceptors_) a->close(ignored);
  for (const auto& p : pauses_) p->cancel();
  sweep_timer_.cancel();
  {
    const std::lock_guard guard(mutex_);
    for (auto* c : connections_) c->end_soon();
  }
  grace_timer_.expires_after(std::chrono::seconds(told.grace));
  if (none_left()) {
    context.stop();
    return;
  }
  grace_timer_.async_wait([this](auto error) {
    if (!error) say("some uploads have not ended in time and are dropped");
    context.stop();
  });
}

void server::run() {
  most_connections_ = connections_for(told.max_connections);
  for (const auto& a : acceptors_) accept(*a);
  sweep_later();
  asio::signal_set signals(context, SIGTERM, SIGINT);
  const std::function<void(const boost::system::error_code&, int)> on_signal =
      [&](const boost::system::error_code& error, int) {
        if (error) return;
        begin_stop();
        signals.async_wait(on_signal);
      };
  signals.async_wait(on_signal);
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < 2 * processors(); ++i) threads.emplace_back([this] { context.run(); });
  context.run();
  for (auto& t : threads) t.join();
  disk.join();
  pending.clear();
}

}  // namespace ckpt::server
