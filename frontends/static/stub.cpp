// SPDX-License-Identifier: MIT
//
// libckpt-stub.a: the functions of ckpt.h for programs that must link without the library and cannot
// leave that to the header, because they define CKPT_REQUIRED or declare the functions themselves.
// Each does nothing and returns what the header's own say without a library.
#define CKPT_REQUIRED
#include "ckpt.h"

extern "C" {
int ckpt_present(void) { return 0; }
const char* ckpt_version(void) { return ""; }
void ckpt_config(struct ckptconfig*, struct ckptconfig*) {}
int ckpt_ckpt(char*) { return 0; }
void ckpt_restart(char*) {}
int ckpt_restarted(void) { return 0; }
unsigned ckpt_generation(void) { return 0; }
int ckpt_instance(unsigned char*) { return 0; }
size_t ckpt_error(char* text, size_t size) {
  if (size > 0) text[0] = '\0';
  return 0;
}
int ckpt_hold(void) { return 0; }
int ckpt_release(void) { return 0; }
int ckpt_region(void*, size_t, int) { return 0; }
void ckpt_on_preckpt(ckpt_callback*, void*) {}
void ckpt_on_postckpt(ckpt_callback*, void*) {}
void ckpt_on_restart(ckpt_callback*, void*) {}
struct ckptfdtbl* ckpt_fds(void) { return nullptr; }
}
