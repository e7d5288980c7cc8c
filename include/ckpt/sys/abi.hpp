// SPDX-License-Identifier: MIT
//
// The kernel's structures and constants, declared once. The uapi headers cannot be included here
// because they clash with libc's in hosted programs; tests/unit/abi_test.cpp and
// tests/unit/abi_kernel_check.cpp hold every line below against the real headers.
#pragma once

#include "ckpt/base/types.hpp"

namespace ckpt::sys::abi {

// open(2), fcntl(2)
inline constexpr int o_rdonly = 0, o_wronly = 1, o_rdwr = 2, o_accmode = 3;
inline constexpr int o_creat = 0100, o_excl = 0200, o_noctty = 0400, o_trunc = 01000,
                     o_append = 02000, o_nonblock = 04000, o_async = 020000, o_direct = 040000,
                     o_largefile = 0100000, o_directory = 0200000, o_nofollow = 0400000,
                     o_cloexec = 02000000, o_path = 010000000, o_tmpfile = 020200000;
inline constexpr int at_fdcwd = -100, at_removedir = 0x200, at_empty_path = 0x1000,
                     at_symlink_nofollow = 0x100;
inline constexpr int f_dupfd = 0, f_getfd = 1, f_setfd = 2, f_getfl = 3, f_setfl = 4, f_setlk = 6,
                     f_setown = 8, f_getown = 9, f_dupfd_cloexec = 1030, f_ofd_setlk = 37,
                     f_getlease = 1025, fd_cloexec = 1;
inline constexpr int lock_sh = 1, lock_ex = 2, lock_nb = 4, lock_un = 8;
inline constexpr short f_rdlck = 0, f_wrlck = 1, f_unlck = 2;
inline constexpr int seek_set = 0, seek_cur = 1, seek_end = 2, seek_data = 3, seek_hole = 4;
inline constexpr u32 s_ifmt = 0170000, s_ifsock = 0140000, s_iflnk = 0120000, s_ifreg = 0100000,
                     s_ifblk = 0060000, s_ifdir = 0040000, s_ifchr = 0020000, s_ififo = 0010000;

struct flock64 {
  short l_type;
  short l_whence;
  i64 l_start;
  i64 l_len;
  i32 l_pid;
};

// newfstatat(2): struct stat of x86-64 (asm/stat.h)
struct stat {
  u64 st_dev, st_ino, st_nlink;
  u32 st_mode, st_uid, st_gid, pad0;
  u64 st_rdev;
  i64 st_size, st_blksize, st_blocks;
  u64 st_atime_sec, st_atime_nsec, st_mtime_sec, st_mtime_nsec, st_ctime_sec, st_ctime_nsec;
  i64 unused[3];
};

struct dirent64 {  // getdents64(2); d_name follows
  u64 d_ino;
  i64 d_off;
  u16 d_reclen;
  u8 d_type;
};
inline constexpr std::size_t dirent64_name_offset = 19;

// mmap(2), mremap(2), madvise(2)
inline constexpr int prot_none = 0, prot_read = 1, prot_write = 2, prot_exec = 4;
inline constexpr int map_shared = 1, map_private = 2, map_fixed = 0x10, map_anonymous = 0x20,
                     map_growsdown = 0x100, map_noreserve = 0x4000, map_populate = 0x8000,
                     map_stack = 0x20000, map_fixed_noreplace = 0x100000;
inline constexpr int mremap_maymove = 1, mremap_fixed = 2;
inline constexpr int madv_normal = 0, madv_random = 1, madv_sequential = 2, madv_dontneed = 4,
                     madv_dontfork = 10, madv_mergeable = 12, madv_hugepage = 14,
                     madv_nohugepage = 15, madv_dontdump = 16, madv_wipeonfork = 18,
                     madv_populate_write = 23, madv_collapse = 25, madv_guard_install = 102,
                     madv_guard_remove = 103;
inline constexpr int map_droppable = 8;  // since 6.11, in place of MAP_PRIVATE
inline constexpr int mcl_current = 1, mcl_future = 2, mcl_onfault = 4, mlock_onfault = 1;
inline constexpr u32 mfd_cloexec = 1;

// signals (asm/signal.h, asm-generic/siginfo.h)
inline constexpr int signal_count = 64;
inline constexpr int sig_hup = 1, sig_trap = 5, sig_kill = 9, sig_usr1 = 10, sig_segv = 11,
                     sig_usr2 = 12, sig_pipe = 13, sig_alrm = 14, sig_chld = 17, sig_cont = 18,
                     sig_stop = 19, sig_tstp = 20, sig_ttin = 21, sig_ttou = 22, sig_xfsz = 25,
                     sig_vtalrm = 26, sig_prof = 27;
inline constexpr i32 si_kernel = 0x80;
inline constexpr u64 sa_nocldstop = 1, sa_siginfo = 4, sa_restorer = 0x04000000,
                     sa_onstack = 0x08000000, sa_restart = 0x10000000, sa_nodefer = 0x40000000;
inline constexpr u64 sig_dfl = 0, sig_ign = 1;
inline constexpr int sig_block = 0, sig_unblock = 1, sig_setmask = 2;
inline constexpr i32 ss_onstack = 1, ss_disable = 2;

struct kernel_sigaction {
  u64 handler;
  u64 flags;
  u64 restorer;
  u64 mask;
};

struct siginfo {
  i32 si_signo, si_errno, si_code, pad;
  u8 fields[112];
};
static_assert(sizeof(siginfo) == 128);

struct stack {
  u64 ss_sp;
  i32 ss_flags;
  i32 pad;
  u64 ss_size;
};

struct sigcontext {  // asm/sigcontext.h, struct sigcontext_64
  u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  u16 cs, gs, fs, ss;
  u64 err, trapno, oldmask, cr2;
  u64 fpstate;
  u64 reserved[8];
};

struct ucontext {  // asm-generic/ucontext.h
  u64 uc_flags;
  u64 uc_link;
  stack uc_stack;
  sigcontext uc_mcontext;
  u64 uc_sigmask;
};
inline constexpr u64 uc_fp_xstate = 1, uc_sigcontext_ss = 2, uc_strict_restore_ss = 4;

struct fpx_sw_bytes {  // at offset 464 of the FXSAVE area in a signal frame
  u32 magic1;
  u32 extended_size;
  u64 xfeatures;
  u32 xstate_size;
  u32 padding[7];
};
inline constexpr u32 fp_xstate_magic1 = 0x46505853, fp_xstate_magic2 = 0x46505845;
inline constexpr std::size_t fpx_sw_offset = 464, fxsave_size = 512, xsave_header_size = 64;

// time
struct timespec {
  i64 tv_sec, tv_nsec;
};
struct timeval {
  i64 tv_sec, tv_usec;
};
struct itimerval {
  timeval it_interval, it_value;
};
inline constexpr int clock_realtime = 0, clock_monotonic = 1, clock_process_cputime = 2,
                     clock_thread_cputime = 3, clock_monotonic_coarse = 6, clock_boottime = 7;
inline constexpr int itimer_real = 0, itimer_virtual = 1, itimer_prof = 2;

// timer_create(2), sigevent(7)
struct itimerspec {
  timespec it_interval, it_value;
};
struct sigevent {
  u64 sigev_value;
  i32 sigev_signo, sigev_notify;
  i32 sigev_target;
  i32 rest[11];
};
static_assert(sizeof(sigevent) == 64);
inline constexpr int sigev_signal = 0, sigev_none = 1, sigev_thread_id = 4, timer_abstime = 1;
inline constexpr i32 si_tkill = -6, si_timer = -2, si_queue = -1, si_user = 0;

// clone(2), wait(2), futex(2)
inline constexpr u64 clone_vm = 0x100, clone_fs = 0x200, clone_files = 0x400,
                     clone_sighand = 0x800, clone_pidfd = 0x1000, clone_vfork = 0x4000,
                     clone_parent = 0x8000, clone_thread = 0x10000, clone_sysvsem = 0x40000,
                     clone_settls = 0x80000, clone_parent_settid = 0x100000,
                     clone_child_cleartid = 0x200000, clone_untraced = 0x800000,
                     clone_child_settid = 0x1000000;
inline constexpr int w_nohang = 1, w_stopped = 2, w_exited = 4, w_continued = 8,
                     w_nowait = 0x01000000, w_all = 0x40000000;
inline constexpr int p_all = 0, p_pid = 1;
inline constexpr int futex_wait = 0, futex_wake = 1;

// clone3(2), namespaces(7), mount(2)
inline constexpr u64 clone_newtime = 0x80, clone_newns = 0x20000, clone_newuser = 0x10000000,
                     clone_newpid = 0x20000000;
struct clone_args {
  u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
      set_tid_size, cgroup;
};
inline constexpr u64 ms_nosuid = 2, ms_nodev = 4, ms_noexec = 8, ms_rec = 0x4000,
                     ms_slave = 0x80000;

// unix(7)
struct ucred {
  i32 pid;
  u32 uid, gid;
};

// capabilities(7); a set of up to 64 is two words
inline constexpr u32 capability_version_3 = 0x20080522;
struct capability_header {
  u32 version;
  i32 pid;
};
struct capability_words {
  u32 effective, permitted, inheritable;
};
struct capabilities {
  capability_words low, high;
};
inline constexpr int cap_setgid = 6, cap_setuid = 7, cap_setpcap = 8, cap_sys_admin = 21,
                     cap_checkpoint_restore = 40;
inline constexpr int pr_capbset_read = 23, pr_capbset_drop = 24, pr_cap_ambient = 47,
                     pr_cap_ambient_is_set = 1, pr_cap_ambient_raise = 2, pr_cap_ambient_lower = 3,
                     pr_cap_ambient_clear_all = 4, pr_get_keepcaps = 7;

// ptrace(2)
inline constexpr int ptrace_cont = 7, ptrace_singlestep = 9, ptrace_detach = 17,
                     ptrace_seize = 0x4206, ptrace_interrupt = 0x4207, ptrace_listen = 0x4208,
                     ptrace_peeksiginfo = 0x4209, ptrace_getsigmask = 0x420a,
                     ptrace_getregset = 0x4204, ptrace_setregset = 0x4205,
                     ptrace_setsigmask = 0x420b, ptrace_get_rseq_configuration = 0x420f,
                     ptrace_event_stop = 128, ptrace_o_exitkill = 0x100000;
inline constexpr int nt_prstatus = 1, nt_x86_xstate = 0x202;  // elf.h
struct user_regs {  // sys/user.h, struct user_regs_struct
  u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs,
      eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};
/// What a call that was interrupted has in rax while its thread is stopped on the way back
/// (include/linux/errno.h of the kernel): made again unless a handler runs; the same, but with
/// SA_RESTART even then; in any case; by restart_syscall(2).
inline constexpr i64 restart_sys = -512, restart_no_intr = -513, restart_no_hand = -514,
                     restart_block = -516;
inline constexpr u32 peeksiginfo_shared = 1;
struct peeksiginfo_args {
  u64 off;
  u32 flags;
  i32 nr;
};
struct rseq_configuration {
  u64 rseq_abi_pointer;
  u32 rseq_abi_size;
  u32 signature;
  u32 flags;
  u32 pad;
};
inline constexpr int rseq_flag_unregister = 1;

// prctl(2), arch_prctl(2)
inline constexpr int pr_set_pdeathsig = 1, pr_get_pdeathsig = 2, pr_get_dumpable = 3,
                     pr_set_dumpable = 4, pr_set_keepcaps = 8, pr_set_name = 15, pr_get_name = 16,
                     pr_get_tsc = 25, pr_set_tsc = 26, pr_get_securebits = 27,
                     pr_set_securebits = 28, pr_set_timerslack = 29, pr_get_timerslack = 30,
                     pr_mce_kill = 33, pr_mce_kill_get = 34, pr_set_mm = 35, pr_set_mm_map = 14,
                     pr_set_child_subreaper = 36, pr_get_child_subreaper = 37,
                     pr_set_no_new_privs = 38, pr_get_no_new_privs = 39, pr_get_tid_address = 40,
                     pr_set_thp_disable = 41, pr_get_thp_disable = 42, pr_get_speculation_ctrl = 52,
                     pr_set_speculation_ctrl = 53, pr_set_io_flusher = 57, pr_get_io_flusher = 58,
                     pr_set_mdwe = 65, pr_get_mdwe = 66, pr_set_memory_merge = 67,
                     pr_get_memory_merge = 68, pr_timer_create_restore_ids = 77,
                     pr_set_ptracer = 0x59616d61;
inline constexpr int pr_mce_kill_set = 1, pr_set_vma = 0x53564d41, pr_set_vma_anon_name = 0;
inline constexpr int pr_timer_ids_off = 0, pr_timer_ids_on = 1;  // since 6.15
inline constexpr int pr_spec_prctl = 1;  // bit of PR_GET_SPECULATION_CTRL: may be set per thread
inline constexpr int arch_set_gs = 0x1001, arch_set_fs = 0x1002, arch_get_fs = 0x1003,
                     arch_get_gs = 0x1004, arch_get_cpuid = 0x1011, arch_set_cpuid = 0x1012,
                     arch_get_xcomp_perm = 0x1022, arch_req_xcomp_perm = 0x1023,
                     arch_shstk_status = 0x5005;

struct prctl_mm_map {
  u64 start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end,
      env_start, env_end;
  u64 auxv;
  u32 auxv_size;
  u32 exe_fd;
};

// prlimit(2)
struct rlimit64 {
  u64 soft, hard;
};
inline constexpr int rlimit_data = 2, rlimit_stack = 3, rlimit_core = 4, rlimit_nofile = 7,
                     rlimit_sigpending = 11, rlimit_count = 16;
inline constexpr u64 rlimit_infinity = ~u64{0};

struct iovec {
  u64 base;
  u64 length;
};

// poll(2)
struct pollfd {
  i32 fd;
  i16 events, revents;
};
inline constexpr i16 poll_in = 1, poll_out = 4, poll_err = 8, poll_hup = 16;

// epoll(7)
struct [[gnu::packed]] epoll_event {
  u32 events;
  u64 data;
};
static_assert(sizeof(epoll_event) == 12);
inline constexpr int epoll_ctl_add = 1, epoll_ctl_del = 2, epoll_ctl_mod = 3;
inline constexpr u32 epoll_exclusive = 1u << 28, epoll_wakeup = 1u << 29, epoll_oneshot = 1u << 30,
                     epoll_et = 1u << 31;
struct kcmp_epoll_slot {
  u32 efd, tfd, toff;
};

// timerfd_create(2), eventfd(2)
inline constexpr int tfd_timer_abstime = 1, tfd_timer_cancel_on_set = 2, efd_semaphore = 1;
inline constexpr unsigned long tfd_ioc_set_ticks = 0x40085400;  // _IOW('T', 0, u64)
inline constexpr int clock_realtime_alarm = 8, clock_boottime_alarm = 9;

// socket(7), unix(7)
inline constexpr int af_unix = 1, af_netlink = 16, sock_stream = 1, sock_dgram = 2, sock_raw = 3,
                     sock_seqpacket = 5, sock_cloexec = 02000000;
inline constexpr int sol_socket = 1, so_type = 3, so_sndbuf = 7, so_rcvbuf = 8, so_passcred = 16,
                     so_rcvlowat = 18, so_rcvtimeo = 20, so_sndtimeo = 21, so_sndbufforce = 32,
                     so_rcvbufforce = 33, so_protocol = 38, so_domain = 39, so_peek_off = 42;
inline constexpr int msg_oob = 1, msg_peek = 2, msg_ctrunc = 8, msg_trunc = 0x20,
                     msg_dontwait = 0x40, msg_nosignal = 0x4000, msg_cmsg_cloexec = 0x40000000;
inline constexpr int shut_rd = 0, shut_wr = 1, shut_rdwr = 2;
inline constexpr unsigned long fionread = 0x541b, tiocoutq = 0x5411;
struct msghdr {
  u64 msg_name;
  u32 msg_namelen, pad;
  iovec* msg_iov;
  u64 msg_iovlen;
  void* msg_control;
  u64 msg_controllen;
  i32 msg_flags, pad2;
};
struct cmsghdr {
  u64 cmsg_len;
  i32 cmsg_level, cmsg_type;
};
inline constexpr i32 scm_rights = 1, scm_credentials = 2;

// sock_diag(7)
inline constexpr int netlink_sock_diag = 4;
inline constexpr u16 sock_diag_by_family = 20, nlmsg_error = 2, nlmsg_done = 3, nlm_f_request = 1,
                     nlm_f_dump = 0x300;
struct nlmsghdr {
  u32 nlmsg_len;
  u16 nlmsg_type, nlmsg_flags;
  u32 nlmsg_seq, nlmsg_pid;
};
struct unix_diag_req {
  u8 family, protocol;
  u16 pad;
  u32 states, ino, show, cookie[2];
};
struct unix_diag_msg {
  u8 family, type, state, pad;
  u32 ino, cookie[2];
};
inline constexpr u32 udiag_show_name = 1, udiag_show_peer = 4;
inline constexpr u16 unix_diag_name = 0, unix_diag_peer = 2, unix_diag_shutdown = 6;
inline constexpr u8 tcp_established = 1, tcp_listen = 10;

struct utsname {
  char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
};

inline constexpr int kcmp_file = 0, kcmp_vm = 1, kcmp_files = 2, kcmp_fs = 3, kcmp_epoll_tfd = 7;

// sched_setattr(2), ioprio_set(2), membarrier(2)
struct sched_attr {
  u32 size, policy;
  u64 flags;
  i32 nice;
  u32 priority;
  u64 runtime, deadline, period;
  u32 util_min, util_max;
};
inline constexpr u32 sched_attr_size_0 = 48;  // before the utilization clamps of 5.3
inline constexpr u64 sched_flag_reset_on_fork = 1, sched_flag_util_clamp = 0x60;
inline constexpr int ioprio_who_process = 1;
inline constexpr u32 membarrier_query = 0, membarrier_private_expedited = 1u << 3,
                     membarrier_private_expedited_sync_core = 1u << 5,
                     membarrier_private_expedited_rseq = 1u << 7,
                     membarrier_get_registrations = 1u << 9;
/// Each registration is the bit above its command; GLOBAL_EXPEDITED's is 2.
inline constexpr u32 membarrier_registrations = 1u << 2 | 1u << 4 | 1u << 6 | 1u << 8;
inline constexpr u32 personality_query = 0xffffffff, addr_no_randomize = 0x0040000,
                     read_implies_exec = 0x0400000;

// auxiliary vector (linux/auxvec.h)
inline constexpr u64 at_null = 0, at_phdr = 3, at_phnum = 5, at_base = 7, at_entry = 9, at_uid = 11,
                     at_secure = 23, at_random = 25, at_execfn = 31, at_sysinfo_ehdr = 33;

// PAGEMAP_SCAN (linux/fs.h, since 6.7)
struct page_region {
  u64 start, end, categories;
};
struct pm_scan_arg {
  u64 size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask,
      category_anyof_mask, return_mask;
};
inline constexpr u64 page_is_file = 1u << 2, page_is_present = 1u << 3, page_is_swapped = 1u << 4,
                     page_is_pfnzero = 1u << 5, page_is_huge = 1u << 6,
                     page_is_guard = 1u << 8;                    // since 6.15
inline constexpr unsigned long pagemap_scan_ioctl = 0xc0606610;  // _IOWR('f', 16, pm_scan_arg)

// ELF machine number (elf.h)
inline constexpr u16 em_x86_64 = 62;

}  // namespace ckpt::sys::abi
