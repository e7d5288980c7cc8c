// SPDX-License-Identifier: MIT
//
// The restarter. As the head of an image it runs where the image says; as the command ckpt-restart
// it runs anywhere, and first copies itself to where the image says. From there on both do the
// same: check everything that can be checked, replace this process's memory by the program's,
// compare the checksums, and hand over to the agent that the image contains.
//
// No libc, no thread-local storage, no heap. A failure is one line and status 125, and until the
// hand-over nothing outside this process has changed.

#include "ckpt/image/agent_place.hpp"
#include "ckpt/image/window.hpp"
#include "command_line.hpp"
#include "image_head.hpp"
#include "memory_loader.hpp"
#include "own_memory.hpp"
#include "place_vdso.hpp"
#include "relocate.hpp"
#include "work.hpp"

namespace ckpt::restart {
namespace {

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
