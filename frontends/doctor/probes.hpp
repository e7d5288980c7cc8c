// SPDX-License-Identifier: MIT
//
// What this kernel lets this user do, found out by doing it, in a child process that ends at once.
// errc::none where it works.
#pragma once

#include "ckpt/base/result.hpp"

namespace ckpt::doctor::probe {

errc ptrace();
/// A process with a number of our choice (clone3 set_tid).
errc set_tid();
/// With the one user mapped.
errc user_namespace();
/// With capabilities of its own, otherwise inside a user namespace.
errc pid_namespace();
errc time_namespace();
/// A number of our choice inside both.
errc set_tid_in_namespace();
errc process_vm_readv();
errc kcmp();
errc socket_list();
errc pagemap_scan();
errc write_tracking();
errc move_vdso();

}  // namespace ckpt::doctor::probe
