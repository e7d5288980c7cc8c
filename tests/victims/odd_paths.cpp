// SPDX-License-Identifier: MIT
// Files whose paths mislead: a name that ends as the kernel marks files that are gone, and the
// program's own directory and thread below /proc. And READ_IMPLIES_EXEC, which an execve takes away.
//
// Fidelity: descriptors | files called (deleted), and those of the program itself below /proc | kept
// Fidelity: process | personality | kept
#include <fcntl.h>
#include <sys/personality.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  const char* name = "still here (deleted)";
  const int file = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0 || write(file, "one ", 4) != 4) victim::broken(name);
  const int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int thread = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
  if (self < 0 || thread < 0) victim::broken("/proc");
  personality(READ_IMPLIES_EXEC);

  victim::work_until_stop();

  if (write(file, "two", 3) != 3 || victim::slurp(name) != "one two")
    victim::lost("what was written: '%s'", victim::slurp(name).c_str());
  char text[32] = "";
  if (pread(thread, text, sizeof text - 1, 0) <= 0) victim::lost("/proc/thread-self/stat");
  victim::expect_equal("its thread", static_cast<uint64_t>(getpid()),
                       static_cast<uint64_t>(atoi(text)));
  const int status = openat(self, "status", O_RDONLY | O_CLOEXEC);
  if (status < 0) victim::lost("/proc/self");
  victim::expect_equal("personality", READ_IMPLIES_EXEC,
                       static_cast<uint64_t>(personality(0xffffffff)));
  return victim::finish();
}
