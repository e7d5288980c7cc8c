// SPDX-License-Identifier: MIT
#include "tracee.hpp"

#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace ckpt::hijack {
namespace {

template <class A, class D>
result<long> trace(__ptrace_request request, pid_t tid, A address, D data) {
  errno = 0;
  const long value = ptrace(request, tid, address, data);
  if (value == -1 && errno != 0) return static_cast<errc>(errno);
  return value;
}
template <class A, class D>
result<void> traced(__ptrace_request request, pid_t tid, A address, D data) {
  CKPT_TRY(trace(request, tid, address, data));
  return {};
}

}  // namespace

result<void> tracee::seize(pid_t tid, long options) {
  CKPT_TRY(trace(PTRACE_SEIZE, tid, 0, options | PTRACE_O_TRACESYSGOOD));
  tid_ = tid;
  return {};
}

result<void> tracee::interrupt() {
  return traced(PTRACE_INTERRUPT, tid_, 0, 0);
}

void tracee::release() {
  if (tid_ != 0) (void)trace(PTRACE_DETACH, tid_, 0, 0);
  tid_ = 0;
}

result<void> tracee::survive_me() {
  return traced(PTRACE_SETOPTIONS, tid_, 0, long{PTRACE_O_TRACESYSGOOD});
}

result<stop> tracee::wait() {
  int status = 0;
  while (waitpid(tid_, &status, __WALL) < 0)
    if (errno != EINTR) return static_cast<errc>(errno);
  if (!WIFSTOPPED(status)) {
    tid_ = 0;
    return stop{stop_kind::ended, 0};
  }
  const int signal = WSTOPSIG(status);
  if (signal == (SIGTRAP | 0x80)) return stop{stop_kind::system_call, 0};
  switch (status >> 16) {
    case 0:
      return stop{stop_kind::signal, signal};
    case PTRACE_EVENT_EXEC:
      return stop{stop_kind::exec, 0};
    default:
      return stop{stop_kind::group, signal};
  }
}

bool tracee::dead() {
  // A task that SIGKILL takes out of its stop needs a moment to the end.
  for (int tries = 0; tid_ != 0 && tries < 1000; ++tries) {
    int status = 0;
    const pid_t got = waitpid(tid_, &status, __WALL | WNOHANG);
    if ((got == tid_ && !WIFSTOPPED(status)) || (got < 0 && errno == ECHILD)) tid_ = 0;
    // Still as it was: an error of another kind.
    if (got == 0 && trace(PTRACE_PEEKUSER, tid_, 0, 0).ok()) return false;
    if (tid_ != 0) usleep(1000);
  }
  return tid_ == 0;
}

result<void> tracee::go_on(int signal) {
  return traced(PTRACE_CONT, tid_, 0, long{signal});
}
result<void> tracee::go_on_to_system_call(int signal) {
  return traced(PTRACE_SYSCALL, tid_, 0, long{signal});
}
result<void> tracee::stay_stopped() {
  return traced(PTRACE_LISTEN, tid_, 0, 0);
}

result<registers> tracee::get_registers() const {
  registers r{};
  iovec where{&r, sizeof r};
  CKPT_TRY(trace(PTRACE_GETREGSET, tid_, NT_PRSTATUS, &where));
  return r;
}

result<void> tracee::set_registers(const registers& r) const {
  registers copy = r;
  iovec where{&copy, sizeof copy};
  return traced(PTRACE_SETREGSET, tid_, NT_PRSTATUS, &where);
}

result<void> tracee::get_vectors(vector_state& v) const {
  iovec where{v.room_.data(), v.room_.size()};
  CKPT_TRY(trace(PTRACE_GETREGSET, tid_, vector_state_note, &where));
  v.length_ = where.iov_len;
  return {};
}
result<void> tracee::set_vectors(vector_state& v) const {
  iovec where{v.room_.data(), v.length_};
  return traced(PTRACE_SETREGSET, tid_, vector_state_note, &where);
}
result<u64> tracee::get_mask() const {
  u64 mask = 0;
  CKPT_TRY(trace(PTRACE_GETSIGMASK, tid_, sizeof mask, &mask));
  return mask;
}
result<void> tracee::set_mask(u64 mask) const {
  return traced(PTRACE_SETSIGMASK, tid_, sizeof mask, &mask);
}

result<void> tracee::read(remote_address from, mutable_bytes to) const {
  while (!to.empty()) {
    const iovec here{to.data(), to.size()};
    const iovec there{reinterpret_cast<void*>(from.address()), to.size()};
    const ssize_t got = process_vm_readv(tid_, &here, 1, &there, 1, 0);
    if (got <= 0) return got < 0 ? static_cast<errc>(errno) : errc::fault;
    from = from + static_cast<u64>(got);
    to = to.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

result<void> tracee::write(remote_address to, bytes from) const {
  while (!from.empty()) {
    const iovec here{const_cast<std::byte*>(from.data()), from.size()};
    const iovec there{reinterpret_cast<void*>(to.address()), from.size()};
    const ssize_t put = process_vm_writev(tid_, &here, 1, &there, 1, 0);
    if (put <= 0) return put < 0 ? static_cast<errc>(errno) : errc::fault;
    to = to + static_cast<u64>(put);
    from = from.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

result<u64> tracee::peek(remote_ptr<u64> at) const {
  return static_cast<u64>(CKPT_TRY(trace(PTRACE_PEEKDATA, tid_, at.address(), 0)));
}
result<void> tracee::poke(remote_ptr<u64> at, u64 word) const {
  return traced(PTRACE_POKEDATA, tid_, at.address(), word);
}

result<void> borrowed_thread::take() {
  registers_ = CKPT_TRY(tracee_.get_registers());
  // It will not go on from this stop, where the kernel would see to that.
  make_interrupted_call_again(registers_);
  CKPT_TRY(tracee_.get_vectors(tracee_.vectors_));
  mask_ = CKPT_TRY(tracee_.get_mask());
  CKPT_TRY(tracee_.set_mask(~u64{0}));
  taken_ = true;
  return {};
}

result<void> borrowed_thread::give_back() {
  if (!taken_) return {};
  taken_ = false;
  if (tracee_.tid() == 0) return errc::gone;
  CKPT_TRY(tracee_.set_vectors(tracee_.vectors_));
  CKPT_TRY(tracee_.set_mask(mask_));
  return tracee_.set_registers(registers_);
}

result<void> borrowed_thread::give_back_through(u64 function, const std::array<u64, 2>& arguments) {
  const u64 mask = mask_;
  mask_ = ~u64{0};
  prepare_detour(registers_, function, {arguments[0], arguments[1], mask});
  return give_back();
}

}  // namespace ckpt::hijack
