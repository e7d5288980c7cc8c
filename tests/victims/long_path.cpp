// SPDX-License-Identifier: MIT
// A mapped file whose path has more than 60,000 characters, which maps shows in full.
//
// Fidelity: memory | a mapped file with a path of 60,000 characters | kept
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  const int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::string step(250, 'd');
  for (int i = 0; i < 245; ++i)
    if ((mkdir(step.c_str(), 0755) != 0 && errno != EEXIST) || chdir(step.c_str()) != 0)
      victim::skip("the file system has no room for such a path");
  const int fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  std::string content(3 * 4096, '\0');
  victim::fill(content.data(), content.size(), 6);
  if (fd < 0 || write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    victim::broken("file");
  auto* memory = static_cast<unsigned char*>(
      mmap(nullptr, content.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  if (memory == MAP_FAILED || fchdir(home) != 0) victim::broken("mmap");
  close(fd);
  close(home);
  memory[4096] = 0x33;
  content[4096] = 0x33;
  victim::work_until_stop();
  if (memcmp(memory, content.data(), content.size()) != 0) victim::lost("its bytes");
  return victim::finish();
}
