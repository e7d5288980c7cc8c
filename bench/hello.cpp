// SPDX-License-Identifier: MIT
//
// The smallest program worth freezing: libc and a loop. Says `ready`, and `again` as soon as it
// finds itself in another process.
#include <sys/syscall.h>
#include <unistd.h>

int main() {
  const long process = syscall(SYS_getpid);
  if (write(1, "ready\n", 6) != 6) return 1;
  while (syscall(SYS_getpid) == process) {
  }
  return write(1, "again\n", 6) == 6 ? 0 : 1;
}
