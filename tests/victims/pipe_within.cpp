// SPDX-License-Identifier: MIT
// A pipe with both ends in the program, as self-pipes of event loops are: what was written and not
// yet read stays, ends keep their flags, a dup still shares its open file, both ends still meet.
//
// Fidelity: descriptors | a pipe within the program, with what is in it | kept
#include <fcntl.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) victim::broken("pipe2");
  const int copy = dup(ends[1]);
  constexpr int big = 256 * 1024;
  int empty[2];
  if (pipe(empty) != 0 || fcntl(empty[1], F_SETPIPE_SZ, big) != big) victim::broken("pipe");
  if (copy < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) victim::broken("fcntl");
  if (write(ends[1], "one", 3) != 3 || write(copy, "two", 3) != 3) victim::broken("write");
  victim::work_until_stop();

  victim::expect_equal("the reader's flags", O_RDONLY | O_NONBLOCK,
                       fcntl(ends[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
  victim::expect_equal("the writer's flags", O_WRONLY,
                       fcntl(ends[1], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
  victim::expect_equal("close-on-exec", FD_CLOEXEC, fcntl(ends[0], F_GETFD));
  victim::expect_equal("close-on-exec of the dup", 0, fcntl(copy, F_GETFD));
  victim::expect_equal("the capacity", big, fcntl(empty[0], F_GETPIPE_SZ));
  char text[16] = {};
  if (read(ends[0], text, sizeof text) != 6 || std::string(text) != "onetwo")
    victim::lost("the pipe held '%s'", text);
  if (read(ends[0], text, sizeof text) != -1 || errno != EAGAIN)
    victim::lost("the pipe was not empty afterwards");
  if (fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0 || (fcntl(copy, F_GETFL) & O_NONBLOCK) == 0)
    victim::lost("the dup no longer shares its open file");
  if (write(copy, "three", 5) != 5 || read(ends[0], text, sizeof text) != 5)
    victim::lost("the ends no longer meet");
  close(ends[1]);
  close(copy);
  if (read(ends[0], text, sizeof text) != 0) victim::lost("no end of file: a writer too many");
  close(empty[1]);
  if (read(empty[0], text, sizeof text) != 0) victim::lost("the empty pipe has a writer too many");
  return victim::finish();
}
