// SPDX-License-Identifier: MIT
//
// The restarter. As the head of an image it runs where the image says; as the command ckpt-restart
// it runs anywhere, and first copies itself to where the image says. From there on both do the
// same: check everything that can be checked, replace this process's memory by the program's,
// compare the checksums, and hand over to the agent that the image contains.
//
// No libc, no thread-local storage, no heap. A failure is one line and status 125, and until the
// hand-over nothing outside this process has changed.

#include "address_space.hpp"
#include "ckpt/image/agent_place.hpp"
#include "ckpt/image/handover.hpp"
#include "ckpt/image/window.hpp"
#include "ckpt/options/help.hpp"
#include "ckpt/options/name_pattern.hpp"
#include "ckpt/state/limits.hpp"
#include "identity.hpp"
#include "image_stream.hpp"
#include "memory_loader.hpp"
#include "relocate.hpp"
#include "vdso.hpp"

namespace ckpt::restart {
namespace {

constexpr int failure_status = 125;

/// What must survive the move to the window and the end of the first stack. It lies in .bss, which
/// the move copies.
struct work {
  report why;
  fixed_text<1024> name;
  image_stream stream;
  format::file_header header;
  image::handover handover;
  bool is_image;
  bool restart_again_possible;
  state::files_policy files;
  identity_wish identity;
  bool verbose;
  u64 signal_mask;  // of whoever restarts
  char** argv;
  char** envp;
  own_mappings own;
  vdso_group vdso;
  alignas(16) char stack[64 * 1024];
};
constinit work global{};

void say(std::string_view line) {
  fixed_text<2600> out;
  out.append("ckpt: ").append(quoted{global.name.view()});
  if (!global.name.empty()) out.append(": ");
  out.append(line).append('\n');
  sys::linux_files kernel;
  (void)sys::write_all(kernel, 2, bytes_of_text(out.view()));
}

[[noreturn]] void fail() {
  say(global.why.line());
  sys::exit_group(failure_status);
}

void require(const result<void>& outcome, std::string_view what) {
  if (outcome.ok()) return;
  (void)global.why.explain(outcome.error(), what);
  fail();
}

[[noreturn]] void usage(int fd, int status) {
  fixed_text<2600> out;
  if (global.is_image)
    out.append("usage: IMAGE [OPTION]...\n"
               "This is a ckpt image: running it lets the program in it go on.\n\n");
  else
    out.append("usage: ckpt-restart [OPTION]... IMAGE\n"
               "Lets the program in a ckpt image go on; - is standard input. Called restart or\n"
               "myrestart it takes myckpt.dat, then myckpt, when there is no IMAGE.\n\n");
  options::append_help<options::restart>(out);
  out.append("\nVariables and more: ckpt-restart(1). Exit status: the program's; 125 when it\n"
             "cannot be restarted.\n");
  sys::linux_files kernel;
  (void)sys::write_all(kernel, fd, bytes_of_text(out.view()));
  sys::exit_group(status);
}

/// Whether the kernel gave this process rights that whoever started it has not: an image with the
/// set-user-ID bit would run whatever is in it with them.
bool is_privileged(char** envp) {
  while (*envp != nullptr) ++envp;
  for (auto* a = reinterpret_cast<const u64*>(envp + 1); a[0] != sys::abi::at_null; a += 2)
    if (a[0] == sys::abi::at_secure) return a[1] != 0;
  return false;
}

/// False for a value that means nothing.
bool set_option(options::id id, std::string_view value) {
  switch (id) {
    case options::id::files:
      if (value == "rewind") global.files = state::files_policy::rewind;
      else if (value == "keep") global.files = state::files_policy::keep;
      else return false;
      return true;
    case options::id::identity:
      return parse_identity(value, global.identity);
    case options::id::verbose: {
      const auto on = options::parse_switch(value.empty() ? "1" : value);
      if (!on.ok()) return false;
      global.verbose = *on;
      return true;
    }
    default: return true;
  }
}

void read_environment(char** envp) {
  for (; *envp != nullptr; ++envp) {
    const std::string_view entry(*envp);
    for (const auto& o : options::rows_of<options::restart>) {
      if (o.variable.empty()) continue;
      if (!entry.starts_with(o.variable) || entry.size() <= o.variable.size() ||
          entry[o.variable.size()] != '=')
        continue;
      const auto value = entry.substr(o.variable.size() + 1);
      if (value.empty() || set_option(o.id, value)) continue;
      (void)global.why.refuse(o.variable, "=", quoted{value}, " means nothing (", o.meaning, ")");
      fail();
    }
  }
}

/// Returns the operand, null when there is none.
const char* read_arguments(char** argv) {
  const char* operand = nullptr;
  bool options_end = false;
  for (; *argv != nullptr; ++argv) {
    const std::string_view word(*argv);
    if (options_end || word.size() < 2 || word[0] != '-') {
      if (operand != nullptr || global.is_image) {
        (void)global.why.refuse("unexpected argument ", quoted{word}, " (see --help)");
        fail();
      }
      operand = *argv;
      continue;
    }
    if (word == "--") {
      options_end = true;
      continue;
    }
    bool known = false;
    for (const auto& o : options::rows_of<options::restart>) {
      const bool short_form = word.size() == 2 && o.short_name != 0 && word[1] == o.short_name;
      bool long_form = word.starts_with("--") && word.substr(2).starts_with(o.long_name) &&
                       !o.long_name.empty();
      std::string_view value;
      if (long_form && word.size() > 2 + o.long_name.size()) {
        long_form = word[2 + o.long_name.size()] == '=' && !o.argument.empty();
        if (long_form) value = word.substr(3 + o.long_name.size());
      }
      if (!short_form && !long_form) continue;
      known = true;
      if (o.id == options::id::help) usage(1, 0);
      if (o.id == options::id::version) {
        sys::linux_files kernel;
        (void)sys::write_all(kernel, 1, bytes_of_text("ckpt " CKPT_VERSION "\n"));
        sys::exit_group(0);
      }
      if (!o.argument.empty() && value.empty() && argv[1] != nullptr) value = *++argv;
      if (!set_option(o.id, value)) {
        (void)global.why.refuse("--", o.long_name, " ", quoted{value}, " means nothing (",
                                o.meaning, ")");
        fail();
      }
      break;
    }
    if (!known) {
      (void)global.why.refuse("unknown option ", quoted{word}, " (see --help)");
      fail();
    }
  }
  return operand;
}

/// The course programs' names: without an operand, their file.
const char* default_operand(std::string_view invoked_as) {
  const auto slash = invoked_as.rfind('/');
  if (slash != std::string_view::npos) invoked_as.remove_prefix(slash + 1);
  if (invoked_as != "restart" && invoked_as != "myrestart") return nullptr;
  sys::abi::stat st{};
  for (const char* name : {"myckpt.dat", "myckpt"})
    if (sys::newfstatat(sys::abi::at_fdcwd, name, st, 0).ok()) return name;
  return nullptr;
}

void open_image(const char* path) {
  int fd = 0;
  if (std::string_view(path) != "-") {
    const auto opened =
        sys::openat(sys::abi::at_fdcwd, path, sys::abi::o_rdonly | sys::abi::o_cloexec);
    if (!opened.ok()) require(opened.error(), "cannot open the image");
    fd = *opened;
  }
  // Out of the way of 0, 1 and 2, which the program will want as they are now.
  const auto moved = sys::fcntl(fd, sys::abi::f_dupfd_cloexec, 3);
  if (!moved.ok()) require(moved.error(), "cannot open the image");
  if (fd > 2) (void)sys::close(fd);
  global.stream = image_stream(static_cast<int>(*moved));
}

/// An image that is no file: ckpt-transfer, beside this command, fetches and verifies it and becomes it.
void fetch_elsewhere(const char* name) {
  const std::string_view text(name);
  if (!options::goes_elsewhere(text)) return;
  fixed_text<4200> path;
  char link[4096];
  const auto size = sys::readlinkat(sys::abi::at_fdcwd, "/proc/self/exe", link, sizeof link);
  std::string_view self(link, size.value_or(0));
  path.append(self.substr(0, self.rfind('/') + 1)).append("ckpt-transfer");
  (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &global.signal_mask, nullptr);
  require(sys::execve(path.c_str(), global.argv, global.envp), "cannot start ckpt-transfer, which fetches it");
}

/// Reads up to the metadata, checking the header and the bytes of the restarter around it.
void read_head() {
  auto& stream = global.stream;
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  std::byte head[format::header_offset];
  auto outcome = stream.read(head);
  if (outcome.ok()) {
    XXH3_64bits_update(&hash, head, sizeof head);
    outcome = stream.read(std::as_writable_bytes(std::span(&global.header, 1)));
  }
  if (!outcome.ok()) {
    (void)(outcome.error() == errc::end_of_input
               ? global.why.refuse("not a ckpt image (too short)")
               : global.why.explain(outcome.error(), "cannot read the image"));
    fail();
  }
  sys::abi::stat st{};
  u64 size = global.header.image_size;
  if (sys::fstat(stream.fd(), st).ok() && (st.st_mode & sys::abi::s_ifmt) == sys::abi::s_ifreg) {
    size = static_cast<u64>(st.st_size);
    global.restart_again_possible = true;
  }
  if (!image::validate_header(global.header, size, global.why).ok()) fail();
  while (stream.position() < global.header.metadata_offset) {
    std::byte piece[4096];
    const u64 left = global.header.metadata_offset - stream.position();
    const mutable_bytes part(piece, left < sizeof piece ? left : sizeof piece);
    require(stream.read(part), "cannot read the image");
    XXH3_64bits_update(&hash, part.data(), part.size());
  }
  if (XXH3_64bits_digest(&hash) != global.header.restarter_checksum) {
    (void)global.why.refuse("the restarter in the image is damaged (checksum mismatch)");
    fail();
  }
}

/// The kernel lays out a process by its stack limit and personality. With the saved ones, every
/// stack the program may have had lies above every new mapping, with room to grow. A limit of a few
/// pages, which a program may set itself when it runs, would leave no stack for this one; the kernel
/// keeps 128 MiB free whatever is less (mmap_base, arch/x86/mm/mmap.c).
void match_layout(bytes metadata) {
  constexpr u64 own_stack = u64{1} << 20;
  if (!global.restart_again_possible) return;
  bool again = false;
  image::for_each<state::resource_limit>(metadata, [&](const state::resource_limit& l, bytes) {
    if (l.resource != static_cast<u32>(sys::abi::rlimit_stack)) return;
    sys::abi::rlimit64 now{};
    if (!sys::prlimit64(sys::abi::rlimit_stack, nullptr, &now).ok()) return;
    const u64 soft = l.soft;
    const sys::abi::rlimit64 wanted{soft < own_stack ? own_stack : soft, now.hard};
    if (now.soft == wanted.soft) return;
    if (wanted.soft <= now.hard && sys::prlimit64(sys::abi::rlimit_stack, &wanted, nullptr).ok())
      again = true;
  });
  // An execve takes READ_IMPLIES_EXEC away, so to ask for it here would never end.
  const u32 saved = image::first<state::process>(metadata).personality;
  const u32 wanted = saved & ~sys::abi::read_implies_exec;
  const auto persona = sys::personality(sys::abi::personality_query);
  if (persona.ok() && *persona != wanted && sys::personality(wanted).ok()) {
    const auto set = sys::personality(sys::abi::personality_query);
    again = again || (set.ok() && *set == wanted);
  }
  if (again) (void)sys::execve("/proc/self/exe", global.argv, global.envp);
}

/// A signal that comes while the program is being put together waits for the handler it has there.
/// What the program leaves to its default ends or stops the restart as it would have ended or
/// stopped the program.
void hold_signals(bytes metadata) {
  u64 handled = global.signal_mask;
  image::for_each<state::signal_action>(metadata, [&](const state::signal_action& a, bytes) {
    if (a.handler != sys::abi::sig_dfl) handled |= u64{1} << (a.signal - 1);
  });
  (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &handled, nullptr);
}

/// From here on this may be another process, with the program's number.
void take_identity(bytes metadata) {
  const auto self = image::own_identity();
  if (!self.ok()) {
    (void)global.why.explain(self.error(), "cannot read in /proc who this process is");
    fail();
  }
  const auto& started_as = *self;
  const auto writer = image::writer_of(global.header);
  if (!image::may_live(writer, started_as).value_or(true)) global.handover.gone = writer;
  identity who(global.identity, metadata);
  if (!who.take(global.why).ok()) fail();
  if (global.verbose) say(who.line());
  auto& h = global.handover;
  h.tids_kept = who.way() == way::fresh ? 0 : 1;
  if (who.way() == way::pid_namespace || who.way() == way::user_namespace) h.outside = started_as;
  h.own_user_namespace = who.way() == way::user_namespace ? 1 : 0;
  h.capabilities = who.capabilities();
}

/// Everything but the window and the vDSO goes; the vDSO waits in the window.
void clear_address_space(const image::window_layout& window) {
  auto& own = global.own;
  require(own.read(), "cannot read /proc/self/maps (is /proc mounted?)");
  global.vdso = vdso_group::find(own);
  for (u32 i = 0; i < own.count; ++i) {
    const auto& e = own.entries[i];
    if (e.kind == maps::special::vvar || e.kind == maps::special::vdso ||
        e.kind == maps::special::vsyscall)
      continue;
    // Parts of the window are mapped; keep exactly them.
    const range below = e.where.intersect({0, window.whole.begin});
    const range above = e.where.intersect({window.whole.end, ~u64{0}});
    for (const range r : {below, above})
      if (!r.empty() && e.kind != maps::special::uprobes)
        require(sys::munmap(r.begin, r.length()), "cannot unmap");
  }
  if (global.vdso.whole.length() > window.vdso.length()) {
    (void)global.why.refuse("the kernel's vDSO is larger than the image has room for");
    fail();
  }
  if (global.vdso.count > 0) {
    (void)sys::munmap(window.vdso.begin, window.vdso.length());
    require(global.vdso.move_to(window.vdso.begin),
            "cannot move the vDSO (a kernel that seals it?)");
  }
}

/// Same build: back to its old place. Another: the old page becomes plain memory that leads to it.
void place_vdso(bytes metadata, mutable_bytes saved_code) {
  range saved{~u64{0}, 0};
  range saved_text{};
  u32 pieces = 0;
  bool same_shape = true;
  u32 index = 0;
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    if (s.kind != state::segment_kind::vvar && s.kind != state::segment_kind::vdso) return;
    if (saved.begin > s.address) saved.begin = s.address;
    saved.end = s.address + s.length;
    if (s.kind == state::segment_kind::vdso) saved_text = {s.address, s.address + s.length};
    ++pieces;
  });
  auto& now = global.vdso;
  if (pieces == 0) return;  // the program had unmapped it
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    if (s.kind != state::segment_kind::vvar && s.kind != state::segment_kind::vdso) return;
    if (index < now.count) {
      const range& piece = now.pieces[index];
      same_shape = same_shape && piece.begin - now.whole.begin == s.address - saved.begin &&
                   piece.length() == s.length;
    }
    ++index;
  });
  same_shape = same_shape && pieces == now.count && saved.length() == now.whole.length();
  const auto saved_bytes = saved_code.first(saved_text.length());
  if (same_shape && std::memcmp(saved_bytes.data(), reinterpret_cast<const void*>(now.code.begin),
                                saved_bytes.size()) == 0) {
    require(now.move_to(saved.begin), "cannot move the vDSO back to its place");
    return;
  }
  if (saved_text.empty()) return;
  // Whoever is still within an old function, beneath a handler say, reads zeros in place of the
  // kernel's pages, which say that there is no clock to read, and so makes the system call.
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    if (s.kind == state::segment_kind::vvar)
      (void)sys::mmap(s.address, s.length, sys::abi::prot_read,
                      sys::abi::map_private | sys::abi::map_anonymous |
                          sys::abi::map_fixed_noreplace,
                      -1, 0);
  });
  const auto at = sys::mmap(saved_text.begin, saved_text.length(),
                            sys::abi::prot_read | sys::abi::prot_write,
                            sys::abi::map_private | sys::abi::map_anonymous |
                                sys::abi::map_fixed_noreplace,
                            -1, 0);
  if (!at.ok()) require(at.error(), "cannot map the saved vDSO");
  const mutable_bytes page(reinterpret_cast<std::byte*>(*at), saved_text.length());
  std::memcpy(page.data(), saved_bytes.data(), saved_bytes.size());
  if (now.count > 0)
    relink_vdso(page, {reinterpret_cast<const std::byte*>(now.code.begin), now.code.length()});
  require(sys::mprotect(saved_text.begin, saved_text.length(),
                        sys::abi::prot_read | sys::abi::prot_exec),
          "cannot protect the saved vDSO");
  global.handover.keep = now.whole;
}

u64 contents_size(bytes metadata) {
  u64 total = 0;
  image::for_each<state::extents>(metadata, [&](const state::extents& t, bytes tail) {
    if (t.object == 0) return;
    for (u64 i = 0; i < t.count; ++i) total += image::extent_at(tail, i).length;
  });
  return total;
}

[[noreturn]] void too_little_room() {
  (void)global.why.refuse("leaves too little room for this ckpt-restart (run the image itself)");
  fail();
}

/// On the restarter's own stack, in the window.
void restart_in_window(void*) {
  auto& header = global.header;
  const image::window_layout window = image::window_layout::of(header, restarter_size());
  if (window.vdso.end > window.whole.end) too_little_room();
  const auto reserve = [&](range r) {
    if (r.empty()) return;
    const auto at = sys::mmap(r.begin, r.length(), sys::abi::prot_read | sys::abi::prot_write,
                              sys::abi::map_private | sys::abi::map_anonymous |
                                  sys::abi::map_fixed_noreplace | sys::abi::map_noreserve,
                              -1, 0);
    if (!at.ok() || *at != r.begin)
      require(at.ok() ? errc::exists : at.error(), "cannot reserve the restarter's memory");
  };
  reserve({window.metadata.begin, window.whole.end});

  const mutable_bytes metadata(reinterpret_cast<std::byte*>(window.metadata.begin),
                               header.metadata_size);
  require(global.stream.read(metadata), "cannot read the metadata");
  if (!image::validate_metadata(header, metadata, global.why).ok()) fail();
  if (!state::check_cpu(image::first<state::cpu>(metadata), state::this_cpu(), global.why).ok())
    fail();
  if (!image::check_agent(header, metadata, global.why).ok()) fail();
  hold_signals(metadata);
  require(global.stream.expect_zeros_to(header.data_offset), "damaged between metadata and data");
  match_layout(metadata);
  take_identity(metadata);
  clear_address_space(window);

  const u64 blocks = header.table_size / sizeof(u64);
  const std::span computed(reinterpret_cast<wire::le<u64>*>(window.computed.begin), blocks);
  const std::span expected(reinterpret_cast<wire::le<u64>*>(window.expected.begin), blocks);
  const mutable_bytes saved_vdso(reinterpret_cast<std::byte*>(window.saved_vdso.begin),
                                 window.saved_vdso.length());

  // The contents of deleted files wait wherever the program has nothing.
  mutable_bytes contents;
  const u64 contents_length = contents_size(metadata);
  if (contents_length > 0) {
    const auto hole = image::find_hole(
        contents_length, page_size, [&](auto&& visit) {
          image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
            visit(range{s.address, s.address + s.length});
          });
        },
        window.whole);
    if (!hole.ok()) require(hole.error(), "no room for the contents of deleted files");
    reserve({*hole, *hole + contents_length});
    contents = {reinterpret_cast<std::byte*>(*hole), contents_length};
  }
  memory_loader loader(global.stream, header, metadata, computed, saved_vdso, contents);
  require(loader.load(global.why), "cannot load the program's memory");

  require(global.stream.read(std::as_writable_bytes(expected)), "cannot read the checksums");
  format::trailer trailer{};
  require(global.stream.read(std::as_writable_bytes(std::span(&trailer, 1))),
          "cannot read the end of the image");
  if (!image::validate_trailer(header, trailer, format::checksum(std::as_bytes(expected)),
                               global.why)
           .ok())
    fail();
  for (u64 i = 0; i < blocks; ++i)
    if (computed[i].get() != expected[i].get()) {
      (void)global.why.refuse("the data is damaged (checksum mismatch in block ", i, ")");
      fail();
    }
  if (!global.stream.at_end()) {
    (void)global.why.refuse("followed by bytes that do not belong to it");
    fail();
  }
  if (loader.could_not_lock())
    say("cannot lock as much memory as the program had locked (RLIMIT_MEMLOCK is lower here); it "
        "goes on without");
  place_vdso(metadata, saved_vdso);
  (void)sys::close(global.stream.fd());

  auto& h = global.handover;
  h.size = sizeof h;
  h.files = global.files;
  h.verbose = global.verbose ? 1 : 0;
  h.name = global.name.c_str();
  h.name_length = static_cast<u32>(global.name.view().size());
  h.metadata = metadata.data();
  h.metadata_size = metadata.size();
  h.contents = contents.data();
  h.contents_size = contents.size();
  h.contents_mapping = {reinterpret_cast<u64>(contents.data()),
                        reinterpret_cast<u64>(contents.data()) + contents.size()};
  h.window = window.whole;
  run_on_stack(header.agent_stack - 8, reinterpret_cast<void (*)(void*)>(header.agent_entry.get()),
               &h);
}

/// Puts a copy of the restarter at the start of the window, unless it is there already.
u64 move_to_window() {
  const u64 here = restarter_base();
  const u64 there = global.header.window_address;
  const u64 size = restarter_size();
  if (here == there) return 0;
  if (size > global.header.window_size) too_little_room();
  const auto at = sys::mmap(there, size, sys::abi::prot_read | sys::abi::prot_write,
                            sys::abi::map_private | sys::abi::map_anonymous |
                                sys::abi::map_fixed_noreplace,
                            -1, 0);
  if (!at.ok() || *at != there)
    require(at.ok() ? errc::exists : at.error(), "cannot place the restarter");
  std::memcpy(reinterpret_cast<void*>(there), reinterpret_cast<const void*>(here), size);
  relocate(there);
  require(sys::mprotect(there, restarter_text_size(), sys::abi::prot_read | sys::abi::prot_exec),
          "cannot place the restarter");
  return there - here;
}

}  // namespace
}  // namespace ckpt::restart

extern "C" [[gnu::visibility("hidden")]] void restart_main(long* stack) {
  using namespace ckpt;
  using namespace ckpt::restart;
  relocate(restarter_base());
  // Until it is known which the program handles.
  const u64 every = ~u64{0};
  (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &every, &global.signal_mask);
  const long argc = *stack;
  char** argv = reinterpret_cast<char**>(stack + 1);
  char** envp = argv + argc + 1;
  global.argv = argv;
  global.envp = envp;
  global.is_image = is_head_of_image();
  const std::string_view invoked_as = argc > 0 ? argv[0] : "ckpt-restart";
  if (is_privileged(envp)) {
    global.name.append(invoked_as);
    (void)global.why.refuse("is set-user-ID, set-group-ID or has capabilities; run a copy without");
    fail();
  }
  const char* operand = read_arguments(argc > 0 ? argv + 1 : argv);
  read_environment(envp);
  if (global.is_image) {
    global.name.append(invoked_as);
    open_image("/proc/self/exe");
  } else {
    if (operand == nullptr) operand = default_operand(invoked_as);
    if (operand == nullptr) usage(2, failure_status);
    global.name.append(operand);
    fetch_elsewhere(operand);
    open_image(operand);
  }
  read_head();
  const u64 distance = move_to_window();
  const auto there = [&](auto* p) {
    return reinterpret_cast<decltype(p)>(reinterpret_cast<u64>(p) + distance);
  };
  work* moved = there(&global);
  run_on_stack(reinterpret_cast<u64>(moved->stack) + sizeof moved->stack,
               there(&restart_in_window), nullptr);
}
