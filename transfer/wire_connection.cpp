// SPDX-License-Identifier: MIT
#include "wire_connection.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace ckpt::transfer {
namespace {

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return text == nullptr ? "the connection was cut" : text;
}

bool is_address(const std::string& host) {
  unsigned char room[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), room) == 1 || inet_pton(AF_INET6, host.c_str(), room) == 1;
}

}  // namespace

wire_connection::wire_connection(const url& to, const trust& t, int timeout_ms) : timeout_ms_(timeout_ms) {
  connect(to);
  if (to.scheme == url::scheme_kind::https) begin_tls(to, t);
}

wire_connection::~wire_connection() {
  if (tls_ != nullptr) SSL_free(tls_);
  if (context_ != nullptr) SSL_CTX_free(context_);
}

void wire_connection::wait(short events) {
  pollfd p{fd_.get(), events, 0};
  for (;;) {
    const int n = poll(&p, 1, timeout_ms_);
    if (n > 0) return;
    if (n == 0) throw transfer_error("the server has not answered for " + std::to_string(timeout_ms_ / 1000) + " s", true);
    if (errno != EINTR) throw transfer_error(std::strerror(errno), true);
  }
}

void wire_connection::connect(const url& to) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int unresolved = getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), &hints, &found);
  if (unresolved != 0)
    throw transfer_error("the host is not known: " + std::string(unresolved == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(unresolved)),
                         unresolved == EAI_AGAIN);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);
  std::string why = "the host has no address";
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    fd_ = sys::unique_fd(socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol));
    if (!fd_) {
      why = std::strerror(errno);
      continue;
    }
    int error = ::connect(fd_.get(), a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      pollfd p{fd_.get(), POLLOUT, 0};
      int n = 0;
      do n = poll(&p, 1, timeout_ms_);
      while (n < 0 && errno == EINTR);
      error = ETIMEDOUT;
      socklen_t size = sizeof error;
      if (n > 0) getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) {
      const int on = 1;
      setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return;
    }
    why = std::strerror(error);
  }
  fd_.reset();
  throw transfer_error(why, true);
}

void wire_connection::begin_tls(const url& to, const trust& t) {
  context_ = SSL_CTX_new(TLS_client_method());
  if (context_ == nullptr) throw transfer_error("TLS: " + openssl_reason());
  SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION);
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
  const int trusted = t.ca_file.empty() ? SSL_CTX_set_default_verify_paths(context_)
                                        : SSL_CTX_load_verify_locations(context_, t.ca_file.c_str(), nullptr);
  if (trusted != 1) throw transfer_error("cannot read the certificates in " + t.ca_file + " (CKPT_CA): " + openssl_reason());
  tls_ = SSL_new(context_);
  if (tls_ == nullptr || SSL_set_fd(tls_, fd_.get()) != 1) throw transfer_error("TLS: " + openssl_reason());
  // The certificate is for the name that the user has given, whatever it resolves to.
  if (is_address(to.host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls_), to.host.c_str());
  } else {
    SSL_set_hostflags(tls_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set1_host(tls_, to.host.c_str());
    SSL_set_tlsext_host_name(tls_, to.host.c_str());
  }
  for (;;) {
    const int n = SSL_connect(tls_);
    if (n == 1) return;
    const int error = SSL_get_error(tls_, n);
    if (error == SSL_ERROR_WANT_READ) wait(POLLIN);
    else if (error == SSL_ERROR_WANT_WRITE) wait(POLLOUT);
    else {
      const long verdict = SSL_get_verify_result(tls_);
      if (verdict != X509_V_OK)
        throw transfer_error("its certificate is not good: " + std::string(X509_verify_cert_error_string(verdict)) +
                             (t.ca_file.empty() ? " (CKPT_CA names a file of certificates to trust)" : ""));
      throw transfer_error("TLS: " + openssl_reason(), error == SSL_ERROR_SYSCALL);
    }
  }
}

std::size_t wire_connection::send(bytes piece, bool more) {
  for (;;) {
    if (tls_ == nullptr) {
      const ssize_t n = ::send(fd_.get(), piece.data(), piece.size(), MSG_NOSIGNAL | (more ? MSG_MORE : 0));
      if (n > 0) return static_cast<std::size_t>(n);
      if (errno == EAGAIN) wait(POLLOUT);
      else if (errno != EINTR) throw transfer_error("the connection was cut: " + std::string(std::strerror(errno)), true);
      continue;
    }
    std::size_t n = 0;
    const int done = SSL_write_ex(tls_, piece.data(), piece.size(), &n);
    if (done == 1) return n;
    const int error = SSL_get_error(tls_, done);
    if (error == SSL_ERROR_WANT_READ) wait(POLLIN);
    else if (error == SSL_ERROR_WANT_WRITE) wait(POLLOUT);
    else throw transfer_error("the connection was cut: " + openssl_reason(), true);
  }
}

void wire_connection::send_all(bytes piece, bool more) {
  while (!piece.empty()) piece = piece.subspan(send(piece, more));
}

bool wire_connection::has_answer() {
  if (tls_ != nullptr && SSL_pending(tls_) > 0) return true;
  pollfd p{fd_.get(), POLLIN, 0};
  if (poll(&p, 1, 0) <= 0) return false;
  if (tls_ == nullptr) return true;
  // A record of TLS itself is no answer.
  char one = 0;
  std::size_t n = 0;
  const int done = SSL_peek_ex(tls_, &one, 1, &n);
  return done == 1 || (SSL_get_error(tls_, done) != SSL_ERROR_WANT_READ);
}

std::size_t wire_connection::receive(mutable_bytes room) {
  for (;;) {
    if (tls_ == nullptr) {
      const ssize_t n = recv(fd_.get(), room.data(), room.size(), 0);
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno == EAGAIN) wait(POLLIN);
      else if (errno != EINTR) throw transfer_error("the connection was cut: " + std::string(std::strerror(errno)), true);
      continue;
    }
    std::size_t n = 0;
    const int done = SSL_read_ex(tls_, room.data(), room.size(), &n);
    if (done == 1) return n;
    const int error = SSL_get_error(tls_, done);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    if (error == SSL_ERROR_WANT_READ) wait(POLLIN);
    else if (error == SSL_ERROR_WANT_WRITE) wait(POLLOUT);
    else throw transfer_error("the connection was cut: " + openssl_reason(), true);
  }
}

}  // namespace ckpt::transfer
