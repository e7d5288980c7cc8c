// SPDX-License-Identifier: MIT
//
// sys/abi.hpp against the kernel's own headers, at compile time. They clash with libc's, so no
// libc header may come in here; abi_test.cpp does the part that only libc's headers have.
#include <asm/fcntl.h>
#include <asm/ioctls.h>
#include <asm/mman.h>
#include <asm/poll.h>
#include <asm/prctl.h>
#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/socket.h>
#include <asm/stat.h>
#include <asm/ucontext.h>
#include <linux/auxvec.h>
#include <linux/elf-em.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/ioprio.h>
#include <linux/kcmp.h>
#include <linux/membarrier.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/netlink.h>
#include <linux/personality.h>
#include <linux/prctl.h>
#include <linux/ptrace.h>
#include <linux/resource.h>
#include <linux/rseq.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <linux/sock_diag.h>
#include <linux/stat.h>
#include <linux/time.h>
#include <linux/time_types.h>
#include <linux/uio.h>
#include <linux/unix_diag.h>
#include <linux/utsname.h>
#include <linux/wait.h>

#include "ckpt/sys/abi.hpp"

namespace {

namespace abi = ckpt::sys::abi;

#define CKPT_SAME(ours, theirs) static_assert(abi::ours == (theirs), #ours)
// Same size of the whole; same place and size of a member.
#define CKPT_SAME_SIZE(ours, theirs) static_assert(sizeof(abi::ours) == sizeof(theirs), #ours)
#define CKPT_SAME_MEMBER(ours, our_member, theirs, their_member)                               \
  static_assert(                                                                               \
      __builtin_offsetof(abi::ours, our_member) == __builtin_offsetof(theirs, their_member) && \
      sizeof(abi::ours::our_member) == sizeof(static_cast<theirs*>(nullptr)->their_member))

// open(2), fcntl(2)
CKPT_SAME(o_rdonly, O_RDONLY);
CKPT_SAME(o_wronly, O_WRONLY);
CKPT_SAME(o_rdwr, O_RDWR);
CKPT_SAME(o_accmode, O_ACCMODE);
CKPT_SAME(o_creat, O_CREAT);
CKPT_SAME(o_excl, O_EXCL);
CKPT_SAME(o_noctty, O_NOCTTY);
CKPT_SAME(o_trunc, O_TRUNC);
CKPT_SAME(o_append, O_APPEND);
CKPT_SAME(o_nonblock, O_NONBLOCK);
CKPT_SAME(o_async, FASYNC);
CKPT_SAME(o_direct, O_DIRECT);
CKPT_SAME(o_largefile, O_LARGEFILE);
CKPT_SAME(o_directory, O_DIRECTORY);
CKPT_SAME(o_nofollow, O_NOFOLLOW);
CKPT_SAME(o_cloexec, O_CLOEXEC);
CKPT_SAME(o_path, O_PATH);
CKPT_SAME(o_tmpfile, O_TMPFILE);
CKPT_SAME(at_fdcwd, AT_FDCWD);
CKPT_SAME(at_removedir, AT_REMOVEDIR);
CKPT_SAME(at_empty_path, AT_EMPTY_PATH);
CKPT_SAME(at_symlink_nofollow, AT_SYMLINK_NOFOLLOW);
CKPT_SAME(f_dupfd, F_DUPFD);
CKPT_SAME(f_getfd, F_GETFD);
CKPT_SAME(f_setfd, F_SETFD);
CKPT_SAME(f_getfl, F_GETFL);
CKPT_SAME(f_setfl, F_SETFL);
CKPT_SAME(f_setlk, F_SETLK);
CKPT_SAME(f_setown, F_SETOWN);
CKPT_SAME(f_getown, F_GETOWN);
CKPT_SAME(f_dupfd_cloexec, F_DUPFD_CLOEXEC);
CKPT_SAME(f_ofd_setlk, F_OFD_SETLK);
CKPT_SAME(f_getlease, F_GETLEASE);
CKPT_SAME(fd_cloexec, FD_CLOEXEC);
CKPT_SAME(lock_sh, LOCK_SH);
CKPT_SAME(lock_ex, LOCK_EX);
CKPT_SAME(lock_nb, LOCK_NB);
CKPT_SAME(lock_un, LOCK_UN);
CKPT_SAME(f_rdlck, F_RDLCK);
CKPT_SAME(f_wrlck, F_WRLCK);
CKPT_SAME(f_unlck, F_UNLCK);
CKPT_SAME(seek_set, SEEK_SET);
CKPT_SAME(seek_cur, SEEK_CUR);
CKPT_SAME(seek_end, SEEK_END);
CKPT_SAME(s_ifmt, S_IFMT);
CKPT_SAME(s_ifsock, S_IFSOCK);
CKPT_SAME(s_iflnk, S_IFLNK);
CKPT_SAME(s_ifreg, S_IFREG);
CKPT_SAME(s_ifblk, S_IFBLK);
CKPT_SAME(s_ifdir, S_IFDIR);
CKPT_SAME(s_ifchr, S_IFCHR);
CKPT_SAME(s_ififo, S_IFIFO);

// struct flock of a 64-bit kernel is its flock64.
CKPT_SAME_SIZE(flock64, struct flock);
CKPT_SAME_MEMBER(flock64, l_type, struct flock, l_type);
CKPT_SAME_MEMBER(flock64, l_whence, struct flock, l_whence);
CKPT_SAME_MEMBER(flock64, l_start, struct flock, l_start);
CKPT_SAME_MEMBER(flock64, l_len, struct flock, l_len);
CKPT_SAME_MEMBER(flock64, l_pid, struct flock, l_pid);

CKPT_SAME_SIZE(stat, struct stat);
CKPT_SAME_MEMBER(stat, st_dev, struct stat, st_dev);
CKPT_SAME_MEMBER(stat, st_ino, struct stat, st_ino);
CKPT_SAME_MEMBER(stat, st_nlink, struct stat, st_nlink);
CKPT_SAME_MEMBER(stat, st_mode, struct stat, st_mode);
CKPT_SAME_MEMBER(stat, st_uid, struct stat, st_uid);
CKPT_SAME_MEMBER(stat, st_gid, struct stat, st_gid);
CKPT_SAME_MEMBER(stat, pad0, struct stat, __pad0);
CKPT_SAME_MEMBER(stat, st_rdev, struct stat, st_rdev);
CKPT_SAME_MEMBER(stat, st_size, struct stat, st_size);
CKPT_SAME_MEMBER(stat, st_blksize, struct stat, st_blksize);
CKPT_SAME_MEMBER(stat, st_blocks, struct stat, st_blocks);
CKPT_SAME_MEMBER(stat, st_atime_sec, struct stat, st_atime);
CKPT_SAME_MEMBER(stat, st_atime_nsec, struct stat, st_atime_nsec);
CKPT_SAME_MEMBER(stat, st_mtime_sec, struct stat, st_mtime);
CKPT_SAME_MEMBER(stat, st_mtime_nsec, struct stat, st_mtime_nsec);
CKPT_SAME_MEMBER(stat, st_ctime_sec, struct stat, st_ctime);
CKPT_SAME_MEMBER(stat, st_ctime_nsec, struct stat, st_ctime_nsec);
CKPT_SAME_MEMBER(stat, unused, struct stat, __unused);

// mmap(2), mremap(2), madvise(2)
CKPT_SAME(prot_none, PROT_NONE);
CKPT_SAME(prot_read, PROT_READ);
CKPT_SAME(prot_write, PROT_WRITE);
CKPT_SAME(prot_exec, PROT_EXEC);
CKPT_SAME(map_shared, MAP_SHARED);
CKPT_SAME(map_private, MAP_PRIVATE);
CKPT_SAME(map_fixed, MAP_FIXED);
CKPT_SAME(map_anonymous, MAP_ANONYMOUS);
CKPT_SAME(map_growsdown, MAP_GROWSDOWN);
CKPT_SAME(map_noreserve, MAP_NORESERVE);
CKPT_SAME(map_populate, MAP_POPULATE);
CKPT_SAME(map_stack, MAP_STACK);
CKPT_SAME(map_fixed_noreplace, MAP_FIXED_NOREPLACE);
CKPT_SAME(mremap_maymove, MREMAP_MAYMOVE);
CKPT_SAME(mremap_fixed, MREMAP_FIXED);
CKPT_SAME(madv_normal, MADV_NORMAL);
CKPT_SAME(madv_random, MADV_RANDOM);
CKPT_SAME(madv_sequential, MADV_SEQUENTIAL);
CKPT_SAME(madv_dontneed, MADV_DONTNEED);
CKPT_SAME(madv_dontfork, MADV_DONTFORK);
CKPT_SAME(madv_mergeable, MADV_MERGEABLE);
CKPT_SAME(madv_hugepage, MADV_HUGEPAGE);
CKPT_SAME(madv_nohugepage, MADV_NOHUGEPAGE);
CKPT_SAME(madv_dontdump, MADV_DONTDUMP);
CKPT_SAME(madv_wipeonfork, MADV_WIPEONFORK);
CKPT_SAME(madv_populate_write, MADV_POPULATE_WRITE);
CKPT_SAME(madv_collapse, MADV_COLLAPSE);
#ifdef MADV_GUARD_INSTALL
CKPT_SAME(madv_guard_install, MADV_GUARD_INSTALL);
CKPT_SAME(madv_guard_remove, MADV_GUARD_REMOVE);
#endif
#ifdef MAP_DROPPABLE
CKPT_SAME(map_droppable, MAP_DROPPABLE);
#endif
CKPT_SAME(mcl_current, MCL_CURRENT);
CKPT_SAME(mcl_future, MCL_FUTURE);
CKPT_SAME(mcl_onfault, MCL_ONFAULT);
CKPT_SAME(mlock_onfault, MLOCK_ONFAULT);
CKPT_SAME(mfd_cloexec, MFD_CLOEXEC);

// signals
CKPT_SAME(sig_hup, SIGHUP);
CKPT_SAME(sig_trap, SIGTRAP);
CKPT_SAME(sig_kill, SIGKILL);
CKPT_SAME(sig_usr1, SIGUSR1);
CKPT_SAME(sig_segv, SIGSEGV);
CKPT_SAME(sig_usr2, SIGUSR2);
CKPT_SAME(sig_pipe, SIGPIPE);
CKPT_SAME(sig_alrm, SIGALRM);
CKPT_SAME(sig_chld, SIGCHLD);
CKPT_SAME(sig_stop, SIGSTOP);
CKPT_SAME(sig_tstp, SIGTSTP);
CKPT_SAME(sig_xfsz, SIGXFSZ);
CKPT_SAME(sa_nocldstop, SA_NOCLDSTOP);
CKPT_SAME(sa_siginfo, SA_SIGINFO);
CKPT_SAME(sa_restorer, SA_RESTORER);
CKPT_SAME(sa_onstack, SA_ONSTACK);
CKPT_SAME(sa_restart, SA_RESTART);
CKPT_SAME(sa_nodefer, SA_NODEFER);
CKPT_SAME(sig_block, SIG_BLOCK);
CKPT_SAME(sig_unblock, SIG_UNBLOCK);
CKPT_SAME(sig_setmask, SIG_SETMASK);

// The kernel's sigset_t has 8 bytes; the header shows userland's idea of it, unsigned long.
static_assert(sizeof(sigset_t) == 8);
CKPT_SAME_SIZE(kernel_sigaction, struct sigaction);
CKPT_SAME_MEMBER(kernel_sigaction, handler, struct sigaction, sa_handler);
CKPT_SAME_MEMBER(kernel_sigaction, flags, struct sigaction, sa_flags);
CKPT_SAME_MEMBER(kernel_sigaction, restorer, struct sigaction, sa_restorer);
CKPT_SAME_MEMBER(kernel_sigaction, mask, struct sigaction, sa_mask);

CKPT_SAME_SIZE(siginfo, siginfo_t);
CKPT_SAME_MEMBER(siginfo, si_signo, siginfo_t, si_signo);
CKPT_SAME_MEMBER(siginfo, si_errno, siginfo_t, si_errno);
CKPT_SAME_MEMBER(siginfo, si_code, siginfo_t, si_code);
static_assert(__builtin_offsetof(abi::siginfo, fields) == __builtin_offsetof(siginfo_t, _sifields));

CKPT_SAME_SIZE(stack, stack_t);
CKPT_SAME_MEMBER(stack, ss_sp, stack_t, ss_sp);
CKPT_SAME_MEMBER(stack, ss_flags, stack_t, ss_flags);
CKPT_SAME_MEMBER(stack, ss_size, stack_t, ss_size);

CKPT_SAME_SIZE(sigcontext, struct sigcontext_64);
CKPT_SAME_MEMBER(sigcontext, r8, struct sigcontext_64, r8);
CKPT_SAME_MEMBER(sigcontext, r15, struct sigcontext_64, r15);
CKPT_SAME_MEMBER(sigcontext, rdi, struct sigcontext_64, di);
CKPT_SAME_MEMBER(sigcontext, rsi, struct sigcontext_64, si);
CKPT_SAME_MEMBER(sigcontext, rbp, struct sigcontext_64, bp);
CKPT_SAME_MEMBER(sigcontext, rbx, struct sigcontext_64, bx);
CKPT_SAME_MEMBER(sigcontext, rdx, struct sigcontext_64, dx);
CKPT_SAME_MEMBER(sigcontext, rax, struct sigcontext_64, ax);
CKPT_SAME_MEMBER(sigcontext, rcx, struct sigcontext_64, cx);
CKPT_SAME_MEMBER(sigcontext, rsp, struct sigcontext_64, sp);
CKPT_SAME_MEMBER(sigcontext, rip, struct sigcontext_64, ip);
CKPT_SAME_MEMBER(sigcontext, eflags, struct sigcontext_64, flags);
CKPT_SAME_MEMBER(sigcontext, cs, struct sigcontext_64, cs);
CKPT_SAME_MEMBER(sigcontext, gs, struct sigcontext_64, gs);
CKPT_SAME_MEMBER(sigcontext, fs, struct sigcontext_64, fs);
CKPT_SAME_MEMBER(sigcontext, ss, struct sigcontext_64, ss);
CKPT_SAME_MEMBER(sigcontext, err, struct sigcontext_64, err);
CKPT_SAME_MEMBER(sigcontext, trapno, struct sigcontext_64, trapno);
CKPT_SAME_MEMBER(sigcontext, oldmask, struct sigcontext_64, oldmask);
CKPT_SAME_MEMBER(sigcontext, cr2, struct sigcontext_64, cr2);
CKPT_SAME_MEMBER(sigcontext, fpstate, struct sigcontext_64, fpstate);
CKPT_SAME_MEMBER(sigcontext, reserved, struct sigcontext_64, reserved1);

CKPT_SAME_SIZE(ucontext, struct ucontext);
CKPT_SAME_MEMBER(ucontext, uc_flags, struct ucontext, uc_flags);
CKPT_SAME_MEMBER(ucontext, uc_link, struct ucontext, uc_link);
CKPT_SAME_MEMBER(ucontext, uc_stack, struct ucontext, uc_stack);
CKPT_SAME_MEMBER(ucontext, uc_mcontext, struct ucontext, uc_mcontext);
CKPT_SAME_MEMBER(ucontext, uc_sigmask, struct ucontext, uc_sigmask);
CKPT_SAME(uc_fp_xstate, UC_FP_XSTATE);
CKPT_SAME(uc_sigcontext_ss, UC_SIGCONTEXT_SS);
CKPT_SAME(uc_strict_restore_ss, UC_STRICT_RESTORE_SS);

CKPT_SAME_SIZE(fpx_sw_bytes, struct _fpx_sw_bytes);
CKPT_SAME_MEMBER(fpx_sw_bytes, magic1, struct _fpx_sw_bytes, magic1);
CKPT_SAME_MEMBER(fpx_sw_bytes, extended_size, struct _fpx_sw_bytes, extended_size);
CKPT_SAME_MEMBER(fpx_sw_bytes, xfeatures, struct _fpx_sw_bytes, xfeatures);
CKPT_SAME_MEMBER(fpx_sw_bytes, xstate_size, struct _fpx_sw_bytes, xstate_size);
CKPT_SAME_MEMBER(fpx_sw_bytes, padding, struct _fpx_sw_bytes, padding);
CKPT_SAME(fp_xstate_magic1, FP_XSTATE_MAGIC1);
CKPT_SAME(fp_xstate_magic2, FP_XSTATE_MAGIC2);
CKPT_SAME(fpx_sw_offset, __builtin_offsetof(struct _fpstate_64, sw_reserved));
CKPT_SAME(fxsave_size, sizeof(struct _fpstate_64));
CKPT_SAME(xsave_header_size, sizeof(struct _header));

// time
CKPT_SAME_SIZE(timespec, struct __kernel_timespec);
CKPT_SAME_MEMBER(timespec, tv_sec, struct __kernel_timespec, tv_sec);
CKPT_SAME_MEMBER(timespec, tv_nsec, struct __kernel_timespec, tv_nsec);
CKPT_SAME_SIZE(timeval, struct timeval);
CKPT_SAME_MEMBER(timeval, tv_sec, struct timeval, tv_sec);
CKPT_SAME_MEMBER(timeval, tv_usec, struct timeval, tv_usec);
CKPT_SAME_SIZE(itimerval, struct itimerval);
CKPT_SAME_MEMBER(itimerval, it_interval, struct itimerval, it_interval);
CKPT_SAME_MEMBER(itimerval, it_value, struct itimerval, it_value);
CKPT_SAME(clock_realtime, CLOCK_REALTIME);
CKPT_SAME(clock_monotonic, CLOCK_MONOTONIC);
CKPT_SAME(clock_boottime, CLOCK_BOOTTIME);
CKPT_SAME(itimer_real, ITIMER_REAL);
CKPT_SAME(itimer_virtual, ITIMER_VIRTUAL);
CKPT_SAME(itimer_prof, ITIMER_PROF);

// clone(2), wait(2), futex(2)
CKPT_SAME(clone_vm, CLONE_VM);
CKPT_SAME(clone_fs, CLONE_FS);
CKPT_SAME(clone_files, CLONE_FILES);
CKPT_SAME(clone_sighand, CLONE_SIGHAND);
CKPT_SAME(clone_pidfd, CLONE_PIDFD);
CKPT_SAME(clone_vfork, CLONE_VFORK);
CKPT_SAME(clone_parent, CLONE_PARENT);
CKPT_SAME(clone_thread, CLONE_THREAD);
CKPT_SAME(clone_sysvsem, CLONE_SYSVSEM);
CKPT_SAME(clone_settls, CLONE_SETTLS);
CKPT_SAME(clone_parent_settid, CLONE_PARENT_SETTID);
CKPT_SAME(clone_child_cleartid, CLONE_CHILD_CLEARTID);
CKPT_SAME(clone_untraced, CLONE_UNTRACED);
CKPT_SAME(clone_child_settid, CLONE_CHILD_SETTID);
CKPT_SAME_SIZE(clone_args, struct clone_args);
CKPT_SAME_MEMBER(clone_args, stack, struct clone_args, stack);
CKPT_SAME_MEMBER(clone_args, set_tid_size, struct clone_args, set_tid_size);
CKPT_SAME(w_nohang, WNOHANG);
CKPT_SAME(w_stopped, WSTOPPED);
CKPT_SAME(w_exited, WEXITED);
CKPT_SAME(w_continued, WCONTINUED);
CKPT_SAME(w_nowait, WNOWAIT);
CKPT_SAME(w_all, __WALL);
CKPT_SAME(p_all, P_ALL);
CKPT_SAME(p_pid, P_PID);
CKPT_SAME(futex_wait, FUTEX_WAIT);
CKPT_SAME(futex_wake, FUTEX_WAKE);

// ptrace(2)
CKPT_SAME(ptrace_cont, PTRACE_CONT);
CKPT_SAME(ptrace_detach, PTRACE_DETACH);
CKPT_SAME(ptrace_seize, PTRACE_SEIZE);
CKPT_SAME(ptrace_interrupt, PTRACE_INTERRUPT);
CKPT_SAME(ptrace_listen, PTRACE_LISTEN);
CKPT_SAME(ptrace_peeksiginfo, PTRACE_PEEKSIGINFO);
CKPT_SAME(ptrace_getsigmask, PTRACE_GETSIGMASK);
CKPT_SAME(ptrace_getregset, PTRACE_GETREGSET);
CKPT_SAME(ptrace_setregset, PTRACE_SETREGSET);
CKPT_SAME(ptrace_setsigmask, PTRACE_SETSIGMASK);
CKPT_SAME(ptrace_get_rseq_configuration, PTRACE_GET_RSEQ_CONFIGURATION);
CKPT_SAME(ptrace_event_stop, PTRACE_EVENT_STOP);
CKPT_SAME(peeksiginfo_shared, PTRACE_PEEKSIGINFO_SHARED);
CKPT_SAME_SIZE(peeksiginfo_args, struct ptrace_peeksiginfo_args);
CKPT_SAME_MEMBER(peeksiginfo_args, off, struct ptrace_peeksiginfo_args, off);
CKPT_SAME_MEMBER(peeksiginfo_args, flags, struct ptrace_peeksiginfo_args, flags);
CKPT_SAME_MEMBER(peeksiginfo_args, nr, struct ptrace_peeksiginfo_args, nr);
CKPT_SAME_SIZE(rseq_configuration, struct ptrace_rseq_configuration);
CKPT_SAME_MEMBER(rseq_configuration, rseq_abi_pointer, struct ptrace_rseq_configuration,
                 rseq_abi_pointer);
CKPT_SAME_MEMBER(rseq_configuration, rseq_abi_size, struct ptrace_rseq_configuration,
                 rseq_abi_size);
CKPT_SAME_MEMBER(rseq_configuration, signature, struct ptrace_rseq_configuration, signature);
CKPT_SAME_MEMBER(rseq_configuration, flags, struct ptrace_rseq_configuration, flags);
CKPT_SAME_MEMBER(rseq_configuration, pad, struct ptrace_rseq_configuration, pad);
CKPT_SAME(rseq_flag_unregister, RSEQ_FLAG_UNREGISTER);

// prctl(2), arch_prctl(2)
CKPT_SAME(pr_get_dumpable, PR_GET_DUMPABLE);
CKPT_SAME(pr_set_dumpable, PR_SET_DUMPABLE);
CKPT_SAME(pr_set_name, PR_SET_NAME);
CKPT_SAME(pr_get_name, PR_GET_NAME);
CKPT_SAME(pr_set_mm, PR_SET_MM);
CKPT_SAME(pr_set_mm_map, PR_SET_MM_MAP);
CKPT_SAME(pr_get_tid_address, PR_GET_TID_ADDRESS);
CKPT_SAME(pr_set_ptracer, PR_SET_PTRACER);
CKPT_SAME(pr_set_pdeathsig, PR_SET_PDEATHSIG);
CKPT_SAME(pr_get_pdeathsig, PR_GET_PDEATHSIG);
CKPT_SAME(pr_set_keepcaps, PR_SET_KEEPCAPS);
CKPT_SAME(pr_get_tsc, PR_GET_TSC);
CKPT_SAME(pr_set_tsc, PR_SET_TSC);
CKPT_SAME(pr_get_securebits, PR_GET_SECUREBITS);
CKPT_SAME(pr_set_securebits, PR_SET_SECUREBITS);
CKPT_SAME(pr_set_timerslack, PR_SET_TIMERSLACK);
CKPT_SAME(pr_get_timerslack, PR_GET_TIMERSLACK);
CKPT_SAME(pr_mce_kill, PR_MCE_KILL);
CKPT_SAME(pr_mce_kill_get, PR_MCE_KILL_GET);
CKPT_SAME(pr_mce_kill_set, PR_MCE_KILL_SET);
CKPT_SAME(pr_set_child_subreaper, PR_SET_CHILD_SUBREAPER);
CKPT_SAME(pr_get_child_subreaper, PR_GET_CHILD_SUBREAPER);
CKPT_SAME(pr_set_no_new_privs, PR_SET_NO_NEW_PRIVS);
CKPT_SAME(pr_get_no_new_privs, PR_GET_NO_NEW_PRIVS);
CKPT_SAME(pr_set_thp_disable, PR_SET_THP_DISABLE);
CKPT_SAME(pr_get_thp_disable, PR_GET_THP_DISABLE);
CKPT_SAME(pr_get_speculation_ctrl, PR_GET_SPECULATION_CTRL);
CKPT_SAME(pr_set_speculation_ctrl, PR_SET_SPECULATION_CTRL);
CKPT_SAME(pr_set_io_flusher, PR_SET_IO_FLUSHER);
CKPT_SAME(pr_get_io_flusher, PR_GET_IO_FLUSHER);
CKPT_SAME(pr_spec_prctl, PR_SPEC_PRCTL);
CKPT_SAME(pr_set_vma, PR_SET_VMA);
CKPT_SAME(pr_set_vma_anon_name, PR_SET_VMA_ANON_NAME);
#ifdef PR_SET_MDWE
CKPT_SAME(pr_set_mdwe, PR_SET_MDWE);
CKPT_SAME(pr_get_mdwe, PR_GET_MDWE);
#endif
#ifdef PR_SET_MEMORY_MERGE
CKPT_SAME(pr_set_memory_merge, PR_SET_MEMORY_MERGE);
CKPT_SAME(pr_get_memory_merge, PR_GET_MEMORY_MERGE);
#endif
#ifdef PR_TIMER_CREATE_RESTORE_IDS
CKPT_SAME(pr_timer_create_restore_ids, PR_TIMER_CREATE_RESTORE_IDS);
CKPT_SAME(pr_timer_ids_off, PR_TIMER_CREATE_RESTORE_IDS_OFF);
CKPT_SAME(pr_timer_ids_on, PR_TIMER_CREATE_RESTORE_IDS_ON);
#endif

// sched_setattr(2), ioprio_set(2), membarrier(2), timer_create(2)
CKPT_SAME(sched_attr_size_0, SCHED_ATTR_SIZE_VER0);
CKPT_SAME_SIZE(sched_attr, struct sched_attr);
CKPT_SAME_MEMBER(sched_attr, nice, struct sched_attr, sched_nice);
CKPT_SAME_MEMBER(sched_attr, period, struct sched_attr, sched_period);
CKPT_SAME_MEMBER(sched_attr, util_max, struct sched_attr, sched_util_max);
CKPT_SAME(sched_flag_reset_on_fork, SCHED_FLAG_RESET_ON_FORK);
CKPT_SAME(sched_flag_util_clamp, SCHED_FLAG_UTIL_CLAMP);
CKPT_SAME(ioprio_who_process, IOPRIO_WHO_PROCESS);
CKPT_SAME(membarrier_query, MEMBARRIER_CMD_QUERY);
CKPT_SAME(membarrier_private_expedited, MEMBARRIER_CMD_PRIVATE_EXPEDITED);
CKPT_SAME(membarrier_private_expedited_sync_core, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
CKPT_SAME(membarrier_private_expedited_rseq, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ);
CKPT_SAME(membarrier_registrations, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
                                        MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                                        MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE |
                                        MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ);
CKPT_SAME(clock_process_cputime, CLOCK_PROCESS_CPUTIME_ID);
CKPT_SAME(clock_thread_cputime, CLOCK_THREAD_CPUTIME_ID);
CKPT_SAME(timer_abstime, TIMER_ABSTIME);
CKPT_SAME(sigev_signal, SIGEV_SIGNAL);
CKPT_SAME(sigev_none, SIGEV_NONE);
CKPT_SAME(sigev_thread_id, SIGEV_THREAD_ID);
CKPT_SAME(si_timer, SI_TIMER);
CKPT_SAME(si_queue, SI_QUEUE);
CKPT_SAME(si_user, SI_USER);
CKPT_SAME_SIZE(sigevent, struct sigevent);
CKPT_SAME_MEMBER(sigevent, sigev_notify, struct sigevent, sigev_notify);
static_assert(__builtin_offsetof(abi::sigevent, sigev_target) ==
              __builtin_offsetof(struct sigevent, _sigev_un._tid));
CKPT_SAME(arch_set_gs, ARCH_SET_GS);
CKPT_SAME(arch_set_fs, ARCH_SET_FS);
CKPT_SAME(arch_get_fs, ARCH_GET_FS);
CKPT_SAME(arch_get_gs, ARCH_GET_GS);
CKPT_SAME(arch_get_xcomp_perm, ARCH_GET_XCOMP_PERM);
CKPT_SAME(arch_req_xcomp_perm, ARCH_REQ_XCOMP_PERM);
#ifdef ARCH_SHSTK_STATUS  // since 6.6
CKPT_SAME(arch_shstk_status, ARCH_SHSTK_STATUS);
#endif

CKPT_SAME_SIZE(prctl_mm_map, struct prctl_mm_map);
CKPT_SAME_MEMBER(prctl_mm_map, start_code, struct prctl_mm_map, start_code);
CKPT_SAME_MEMBER(prctl_mm_map, end_code, struct prctl_mm_map, end_code);
CKPT_SAME_MEMBER(prctl_mm_map, start_data, struct prctl_mm_map, start_data);
CKPT_SAME_MEMBER(prctl_mm_map, end_data, struct prctl_mm_map, end_data);
CKPT_SAME_MEMBER(prctl_mm_map, start_brk, struct prctl_mm_map, start_brk);
CKPT_SAME_MEMBER(prctl_mm_map, brk, struct prctl_mm_map, brk);
CKPT_SAME_MEMBER(prctl_mm_map, start_stack, struct prctl_mm_map, start_stack);
CKPT_SAME_MEMBER(prctl_mm_map, arg_start, struct prctl_mm_map, arg_start);
CKPT_SAME_MEMBER(prctl_mm_map, arg_end, struct prctl_mm_map, arg_end);
CKPT_SAME_MEMBER(prctl_mm_map, env_start, struct prctl_mm_map, env_start);
CKPT_SAME_MEMBER(prctl_mm_map, env_end, struct prctl_mm_map, env_end);
CKPT_SAME_MEMBER(prctl_mm_map, auxv, struct prctl_mm_map, auxv);
CKPT_SAME_MEMBER(prctl_mm_map, auxv_size, struct prctl_mm_map, auxv_size);
CKPT_SAME_MEMBER(prctl_mm_map, exe_fd, struct prctl_mm_map, exe_fd);

// prlimit(2)
CKPT_SAME_SIZE(rlimit64, struct rlimit64);
CKPT_SAME_MEMBER(rlimit64, soft, struct rlimit64, rlim_cur);
CKPT_SAME_MEMBER(rlimit64, hard, struct rlimit64, rlim_max);
CKPT_SAME(rlimit_data, RLIMIT_DATA);
CKPT_SAME(rlimit_stack, RLIMIT_STACK);
CKPT_SAME(rlimit_count, RLIM_NLIMITS);
CKPT_SAME(rlimit_infinity, RLIM64_INFINITY);

// poll(2), uname(2), readv(2)
CKPT_SAME_SIZE(pollfd, struct pollfd);
CKPT_SAME_MEMBER(pollfd, fd, struct pollfd, fd);
CKPT_SAME_MEMBER(pollfd, events, struct pollfd, events);
CKPT_SAME_MEMBER(pollfd, revents, struct pollfd, revents);
CKPT_SAME(poll_in, POLLIN);
CKPT_SAME(poll_out, POLLOUT);
CKPT_SAME(poll_err, POLLERR);
CKPT_SAME(poll_hup, POLLHUP);
CKPT_SAME_SIZE(utsname, struct new_utsname);
CKPT_SAME_MEMBER(utsname, sysname, struct new_utsname, sysname);
CKPT_SAME_MEMBER(utsname, nodename, struct new_utsname, nodename);
CKPT_SAME_MEMBER(utsname, release, struct new_utsname, release);
CKPT_SAME_MEMBER(utsname, version, struct new_utsname, version);
CKPT_SAME_MEMBER(utsname, machine, struct new_utsname, machine);
CKPT_SAME_MEMBER(utsname, domainname, struct new_utsname, domainname);
CKPT_SAME_SIZE(iovec, struct iovec);
CKPT_SAME_MEMBER(iovec, base, struct iovec, iov_base);
CKPT_SAME_MEMBER(iovec, length, struct iovec, iov_len);

CKPT_SAME(kcmp_file, KCMP_FILE);
CKPT_SAME(kcmp_vm, KCMP_VM);
CKPT_SAME(kcmp_files, KCMP_FILES);
CKPT_SAME(kcmp_fs, KCMP_FS);
CKPT_SAME(kcmp_epoll_tfd, KCMP_EPOLL_TFD);
CKPT_SAME_SIZE(kcmp_epoll_slot, struct kcmp_epoll_slot);
CKPT_SAME_MEMBER(kcmp_epoll_slot, efd, struct kcmp_epoll_slot, efd);
CKPT_SAME_MEMBER(kcmp_epoll_slot, tfd, struct kcmp_epoll_slot, tfd);
CKPT_SAME_MEMBER(kcmp_epoll_slot, toff, struct kcmp_epoll_slot, toff);
CKPT_SAME(rlimit_nofile, RLIMIT_NOFILE);
CKPT_SAME(rlimit_sigpending, RLIMIT_SIGPENDING);
CKPT_SAME_SIZE(epoll_event, struct epoll_event);
CKPT_SAME_MEMBER(epoll_event, events, struct epoll_event, events);
CKPT_SAME_MEMBER(epoll_event, data, struct epoll_event, data);
CKPT_SAME(epoll_ctl_add, EPOLL_CTL_ADD);
CKPT_SAME(epoll_ctl_del, EPOLL_CTL_DEL);
CKPT_SAME(epoll_ctl_mod, EPOLL_CTL_MOD);
CKPT_SAME(epoll_exclusive, EPOLLEXCLUSIVE);
CKPT_SAME(epoll_wakeup, EPOLLWAKEUP);
CKPT_SAME(epoll_oneshot, EPOLLONESHOT);
CKPT_SAME(epoll_et, EPOLLET);
CKPT_SAME_SIZE(nlmsghdr, struct nlmsghdr);
CKPT_SAME_MEMBER(nlmsghdr, nlmsg_type, struct nlmsghdr, nlmsg_type);
CKPT_SAME_MEMBER(nlmsghdr, nlmsg_flags, struct nlmsghdr, nlmsg_flags);
CKPT_SAME(nlmsg_error, NLMSG_ERROR);
CKPT_SAME(nlmsg_done, NLMSG_DONE);
CKPT_SAME(nlm_f_request, NLM_F_REQUEST);
CKPT_SAME(nlm_f_dump, NLM_F_DUMP);
CKPT_SAME(netlink_sock_diag, NETLINK_SOCK_DIAG);
CKPT_SAME(sock_diag_by_family, SOCK_DIAG_BY_FAMILY);
CKPT_SAME_SIZE(unix_diag_req, struct unix_diag_req);
CKPT_SAME_MEMBER(unix_diag_req, states, struct unix_diag_req, udiag_states);
CKPT_SAME_MEMBER(unix_diag_req, show, struct unix_diag_req, udiag_show);
CKPT_SAME_SIZE(unix_diag_msg, struct unix_diag_msg);
CKPT_SAME_MEMBER(unix_diag_msg, ino, struct unix_diag_msg, udiag_ino);
CKPT_SAME_MEMBER(unix_diag_msg, state, struct unix_diag_msg, udiag_state);
CKPT_SAME(udiag_show_name, UDIAG_SHOW_NAME);
CKPT_SAME(udiag_show_peer, UDIAG_SHOW_PEER);
CKPT_SAME(unix_diag_name, UNIX_DIAG_NAME);
CKPT_SAME(unix_diag_peer, UNIX_DIAG_PEER);
CKPT_SAME(unix_diag_shutdown, UNIX_DIAG_SHUTDOWN);
CKPT_SAME(tfd_ioc_set_ticks, _IOW('T', 0, __u64));
CKPT_SAME(fionread, FIONREAD);
CKPT_SAME(tiocoutq, TIOCOUTQ);
CKPT_SAME(clock_realtime_alarm, CLOCK_REALTIME_ALARM);
CKPT_SAME(clock_boottime_alarm, CLOCK_BOOTTIME_ALARM);
CKPT_SAME(so_type, SO_TYPE);
CKPT_SAME(so_sndbuf, SO_SNDBUF);
CKPT_SAME(so_rcvbuf, SO_RCVBUF);
CKPT_SAME(so_passcred, SO_PASSCRED);
CKPT_SAME(so_rcvlowat, SO_RCVLOWAT);
CKPT_SAME(so_rcvtimeo, SO_RCVTIMEO_OLD);
CKPT_SAME(so_sndtimeo, SO_SNDTIMEO_OLD);
CKPT_SAME(so_sndbufforce, SO_SNDBUFFORCE);
CKPT_SAME(so_rcvbufforce, SO_RCVBUFFORCE);
CKPT_SAME(so_domain, SO_DOMAIN);
CKPT_SAME(so_peek_off, SO_PEEK_OFF);
CKPT_SAME(addr_no_randomize, ADDR_NO_RANDOMIZE);

// auxiliary vector
CKPT_SAME(at_null, AT_NULL);
CKPT_SAME(at_phdr, AT_PHDR);
CKPT_SAME(at_phnum, AT_PHNUM);
CKPT_SAME(at_base, AT_BASE);
CKPT_SAME(at_entry, AT_ENTRY);
CKPT_SAME(at_uid, AT_UID);
CKPT_SAME(at_secure, AT_SECURE);
CKPT_SAME(at_random, AT_RANDOM);
CKPT_SAME(at_execfn, AT_EXECFN);
CKPT_SAME(at_sysinfo_ehdr, AT_SYSINFO_EHDR);

// PAGEMAP_SCAN, since 6.7. With older headers the ioctl's number still holds the size to account.
#ifdef PAGEMAP_SCAN
CKPT_SAME(pagemap_scan_ioctl, PAGEMAP_SCAN);
CKPT_SAME_SIZE(page_region, struct page_region);
CKPT_SAME_MEMBER(page_region, start, struct page_region, start);
CKPT_SAME_MEMBER(page_region, end, struct page_region, end);
CKPT_SAME_MEMBER(page_region, categories, struct page_region, categories);
CKPT_SAME_SIZE(pm_scan_arg, struct pm_scan_arg);
CKPT_SAME_MEMBER(pm_scan_arg, size, struct pm_scan_arg, size);
CKPT_SAME_MEMBER(pm_scan_arg, flags, struct pm_scan_arg, flags);
CKPT_SAME_MEMBER(pm_scan_arg, start, struct pm_scan_arg, start);
CKPT_SAME_MEMBER(pm_scan_arg, end, struct pm_scan_arg, end);
CKPT_SAME_MEMBER(pm_scan_arg, walk_end, struct pm_scan_arg, walk_end);
CKPT_SAME_MEMBER(pm_scan_arg, vec, struct pm_scan_arg, vec);
CKPT_SAME_MEMBER(pm_scan_arg, vec_len, struct pm_scan_arg, vec_len);
CKPT_SAME_MEMBER(pm_scan_arg, max_pages, struct pm_scan_arg, max_pages);
CKPT_SAME_MEMBER(pm_scan_arg, category_inverted, struct pm_scan_arg, category_inverted);
CKPT_SAME_MEMBER(pm_scan_arg, category_mask, struct pm_scan_arg, category_mask);
CKPT_SAME_MEMBER(pm_scan_arg, category_anyof_mask, struct pm_scan_arg, category_anyof_mask);
CKPT_SAME_MEMBER(pm_scan_arg, return_mask, struct pm_scan_arg, return_mask);
CKPT_SAME(page_is_file, PAGE_IS_FILE);
CKPT_SAME(page_is_present, PAGE_IS_PRESENT);
CKPT_SAME(page_is_swapped, PAGE_IS_SWAPPED);
CKPT_SAME(page_is_pfnzero, PAGE_IS_PFNZERO);
CKPT_SAME(page_is_huge, PAGE_IS_HUGE);
#endif
CKPT_SAME(pagemap_scan_ioctl, _IOWR('f', 16, abi::pm_scan_arg));

CKPT_SAME(em_x86_64, EM_X86_64);

}  // namespace
