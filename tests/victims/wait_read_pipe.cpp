// SPDX-License-Identifier: MIT
// read from a pipe whose writer is outside: every record arrives once, in order, without EINTR.
#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  victim::ready();
  for (unsigned expected = 0; !victim::stop_requested(); ++expected) {
    char record[8];
    ssize_t got = read(0, record, sizeof record);
    if (got != 8) {
      victim::lost("read: %zd, errno %d", got, errno);
      if (got == 0) break;
      --expected;
      continue;
    }
    char wanted[16];
    snprintf(wanted, sizeof wanted, "%07u\n", expected);
    if (memcmp(record, wanted, 8) != 0) victim::lost("record %u is '%.7s'", expected, record);
  }
  return victim::finish();
}
