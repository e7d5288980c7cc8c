// SPDX-License-Identifier: MIT
//
// ckptsrv: keeps checkpoint images for programs on other machines. One process, one directory.
#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <exception>

#include "server.hpp"

namespace {

using namespace ckpt;

constexpr int own_failure = 1;

void prepare_tls(server::server& s, const server::settings& told) {
  namespace ssl = boost::asio::ssl;
  s.tls.emplace(ssl::context::tls_server);
  s.tls->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                     ssl::context::no_sslv3 | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
  s.tls->use_certificate_chain_file(told.certificate);
  s.tls->use_private_key_file(told.key, ssl::context::pem);
  // The buffers of an idle connection are given back.
  SSL_CTX_set_mode(s.tls->native_handle(), SSL_MODE_RELEASE_BUFFERS);
}

}  // namespace

int main(int argc, char** argv) {
  const auto told = server::read_settings(argc, argv);
  umask(077);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    server::tokens who;
    if (!told.token_file.empty()) who.load(told.token_file);
    server::store images(told.directory, told.keep);
    server::server s(told, images, who);
    if (!told.certificate.empty()) try {
        prepare_tls(s, told);
      } catch (const boost::system::system_error& error) {
        std::fprintf(stderr, "ckptsrv: cannot use the certificate %s and key %s: %s\n",
                     told.certificate.c_str(), told.key.c_str(), error.code().message().c_str());
        return own_failure;
      }
    try {
      s.listen();
    } catch (const boost::system::system_error& error) {
      std::fprintf(stderr, "ckptsrv: cannot listen at %s port %d: %s\n", told.bind.c_str(),
                   int{told.port}, error.code().message().c_str());
      return own_failure;
    }
    if (images.swept() != 0)
      s.say(std::to_string(images.swept()) + " files of uploads that never ended are removed");
    for (const auto& name : images.lost()) s.say("the file of an image is gone: " + name);
    s.say("at " + told.bind + " port " + std::to_string(s.port()) + ", images in " + told.directory);
    s.run();
    s.say("stopped");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ckptsrv: %s\n", error.what());
    return own_failure;
  }
  return 0;
}
