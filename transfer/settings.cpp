// SPDX-License-Identifier: MIT
#include "settings.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "report.hpp"

namespace ckpt::transfer {

std::string token_in(const std::string& path) {
  if (path.empty()) return {};
  const sys::unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) throw transfer_error("cannot open the token file " + shown(path) + ": " + std::strerror(errno));
  struct stat st{};
  if (fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
    throw transfer_error("the token file " + shown(path) + " is open to others; make it private (chmod 600)");
  char text[4096];
  const ssize_t n = read(fd.get(), text, sizeof text);
  std::string_view line(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (line.starts_with('#') && line.find('\n') != std::string_view::npos) line.remove_prefix(line.find('\n') + 1);
  line = line.substr(0, line.find_first_of(" \r\n"));
  for (const char c : line)
    if (c < 0x21 || c > 0x7e) line = {};
  if (line.empty()) throw transfer_error("the token file " + shown(path) + " has no token in its first line");
  return std::string(line);
}

int milliseconds_of(std::string_view text) {
  const auto seconds = parse_number(text);
  return seconds.ok() && *seconds <= 1'000'000 ? static_cast<int>(*seconds) * 1000 : -1;
}

void read_variables(settings& s) {
  const auto text = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  s.client.whom.ca_file = text("CKPT_CA");
  s.token_file = text("CKPT_TOKEN_FILE");
  s.fallback = text("CKPT_FALLBACK");
  if (const auto value = text("CKPT_RETRY"); !value.empty()) {
    s.client.retry_ms = milliseconds_of(value);
    if (s.client.retry_ms < 0) throw transfer_error("CKPT_RETRY=" + shown(value) + " means nothing (seconds)");
  }
  if (const auto value = text("CKPT_COMPRESS"); !value.empty() && !parse_compression(value, s.compress))
    throw transfer_error("CKPT_COMPRESS=" + shown(value) + " means nothing (lz4 or zstd, with :LEVEL)");
}

url name_of_image(const std::string& text) {
  std::string why;
  const auto u = parse_url(text, why);
  if (!u) throw transfer_error("the name means nothing: " + why);
  return *u;
}

}  // namespace ckpt::transfer
