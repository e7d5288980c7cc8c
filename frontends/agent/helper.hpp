// SPDX-License-Identifier: MIT
//
// The helper: a process that shares the program's memory and nothing else. It stops the program,
// describes it, writes the image and is gone. It shares neither descriptors (closing one would
// drop the program's POSIX locks) nor directory and umask (a sharer takes set-user-ID exec from
// the program), and it is nobody's child that anybody could wait for.
#pragma once

#include "capture_memory.hpp"
#include "ckpt/image/all_records.hpp"
#include "ckpt/image/writer.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/state/files/capture.hpp"
#include "ckpt/state/x86_64/signal_frame.hpp"
#include "disk_sync.hpp"
#include "environment.hpp"
#include "image_file.hpp"
#include "image_head.hpp"
#include "image_name.hpp"
#include "snapshot.hpp"
#include "thread_report.hpp"
#include "threaded_hasher.hpp"
#include "transfer.hpp"

namespace ckpt::agent {

inline constexpr u32 writer_version = CKPT_VERSION_NUMBER;

class helper {
 public:
  explicit helper(session& s, u32 generation)
      : s_(s), generation_(generation), threads_(s),
        memory_(s, own_memory_of(s)) {}

  // Context: helper
  [[gnu::cold]] void run() {
    program_ = sys::unique_fd(sys::pidfd_open(s_.program, 0).value_or(-1));
    const bool alive = s_.turn.wait_for(phase::freezing, [&] { return program_alive(); });
    if (!alive) return;
    const i64 began = state::nanoseconds_of(sys::abi::clock_monotonic);
    const auto frozen = freeze();
    s_.good = frozen.ok();
    s_.turn.set(phase::self_capture);
    if (!s_.turn.wait_for(phase::writing, [&] { return program_alive(); })) return;
    if (s_.good) {
      const auto written = checkpoint();
      s_.good = written.ok();
      if (!written.ok()) (void)s_.why.explain(written.error(), "checkpoint failed");
    }
    const bool ends = s_.good && !s_.goes_on;
    if (!ends) {
      // The kernel says that we are gone before our copies of descriptors are.
      let_go_of_descriptors();
      threads_.release();
    }
    s_.frozen_ns = static_cast<u64>(state::nanoseconds_of(sys::abi::clock_monotonic) - began);
    s_.turn.set(phase::done);
    // Threads that were let go would run on until the one that waits for us ends the process.
    if (ends) wait_for_end();
  }

 private:
  static own_memory own_memory_of(const session& s) {
    return {s.arena.whole(),
            {reinterpret_cast<u64>(agent_scratch), reinterpret_cast<u64>(agent_scratch_end)},
            descriptors_of_agent.memory()};
  }

  /// To a copy of the program its life is nothing: the image is of a moment when it lived.
  [[nodiscard]] bool program_alive() {
    if (is_snapshot_) return true;
    // Threads that we hold are ours to reap: until then the process does not count as dead.
    int status = 0;
    const auto ended = sys::wait4(-1, &status, sys::abi::w_all | sys::abi::w_nohang);
    if (ended.ok() && *ended > 0 && *ended == transfer_.child()) transfer_.was_reaped();
    else if (ended.ok() && *ended > 0 && (status & 0xff) != 0x7f) return wait_for_others();
    if (!program_) return sys::kill(s_.program, 0).ok();
    sys::abi::pollfd p{program_.get(), sys::abi::poll_in, 0};
    const auto dead = sys::poll(&p, 1, 0);
    return !dead.ok() || *dead == 0;
  }
  /// All of a program that dies: what is left to do may have to wait for the disk.
  [[gnu::cold, gnu::noinline]] bool wait_for_others() {
    for (int tries = 0; tries < 200; ++tries) {
      int status = 0;
      const auto ended = sys::wait4(-1, &status, sys::abi::w_all | sys::abi::w_nohang);
      if (!ended.ok()) break;
      if (*ended == 0) (void)sys::nanosleep({0, 100'000});
      else if (*ended == transfer_.child()) transfer_.was_reaped();
    }
    return false;
  }
  void wait_for_end() {
    while (program_alive()) (void)sys::nanosleep({0, 500'000});
  }

  /// Every thread but the triggering one, which waits for us with all signals blocked.
  result<void> freeze() {
    s_.processors_allowed = state::processors_allowed();
    s_.default_slice = state::default_slice();
    state::set_slice(state::short_slice);
    s_.coredump_filter = CKPT_TRY(state::current_coredump_filter());
    const auto stopped = [&]() -> result<void> {
      CKPT_TRY(threads_.stop());
      CKPT_TRY(read_statuses());
      CKPT_TRY(thread_reports(s_, threads_).collect());
      return ask();
    }();
    if (stopped.ok()) return {};
    let_go_of_descriptors();
    // A thread that does not stop can only be let go by our end.
    if (s_.stuck != 0) {
      (void)s_.why.explain(stopped.error(), "cannot stop the threads");
      s_.good = false;
      s_.turn.set(phase::done);
      sys::exit_group(0);
    }
    threads_.release();
    return s_.why.explain(stopped.error(), "cannot ask the threads");
  }

  /// Who each thread is. And a filter (seccomp) of another thread may kill it for what it is to
  /// report, so this comes first.
  result<void> read_statuses() {
    const auto room = CKPT_TRY(s_.arena.take(state::longest_status));
    const auto look_at = [&](int tid, int outer, bool filters) -> result<void> {
      fixed_text<64> path;
      path.append(s_.proc.view()).append("/task/").append(outer).append("/status");
      const auto status =
          read_text(path.c_str(), {reinterpret_cast<char*>(room.data()), room.size()});
      if (!status.ok()) return s_.why.explain(status.error(), "cannot read ", path.view());
      if (filters && proc::status_seccomp(*status).value_or(0) != 0)
        return state::refuse_filtered_thread(s_.why, tid);
      return state::capture_credentials(s_.metadata, tid, *status);
    };
    CKPT_TRY(look_at(s_.thread, s_.outer_thread, false));
    return threads_.for_each([&](const thread_slot& t) {
      return look_at(t.tid, t.outer_tid, !s_.try_filtered);
    });
  }

  result<void> checkpoint() {
    // Not before all threads are frozen: until then they may say more.
    regions_ = regions_of_agent.view();
    memory_.leave_out(regions_);
    if (options::goes_elsewhere(s_.final_name.view())) {
      says_itself_ = state_of_agent.output.is_there();
      CKPT_TRY(transfer_.start({.name = s_.final_name.c_str(),
                                .may_lag = s_.may_lag,
                                .to_standard_error = says_itself_},
                               CKPT_TRY(s_.arena.take(room_for_environment)), s_.why));
    }
    const auto outcome = [this]() -> result<void> {
      CKPT_TRY(describe());
      const auto p = CKPT_TRY(plan());
      if (s_.may_lag && transfer_.started()) {
        if (leave_to_snapshot(p)) return {};
        if (says_itself_) (void)sys::close(2);
      }
      return write(p);
    }();
    // What it has read is no whole image, so it ends.
    if (!outcome.ok() && program_alive()) transfer_.give_up();
    return outcome;
  }

  // --- what goes into the metadata ---------------------------------------------------------
  result<void> describe() {
    auto& out = s_.metadata;
    CKPT_TRY(describe_process());
    CKPT_TRY(describe_triggering_thread());
    CKPT_TRY(threads_.for_each([&](const thread_slot& t) { return describe_thread(t); }));
    CKPT_TRY(describe_processor());
    CKPT_TRY(describe_files());
    CKPT_TRY(objects_.begin(*files_));
    let_go_of_descriptors();
    CKPT_TRY(memory_.capture_segments(objects_));
    CKPT_TRY(objects_.settle(memory_.segments()));
    CKPT_TRY(memory_.capture_traps());
    CKPT_TRY(memory_.capture_extents());
    data_size_ = memory_.data_size();
    CKPT_TRY(objects_.describe_contents(data_size_));
    // A clock that goes on from before what a timer had left was asked would make the timer early.
    return state::capture_host(out, writer_version);
  }

  /// What libraries chose code by. A program that was told to keep to a level needs no more than that,
  /// and what its registers hold none the less.
  [[gnu::cold]] result<void> describe_processor() {
    auto c = state::this_cpu();
    if (const u32 number = state_of_agent.config.cpu_level; number != 0) {
      auto level = sys::arch::level(number);
      image::for_each<state::extended_state>(
          s_.metadata.view(), [&](const state::extended_state& s, bytes raw) {
            if (!state::is_initial_pkru(raw)) level.components |= u64{1} << s.component;
          });
      c.extensions = c.extensions & level.extensions;
      c.components = c.components & level.components;
    }
    return s_.metadata.add(c);
  }

  /// Of the triggering thread: the files of a main thread that has ended are empty.
  const char* path_of(std::string_view name) {
    path_.clear();
    path_.append(s_.self.view()).append(name);
    return path_.c_str();
  }

  [[gnu::cold]] result<void> describe_process() {
    auto& out = s_.metadata;
    char text[4096];
    const auto stat = read_text(path_of("/stat"), text);
    if (!stat.ok()) return s_.why.explain(stat.error(), "cannot read ", path_.view());
    const auto f = CKPT_TRY(proc::parse_stat(*stat));
    if (f.start_stack == 0 || f.start_code == 0)
      return s_.why.refuse("cannot see the program's own layout in ", path_.view());
    state::memory_layout m{};
    m.start_code = f.start_code, m.end_code = f.end_code;
    m.start_data = f.start_data, m.end_data = f.end_data;
    m.start_brk = f.start_brk, m.brk = sys::brk(0);
    m.start_stack = f.start_stack;
    m.arg_start = f.arg_start, m.arg_end = f.arg_end;
    m.env_start = f.env_start, m.env_end = f.env_end;
    CKPT_TRY(out.add(m));

    // The helper shares the memory and so the table. The kernel returns an int, errors too.
    u64 descriptor = 0;
    const auto table = sys::checked<u64>(
        sys::invoke(__NR_modify_ldt, 0 /* read */, &descriptor, sizeof descriptor));
    if (static_cast<i32>(table.value_or(0)) > 0)
      return s_.why.refuse("the program has a local descriptor table (modify_ldt), which cannot be "
                           "saved");

    state::process p{};
    p.pid = s_.program;
    p.parent = f.ppid;
    p.uid = sys::getuid(), p.effective_uid = sys::geteuid();
    p.gid = sys::getgid(), p.effective_gid = sys::getegid();
    p.umask = s_.umask;
    p.personality = s_.personality;
    p.thread_count = threads_.count();
    p.generation = generation_;
    CKPT_TRY(out.add(p));

    CKPT_TRY(add_link(state::text_kind::program, "/exe"));
    CKPT_TRY(add_link(state::text_kind::directory, "/cwd"));
    CKPT_TRY(state::add_text(out, state::text_kind::command_line, span_of(f.arg_start, f.arg_end)));
    CKPT_TRY(state::add_text(out, state::text_kind::environment, span_of(f.env_start, f.env_end)));
    const auto auxv = read_text("/proc/self/auxv", text);
    if (!auxv.ok()) return s_.why.explain(auxv.error(), "cannot read /proc/self/auxv");
    return state::add_text(out, state::text_kind::auxiliary_vector, bytes_of_text(*auxv));
  }

  /// Arguments and environment lie in the program's memory; they are shown, so a range that
  /// cannot be read is left out.
  bytes span_of(u64 begin, u64 end) {
    if (begin >= end || end - begin > sizeof_shown) return {};
    const auto room = s_.arena.take(end - begin);
    remote_memory memory;
    if (!room.ok() || !memory.open().ok()) return {};
    const auto copy = room->first(memory.read(begin, room->first(end - begin)));
    regions_.wipe(begin, copy);
    return copy;
  }

  result<void> add_link(state::text_kind kind, std::string_view name) {
    char link[4200];
    const auto size = sys::readlinkat(sys::abi::at_fdcwd, path_of(name), link, sizeof link);
    if (!size.ok()) return s_.why.explain(size.error(), "cannot read ", path_.view());
    std::string_view target(link, *size);
    if (kind == state::text_kind::directory && target.ends_with(" (deleted)"))
      return state::refuse_lost_directory(s_.why, target);
    return state::add_text(s_.metadata, kind, bytes_of_text(target));
  }

  /// The triggering thread's registers are in its signal frame; what the frame lacks, ptrace tells.
  [[gnu::cold]] result<void> describe_triggering_thread() {
    const auto& context = *s_.context;
    state::thread t{};
    t.tid = s_.thread;
    if (s_.made_again) t.flags.set(state::thread_flag::call_made_again);
    if (!s_.goes_on) t.flags.set(state::thread_flag::ended_program);
    state::registers_from(context.uc_mcontext, t);
    t.fs_base = s_.fs_base;
    t.gs_base = s_.gs_base;
    t.signal_mask = context.uc_sigmask;
    t.alternate_stack = context.uc_stack.ss_sp;
    t.alternate_stack_size = context.uc_stack.ss_size;
    // SS_ONSTACK is a report, not a setting.
    t.alternate_stack_flags = static_cast<u32>(context.uc_stack.ss_flags & ~sys::abi::ss_onstack);
    t.clear_child_tid = s_.clear_child_tid;
    CKPT_TRY(add_robust_list(t));
    char text[64];
    const auto name = read_text(path_of("/comm"), text);
    if (!name.ok() || name->empty())
      return s_.why.explain(name.ok() ? errc::io : name.error(), "cannot read ", path_.view());
    t.name = wire::text<16>(name->substr(0, name->size() - 1));
    t.rseq_address = s_.rseq.address;
    t.rseq_size = s_.rseq.size;
    t.rseq_signature = s_.rseq.signature;
    CKPT_TRY(s_.metadata.add(t));
    return state::capture_extended_state(s_.metadata, s_.thread, context.uc_mcontext,
                                         threads_.layout());
  }

  /// A thread that the helper holds: all is in its slot.
  [[gnu::cold]] result<void> describe_thread(const thread_slot& slot) {
    if ((slot.shadow_stack & 1) != 0)
      return s_.why.refuse("thread ", slot.tid, " runs with a shadow stack, which this version does "
                           "not save");
    state::thread t{};
    t.tid = slot.tid;
    if (slot.made_again) t.flags.set(state::thread_flag::call_made_again);
    registers_of(slot, t);
    t.clear_child_tid = slot.clear_child_tid;
    CKPT_TRY(add_robust_list(t));
    t.name = wire::text<16>(std::string_view(slot.name));
    t.rseq_address = slot.rseq.rseq_abi_pointer;
    t.rseq_size = slot.rseq.rseq_abi_size;
    t.rseq_signature = slot.rseq.signature;
    CKPT_TRY(s_.metadata.add(t));
    CKPT_TRY(state::capture_extended_area(
        s_.metadata, slot.tid, {slot.frame.extended(), threads_.layout().full_size}, ~u64{0},
        threads_.layout()));
    const auto processors = state::processor_set::of(slot.tid);
    const bool free = processors == s_.processors_allowed;
    return s_.metadata.add(slot.settings, free ? bytes() : processors.view());
  }

  result<void> add_robust_list(state::thread& t) {
    u64 head = 0;
    u64 length = 0;
    if (auto r = sys::get_robust_list(t.tid, head, length); r.ok()) {
      t.robust_list = head;
      t.robust_list_size = static_cast<u32>(length);
    } else if (r.error() != errc::no_system_call) {
      return s_.why.explain(r.error(), "cannot read the robust list of thread ", t.tid.get());
    }
    return {};
  }

  /// What only ptrace tells of the triggering thread. It is let go again at once: it waits for us.
  result<void> ask() {
    s_.probes_rseq = s_.traced;
    if (s_.traced) return nothing_pending();
    if (auto r = sys::ptrace(sys::abi::ptrace_seize, s_.thread, 0, 0); !r.ok()) {
      // Whoever asks for a checkpoint from outside holds a thread for an instant.
      if (threads_.is_traced(s_.outer_thread)) s_.stuck = s_.thread;
      return state::refuse_unstoppable_thread(s_.why, s_.thread, r.error());
    }
    (void)sys::ptrace(sys::abi::ptrace_interrupt, s_.thread, 0, 0);
    if (auto r = wait_stopped(s_.thread, patience_to_stop); !r.ok()) {
      s_.stuck = s_.thread;
      return s_.why.explain(r.error(), "thread ", s_.thread, " does not stop");
    }
    const auto outcome = ask_stopped();
    if (!sys::ptrace(sys::abi::ptrace_detach, s_.thread, 0, 0).ok()) sys::exit_group(1);
    return outcome;
  }
  result<void> ask_stopped() {
    sys::abi::rseq_configuration rseq{};
    const auto asked =
        sys::ptrace(sys::abi::ptrace_get_rseq_configuration, s_.thread, sizeof rseq, &rseq);
    if (asked.ok())
      s_.rseq = {rseq.rseq_abi_pointer, rseq.rseq_abi_size, rseq.signature};
    else
      s_.probes_rseq = true;  // a kernel before 5.13: the thread finds out by itself
    CKPT_TRY(peek_signals(s_.thread, 0));
    CKPT_TRY(threads_.for_each([&](const thread_slot& t) { return peek_signals(t.tid, 0); }));
    return peek_signals(s_.thread, sys::abi::peeksiginfo_shared);
  }
  /// Under a debugger, what is queued cannot be seen without taking it out.
  result<void> nothing_pending() {
    char text[8192];
    const auto status = CKPT_TRY(read_text(path_of("/status"), text));
    if (proc::status_pending(status).value_or(1) != 0 ||
        proc::status_shared_pending(status).value_or(1) != 0)
      return s_.why.refuse("signals are pending and cannot be read while the program is traced");
    return {};
  }

  result<void> peek_signals(int tid, u32 queue) {
    for (u64 position = 0;; ++position) {
      sys::abi::peeksiginfo_args args{position, queue, 1};
      sys::abi::siginfo info{};
      const auto got = sys::ptrace(sys::abi::ptrace_peeksiginfo, tid, &args, &info);
      if (!got.ok())
        return s_.why.explain(got.error(), "cannot read the pending signals of thread ", tid);
      if (*got == 0) return {};
      state::pending_signal p{};
      p.thread = queue == 0 ? tid : 0;
      p.signal = info.si_signo;
      s_.pending |= u64{1} << (info.si_signo - 1);
      std::memcpy(&p.info, &info, sizeof info);
      CKPT_TRY(s_.metadata.add(p));
    }
  }

  result<void> describe_files() {
    const auto room = CKPT_TRY(s_.arena.take(sizeof(state::files_capture)));
    if (descriptors_of_agent.lost_wishes())
      return s_.why.refuse("there is no memory for what a function has changed by ckpt_fds");
    wishes_.said = descriptors_of_agent.wishes();
    wishes_.ignored = state_of_agent.config.ignored;
    // A hundred thousand descriptors take some 20 MiB; pages that are not needed are never there.
    const u64 quarter = page_down(s_.arena.left() / 4);
    const auto scratch = CKPT_TRY(s_.arena.take(quarter > (1 << 20) ? quarter : 1 << 20));
    files_ = new (room.data()) state::files_capture(s_.proc.view(), s_.self.view(), s_.program,
                                                        s_.thread, scratch, wishes_);
    return files_->capture(s_.metadata, s_.why);
  }

  /// The copies of the program's descriptors hold its pipes open and its locks held for as long as
  /// the helper lives: whoever waits for the program's end would wait for the disk, too. From here
  /// on nothing needs them; contents are read through /proc/PID/fd.
  void let_go_of_descriptors() {
    const int kept[] = {program_.get(), transfer_.lowest_descriptor(), transfer_.highest_descriptor(),
                        s_.may_lag && says_itself_ ? 2 : -1};
    u32 next = 0;
    for (;;) {
      u32 first = ~u32{0};  // of those kept, from `next` on
      for (const int fd : kept)
        if (fd >= 0 && static_cast<u32>(fd) >= next && static_cast<u32>(fd) < first)
          first = static_cast<u32>(fd);
      if (first > next) (void)sys::close_range(next, first - (first == ~u32{0} ? 0 : 1));
      if (first == ~u32{0}) return;
      next = first + 1;
    }
  }

  // --- the image ---------------------------------------------------------------------------
  struct planned {
    format::file_header header;
    image_head head;
    std::span<wire::le<u64>> table;
  };
  [[gnu::cold]] result<planned> plan() {
    auto header = CKPT_TRY(plan_header());
    image_head head(CKPT_TRY(s_.arena.take(image_head::file_size())));
    head.place(header.window_address);
    header.restarter_checksum = head.checksum();
    header.header_checksum = format::own_checksum(header);
    head.set_header(header);
    const auto room = CKPT_TRY(s_.arena.take(header.table_size + page_size));
    return planned{header, head,
                   {reinterpret_cast<wire::le<u64>*>(room.data()), header.table_size / sizeof(u64)}};
  }
  [[gnu::cold]] result<format::file_header> plan_header() {
    auto h = format::header_for(image_head::file_size(), s_.metadata.size(), data_size_);
    if (!sys::getrandom(&h.id, sizeof h.id, 1 /* GRND_NONBLOCK */).ok()) {
      const u64 now = static_cast<u64>(state::nanoseconds_of(sys::abi::clock_realtime));
      std::memcpy(&h.id, &now, sizeof now);
    }
    image::sign(h, CKPT_TRY(writer_identity(s_)));
    h.metadata_checksum = format::checksum(s_.metadata.view());
    h.agent_entry = reinterpret_cast<u64>(&agent_resume);
    h.agent_stack = reinterpret_cast<u64>(agent_trigger_stack_end);
    h.window_size = image::window_layout::size_for(image_head::memory_size(), h.metadata_size,
                                                   h.table_size);
    const auto visit_all = [&](auto&& visit) {
      image::for_each<state::segment>(memory_.segments(), [&](const state::segment& s, bytes) {
        visit(range{s.address, s.address + s.length});
      });
    };
    auto hole = image::find_hole(h.window_size, page_size, visit_all);
    if (!hole.ok())
      hole = image::find_hole(h.window_size, page_size, visit_all, {}, lowest_address());
    if (!hole.ok())
      return s_.why.refuse("no hole of ", h.window_size.get(),
                           " bytes below ", hex{image::window_limit}, " for the restarter");
    h.window_address = *hole;
    return h;
  }

  static u64 lowest_address() {
    char text[32];
    const auto content = read_text("/proc/sys/vm/mmap_min_addr", text);
    u64 floor = image::window_floor;
    if (content.ok() && !content->empty()) {
      const auto number = parse_number(content->substr(0, content->size() - 1));
      if (number.ok() && *number > floor) floor = page_up(*number);
    }
    return floor;
  }

  /// The program goes on at once, and a copy of it, made here by fork(2), is written out. False where that
  /// cannot be, and the program has to stand still until it is written.
  [[gnu::cold]] bool leave_to_snapshot(const planned& p) {
    if (!fork_keeps(memory_.segments(), *files_, data_size_) ||
        !contents_.keep(s_.arena, s_.metadata.view(), objects_).ok())
      return false;
    note_image(p.header);
    // No signal at its end, and the helper's, who is nobody's child: the program never has this one.
    const auto copy =
        sys::checked<int>(sys::invoke(__NR_clone, sys::abi::clone_untraced, 0, 0, 0, 0));
    if (!copy.ok()) return false;
    if (*copy == 0) write_as_snapshot(p);
    transfer_.leave();
    s_.image_size = p.header.image_size;
    return true;
  }
  [[noreturn, gnu::cold]] void write_as_snapshot(const planned& p) {
    is_snapshot_ = true;
    become_snapshot();
    program_.reset();
    auto outcome = memory_.open_again();
    if (outcome.ok()) outcome = write(p);
    if (!outcome.ok()) {
      (void)s_.why.explain(outcome.error(), "checkpoint failed");
      fixed_text<1600> line;
      line.append("no checkpoint of process ").append(s_.program).append(": ").append(s_.why.line());
      say(line.view());
    }
    sys::exit_group(0);
  }

  /// Before the memory is read: a restart knows them.
  void note_image(const format::file_header& header) {
    state_of_agent.naming.image = header.id;
    state_of_agent.naming.number = s_.number;
  }

  result<void> write(const planned& p) {
    const auto& [header, head, table] = p;
    const bool elsewhere = transfer_.started();
    sys::unique_fd fd(elsewhere ? transfer_.release_image() : CKPT_TRY(claim_name(s_)));
    note_image(header);
    const auto watch = [this]() -> result<void> {
      if (program_alive()) return {};
      return errc::gone;
    };
    const auto alive = [this] { return program_alive(); };
    patient_gather<decltype(alive)> kernel{{}, alive, elsewhere};
    threaded_hasher hasher(header.block_size, table, s_.second);
    if (header.data_size >= worth_a_thread) hasher.start();
    image::writer writer(kernel, fd.get(), hasher, table, watch);
    const auto outcome = [&]() -> result<void> {
      CKPT_TRY(writer.put(head.view()));
      CKPT_TRY(writer.put(s_.metadata.view()));
      CKPT_TRY(writer.pad_to(header.data_offset));
      CKPT_TRY(write_data(writer));
      if (auto r = writer.finish(header); !r.ok()) return r;
      if (elsewhere) return {};
      return publish(s_, fd, watch, [&](disk_sync::call sync, int at) {
        return threads_.count() > 1 ? disk_.wait(sync, at, watch) : sync(at);
      });
    }();
    if (elsewhere) {
      fd.reset();
      // Why nobody takes it, ckpt-transfer knows.
      if (outcome.ok() || outcome.error() != errc::gone)
        CKPT_TRY(transfer_.wait_for_end(s_.why, watch));
    }
    if (!outcome.ok()) {
      if (s_.temporary_exists) remove_temporary(s_);
      return s_.why.explain(outcome.error(), "cannot write ", quoted{s_.final_name.view()});
    }
    s_.image_size = header.image_size;
    return {};
  }

  template <class Writer>
  result<void> write_data(Writer& writer) {
    result<void> outcome;
    image::for_each<state::extents>(s_.metadata.view(), [&](const state::extents& t, bytes tail) {
      if (!outcome.ok()) return;
      if (t.object == 0) outcome = memory_.write(tail, writer);
      else if (is_snapshot_) outcome = writer.put_data(contents_.next(tail));
      else outcome = objects_.write(t.object, tail, data_sink(writer));
    });
    return outcome;
  }

  /// Below it, starting a thread costs more than it gains.
  static constexpr u64 worth_a_thread = u64{8} << 20;
  static constexpr u64 sizeof_shown = u64{32} << 20;

  session& s_;
  u32 generation_;
  frozen_threads threads_;
  region_view regions_;
  memory_capture memory_;
  shared_objects objects_{s_};
  state::descriptor_wishes wishes_;
  state::files_capture* files_ = nullptr;
  u64 data_size_ = 0;
  sys::unique_fd program_;
  transfer transfer_;
  bool says_itself_ = false;  // descriptor 2 is for its lines
  kept_contents contents_;
  bool is_snapshot_ = false;
  disk_sync disk_{s_.second};
  fixed_text<64> path_;
};

}  // namespace ckpt::agent
