// SPDX-License-Identifier: MIT
#include "tokens.hpp"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "ckpt/sys/file.hpp"

namespace ckpt::server {

tokens::digest tokens::hash_of(std::string_view token) {
  digest hash{};
  unsigned size = hash.size();
  if (EVP_Digest(token.data(), token.size(), hash.data(), &size, EVP_sha256(), nullptr) != 1)
    throw std::runtime_error("OpenSSL has no SHA-256");
  return hash;
}

void tokens::load(const std::string& path) {
  const sys::unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) throw std::runtime_error("cannot open the token file " + path + ": " + std::strerror(errno));
  struct stat st{};
  if (fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode))
    throw std::runtime_error("the token file " + path + " is no regular file");
  if ((st.st_mode & 077) != 0)
    throw std::runtime_error("the token file " + path +
                             " is open to others; make it private (chmod 600)");
  if (st.st_uid != geteuid() && st.st_uid != 0)
    throw std::runtime_error("the token file " + path + " belongs to another user");
  std::string text(1 << 20, '\0');
  const ssize_t size = pread(fd.get(), text.data(), text.size(), 0);
  if (size < 0 || static_cast<std::size_t>(size) == text.size())
    throw std::runtime_error("cannot read the token file " + path);
  text.resize(static_cast<std::size_t>(size));
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find('\n', at);
    auto line = std::string_view(text).substr(at, end == std::string::npos ? end : end - at);
    at = end == std::string::npos ? text.size() : end + 1;
    while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    const auto blank = line.find(' ');
    const auto right = blank == std::string_view::npos ? "write" : line.substr(line.find_last_of(' ') + 1);
    if (right != "read" && right != "write")
      throw std::runtime_error("the token file " + path +
                               " has a line that is not TOKEN, TOKEN read or TOKEN write");
    known_.push_back({hash_of(line.substr(0, blank)), right == "read" ? access::read : access::write});
  }
  OPENSSL_cleanse(text.data(), text.size());
  if (known_.empty()) throw std::runtime_error("the token file " + path + " has no token");
}

access tokens::allowed(std::string_view field) const {
  if (known_.empty()) return access::write;
  const auto hash = hash_of(bearer_token(field));
  access found = access::none;
  for (const auto& one : known_)
    if (CRYPTO_memcmp(one.hash.data(), hash.data(), hash.size()) == 0 && one.what > found)
      found = one.what;
  return found;
}

}  // namespace ckpt::server
