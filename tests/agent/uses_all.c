/* SPDX-License-Identifier: MIT
 * Calls every function of ckpt.h. In every dialect of C and C++ it compiles without a warning, and
 * without the library each call does nothing: its status is 0 then. OTHER is a second file of one
 * program. */
#include "ckpt.h"

int other(void);

#ifdef OTHER
int other(void) {
  return ckpt_present() + ckpt_ckpt(NULL);
}
#else
static int called;
static void f(void* unused) {
  (void)unused;
  called = 1;
}

int main(void) {
  struct ckptconfig config;
  unsigned char id[16];
  char text[100];
  int failures = 0;
  text[0] = 'x';
  config.flags = CKPT_MSPERIOD | CKPT_NAME | CKPT_ASYNCSIG | CKPT_CONTINUE;
  config.msperiod = 1;
  ckpt_config(&config, NULL);
  ckpt_on_preckpt(f, NULL);
  ckpt_on_postckpt(f, NULL);
  ckpt_on_restart(f, NULL);
  failures += ckpt_present() != 0;
  failures += ckpt_fds() != NULL;
  failures += ckpt_instance(id) != 0;
  failures += ckpt_hold() != 0;
  failures += ckpt_release() != 0;
  failures += ckpt_region(&config, sizeof config, CKPT_REGION_KEEP) != 0;
  failures += ckpt_version()[0] != 0;
  failures += ckpt_generation() != 0;
  failures += ckpt_restarted() != 0;
  failures += ckpt_ckpt(NULL) != 0;
  ckpt_restart(text);
  failures += ckpt_error(NULL, 0) != 0;
  failures += ckpt_error(text, sizeof text) != 0 || text[0] != 0;
  failures += called != 0;
  return failures + other();
}
#endif
