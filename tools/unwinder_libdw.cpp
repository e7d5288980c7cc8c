// SPDX-License-Identifier: MIT
//
// libdwfl over an image: memory and registers come from the image, code and symbols from the files
// of today where they are of the same build, otherwise from what the image has of them in memory:
// .eh_frame and the dynamic symbols are always there.
#include <cxxabi.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <gelf.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "unwinder.hpp"

namespace ckpt::tools {

namespace {

constexpr std::size_t most_frames = 256;
constexpr std::size_t longest_name = 1000;
constexpr u64 largest_module = u64{1} << 31;

/// The file as far as it is in memory, without section headers, which never are.
Elf* elf_of_memory(program_memory& memory, const elf_module& m) {
  u64 size = 0;
  for (const auto& p : m.program_headers)
    if (p.p_type == PT_LOAD && p.p_filesz > 0) {
      const auto part = range::at(p.p_offset, p.p_filesz);
      if (!part.ok() || part->end > largest_module) return nullptr;
      size = std::max(size, part->end);
    }
  if (size < sizeof(Elf64_Ehdr)) return nullptr;
  void* room = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return nullptr;
  const mutable_bytes file(static_cast<std::byte*>(room), size);
  for (const auto& p : m.program_headers) {
    if (p.p_type != PT_LOAD || p.p_filesz == 0) continue;
    const u64 base = p.p_vaddr + m.bias;
    memory.for_each_run(range{base, base + p.p_filesz}, [&](range run) {
      memory.read(run.begin, file.subspan(p.p_offset + (run.begin - base), run.length()));
    });
  }
  Elf64_Ehdr head;
  std::memcpy(&head, room, sizeof head);
  head.e_shoff = 0;
  head.e_shnum = head.e_shstrndx = 0;
  std::memcpy(room, &head, sizeof head);
  return ::elf_memory(static_cast<char*>(room), size);
}

std::string text_or_nothing(const char* text) {
  return text == nullptr ? std::string() : std::string(text).substr(0, longest_name);
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string text = status == 0 ? text_or_nothing(plain) : name;
  std::free(plain);
  return text;
}

class unwinder {
 public:
  unwinder(image_file& image, program_memory& memory, const std::vector<elf_module>& modules)
      : memory_(memory), modules_(modules) {
    for (const auto& found : image.all<state::thread>()) threads_.push_back(found.fields);
    ::elf_version(EV_CURRENT);
    dwfl_ = ::dwfl_begin(&module_callbacks);
    ::dwfl_report_begin(dwfl_);
    u64 end = 0;
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      const auto& m = modules_[i];
      if (m.where.begin < end) continue;
      end = m.where.end;
      current = this;
      auto* reported = ::dwfl_report_module(dwfl_, m.path.empty() ? "?" : m.path.c_str(),
                                            m.where.begin, m.where.end);
      void** data = nullptr;
      if (reported != nullptr &&
          ::dwfl_module_info(reported, &data, nullptr, nullptr, nullptr, nullptr, nullptr,
                             nullptr) != nullptr)
        *data = const_cast<elf_module*>(&m);
    }
    ::dwfl_report_end(dwfl_, nullptr, nullptr);
    const i32 pid = image.one<state::process>().fields.pid;
    attached_ = ::dwfl_attach_state(dwfl_, nullptr, pid, &thread_callbacks, this);
  }
  unwinder(const unwinder&) = delete;
  unwinder& operator=(const unwinder&) = delete;

  thread_trace trace(std::size_t index) {
    thread_trace made{threads_[index].tid, {}, {}};
    made_ = &made;
    if (!attached_) {
      made.end = "nothing that can be unwound is mapped";
    } else if (!walk(made) && made.frames.size() == 1 && return_of_leaf(threads_[index])) {
      made.end.clear();
      walk(made);
    }
    // What the kernel will do first is known in any case.
    if (made.frames.empty()) made.frames.push_back(frame_at(threads_[index].rip, true));
    made_ = nullptr;
    return made;
  }

 private:
  /// Adds what can be found to the trace; false when it does not come to the outermost frame.
  bool walk(thread_trace& made) {
    if (::dwfl_getthread_frames(dwfl_, made.tid, add_frame, this) == 0 || !made.end.empty())
      return made.end.empty();
    made.end = "nothing tells the caller (" + text_or_nothing(::dwfl_errmsg(-1)) + ")";
    return false;
  }

  /// A system call or a copy in assembler without .eh_frame (musl) has its return address on the
  /// stack and nothing else. Whether that is one tells the call before it.
  bool return_of_leaf(state::thread& t) {
    ::Dwarf_Word back = 0;
    if (!read_memory(dwfl_, t.rsp, &back, this) || back < 5) return false;
    const auto* m = memory_.find(back - 5);
    if (m == nullptr || !m->segment.protection.has(state::protection::execute)) return false;
    std::array<std::byte, 5> code{};
    if (!memory_.run_from(back - 5).contains(range{back - 5, back})) return false;
    memory_.read(back - 5, code);
    const bool direct = code[0] == std::byte{0xe8};
    const bool indirect = code[3] == std::byte{0xff} && (code[4] & std::byte{0xf8}) == std::byte{0xd0};
    if (!direct && !indirect) return false;
    t.rip = back;
    t.rsp = t.rsp + 8;
    return true;
  }

  static inline unwinder* current = nullptr;

  static int find_elf(::Dwfl_Module*, void** data, const char*, ::Dwarf_Addr, char** name,
                      ::Elf** elf) {
    const auto& m = *static_cast<const elf_module*>(*data);
    if (!m.kernels) {
      const auto file = look_at_file(m);
      if (file.state == file_state::same) {
        const int fd = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd >= 0) {
          *name = ::strdup(file.path.c_str());
          return fd;
        }
      }
    }
    *elf = elf_of_memory(current->memory_, m);
    return -1;
  }

  static ::pid_t next_thread(::Dwfl*, void* self, void** thread) {
    auto& me = *static_cast<unwinder*>(self);
    auto* last = static_cast<state::thread*>(*thread);
    auto* next = last == nullptr ? me.threads_.data() : last + 1;
    if (next == me.threads_.data() + me.threads_.size()) return 0;
    *thread = next;
    return next->tid;
  }

  static bool get_thread(::Dwfl*, ::pid_t tid, void* self, void** thread) {
    auto& me = *static_cast<unwinder*>(self);
    for (auto& t : me.threads_)
      if (t.tid == tid) {
        *thread = &t;
        return true;
      }
    return false;
  }

  static bool read_memory(::Dwfl*, ::Dwarf_Addr address, ::Dwarf_Word* word, void* self) {
    auto& memory = static_cast<unwinder*>(self)->memory_;
    const auto wanted = range::at(address, sizeof *word);
    if (!wanted.ok() || !memory.run_from(address).contains(*wanted)) return false;
    memory.read(address, std::as_writable_bytes(std::span(word, 1)));
    return true;
  }

  static bool set_registers(::Dwfl_Thread* thread, void* which) {
    const auto& t = *static_cast<const state::thread*>(which);
    // The psABI's numbers.
    const ::Dwarf_Word registers[] = {t.rax, t.rdx, t.rcx, t.rbx, t.rsi, t.rdi, t.rbp, t.rsp, t.r8,
                                      t.r9,  t.r10, t.r11, t.r12, t.r13, t.r14, t.r15, t.rip};
    return ::dwfl_thread_state_registers(thread, 0, std::size(registers), registers);
  }

  static int add_frame(::Dwfl_Frame* state, void* self) {
    auto& me = *static_cast<unwinder*>(self);
    ::Dwarf_Addr address = 0;
    bool activation = false;
    if (!::dwfl_frame_pc(state, &address, &activation)) return DWARF_CB_ABORT;
    if (address == 0) return DWARF_CB_ABORT;
    me.made_->frames.push_back(me.frame_at(address, activation));
    if (me.made_->frames.size() < most_frames) return DWARF_CB_OK;
    me.made_->end = "there are more";
    return DWARF_CB_ABORT;
  }

  /// A return address belongs to the call before it.
  frame frame_at(u64 address, bool exact) {
    frame f;
    f.address = address;
    const u64 place = exact ? address : address - 1;
    auto* module = ::dwfl_addrmodule(dwfl_, place);
    if (module == nullptr) {
      f.offset = address;
      return f;
    }
    ::Dwarf_Addr begin = 0;
    void** data = nullptr;
    ::dwfl_module_info(module, &data, &begin, nullptr, nullptr, nullptr, nullptr, nullptr);
    f.module = static_cast<const elf_module*>(*data)->path;
    ::GElf_Off offset = 0;
    ::GElf_Sym symbol{};
    f.function = demangled(text_or_nothing(::dwfl_module_addrinfo(
        module, place, &offset, &symbol, nullptr, nullptr, nullptr)));
    f.offset = f.function.empty() ? address - begin : offset + (address - place);
    if (auto* line = ::dwfl_module_getsrc(module, place); line != nullptr) {
      int number = 0;
      const std::string file =
          text_or_nothing(::dwfl_lineinfo(line, nullptr, &number, nullptr, nullptr, nullptr));
      if (!file.empty()) f.source = file + ":" + std::to_string(number);
    }
    return f;
  }

  static inline char* debug_path = nullptr;
  static constexpr ::Dwfl_Callbacks module_callbacks = {
      find_elf, ::dwfl_standard_find_debuginfo, ::dwfl_offline_section_address, &debug_path};
  static constexpr ::Dwfl_Thread_Callbacks thread_callbacks = {
      next_thread, get_thread, read_memory, set_registers, nullptr, nullptr};

  program_memory& memory_;
  const std::vector<elf_module>& modules_;
  std::vector<state::thread> threads_;
  ::Dwfl* dwfl_ = nullptr;
  bool attached_ = false;
  thread_trace* made_ = nullptr;
};

}  // namespace

bool can_backtrace() {
  return true;
}

// It lives as long as its process.
void unwind_all(image_file& image, program_memory& memory, const std::vector<elf_module>& modules,
                std::size_t first, const std::function<void(const thread_trace&)>& visit) {
  auto& all = *new unwinder(image, memory, modules);
  const std::size_t count = image.all<state::thread>().size();
  for (std::size_t i = first; i < count; ++i) visit(all.trace(i));
}

}  // namespace ckpt::tools
