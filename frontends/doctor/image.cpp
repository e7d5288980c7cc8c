// SPDX-License-Identifier: MIT
//
// An image, and what this machine and this user are to it: first whether it is whole, as readckpt verify
// finds it, then everything that a restart would meet here.
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "ckpt/base/range.hpp"
#include "ckpt/proc/cursor.hpp"
#include "ckpt/state/caller.hpp"
#include "ckpt/state/cpu.hpp"
#include "ckpt/state/files/check.hpp"
#include "ckpt/state/limits.hpp"
#include "image_error.hpp"
#include "image_file.hpp"
#include "looks.hpp"
#include "printable.hpp"
#include "program_memory.hpp"
#include "verify_data.hpp"

namespace ckpt::doctor {
namespace {

class image_look {
 public:
  image_look(tools::image_file& image, const std::string& path, examination& e)
      : image_(image), path_(path), e_(e) {}

  void look() {
    describe();
    look_at_processor();
    look_at_way_to_run();
    look_at_files();
    look_at_objects();
    look_at_directory();
    look_at_memory();
    look_at_vdso();
    look_at_limits();
    identity_wish wish;
    const auto process = image_.one<state::process>().fields;
    wish.number = process.pid;
    wish.uid = process.effective_uid, wish.gid = process.effective_gid;
    for (const auto& t : image_.all<state::thread>()) wish.threads.push_back(t.fields.tid);
    look_at_identity(wish, e_);
    e_.lose("cpu-time", "processor time used so far: clock() and getrusage() begin again");
  }

 private:
  void describe() {
    const auto host = image_.one<state::host>().fields;
    const auto process = image_.one<state::process>().fields;
    const std::string command = tools::shell_line(image_.words(state::text_kind::command_line));
    e_.tell("program", std::string(image_.text(state::text_kind::program)),
            std::string(image_.text(state::text_kind::program)));
    e_.tell("command", command, command);
    const std::time_t seconds = static_cast<std::time_t>(host.realtime_ns / 1'000'000'000);
    char when[64] = "?";
    if (std::tm parts{}; gmtime_r(&seconds, &parts) != nullptr)
      (void)std::strftime(when, sizeof when, "%F %T UTC", &parts);
    e_.tell("made", std::string(when),
            line_of(when, " on ", host.node.view(), ", Linux ", host.release.view()));
    e_.tell("process", u64(static_cast<u32>(process.pid.get())), std::to_string(process.pid));
    e_.tell("threads", u64{process.thread_count}, count_of(process.thread_count, "thread"));
    e_.tell("image_bytes", image_.header().image_size.get(), size_text(image_.header().image_size));
  }

  void look_at_processor() {
    report why;
    const auto saved = image_.one<state::cpu>().fields, here = state::this_cpu();
    if (!state::check_cpu(saved, here, why).ok())
      e_.stop("processor", why.line(), "a machine that has them");
    if (saved.vendor.view() != here.vendor.view())
      e_.mention("processor", line_of("made on ", saved.vendor.view(), ", and this is ", here.vendor.view()));
  }

  void look_at_way_to_run() {
    struct statvfs of {};
    const bool no_execute =
        access(path_.c_str(), X_OK) != 0 || (statvfs(path_.c_str(), &of) == 0 && (of.f_flag & ST_NOEXEC) != 0);
    if (no_execute)
      e_.mention("execute", "it cannot be run as it stands: no permission, or a file system without it (noexec)",
                 line_of("ckpt-restart ", quoted{path_}));
  }

  void look_at_files() {
    const bool mapped_too = !image_.all<state::shared_object>().empty();
    for (const auto& [file, tail] : image_.all<state::open_file>()) {
      if (file.kind != state::file_kind::regular || file.marks.has(state::file_mark::as_given)) continue;
      const std::string path(text_of_bytes(tail));
      report why;
      if (!state::check_file(state::files_policy{}, file, path.c_str(), why).ok()) {
        if (mapped_too && is_object(file)) continue;  // its saved bytes go back
        e_.stop("files", why.line(), "put it back, or --files=keep");
        continue;
      }
      const bool writes = (file.flags & u32{sys::abi::o_accmode}) != u32{sys::abi::o_rdonly};
      struct stat st {};
      if (writes && access(path.c_str(), W_OK) != 0)
        e_.stop("files", line_of("cannot open ", quoted{path}, " again: ", static_cast<errc>(errno)),
                "make it accessible");
      else if (!writes && access(path.c_str(), R_OK) != 0)
        e_.stop("files", line_of("cannot open ", quoted{path}, " again: ", static_cast<errc>(errno)),
                "make it accessible");
      else if (writes && stat(path.c_str(), &st) == 0 && static_cast<u64>(st.st_size) > file.size)
        e_.mention("files", line_of("file ", quoted{path}, " has grown since: the program writes where it was"),
                   "--files=rewind cuts it first and keeps the rest beside it");
    }
  }
  bool is_object(const state::open_file& f) {
    for (const auto& o : image_.all<state::shared_object>())
      if (o.fields.kind == state::object_kind::named && o.fields.inode == f.inode &&
          o.fields.device == f.device)
        return true;
    return false;
  }

  void look_at_objects() {
    for (const auto& [o, tail] : image_.all<state::shared_object>()) {
      if (o.kind != state::object_kind::named) continue;
      const std::string path(text_of_bytes(tail));
      struct stat st {};
      if (stat(path.c_str(), &st) != 0) {
        if (errno != ENOENT)
          e_.stop("files", line_of("cannot look at the mapped file ", quoted{path}, ": ",
                                   static_cast<errc>(errno)), "make it accessible");
        else if (!o.flags.has(state::object_flag::whole))
          e_.stop("files", line_of("the mapped file ", quoted{path}, " has vanished"), "put it back");
        else
          e_.mention("files", line_of("the mapped file ", quoted{path}, " is made again"));
      } else if (!S_ISREG(st.st_mode)) {
        e_.stop("files", line_of("the mapped file ", quoted{path}, " was replaced by something else"),
                "put it back");
      } else if (const i64 modified = st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
                 modified != o.modified_ns || static_cast<u64>(st.st_size) != o.size) {
        e_.mention("files", line_of("the mapped file ", quoted{path}, " has been written to since: where it "
                                    "differs, it is kept as ", quoted{path}, ".after-ckpt and the saved bytes "
                                    "go back"), "--files=keep takes it as it is");
      }
    }
  }

  void look_at_directory() {
    const std::string path(image_.text(state::text_kind::directory));
    if (access(path.c_str(), X_OK) == 0) return;
    e_.stop("directory", line_of("cannot go to the working directory ", quoted{path}, ": ",
                                 static_cast<errc>(errno)), "create it");
  }

  /// Memory of all kinds that the restart fills, and what the machine has.
  void look_at_memory() {
    const u64 needed = image_.header().data_size;
    u64 mappings = 0, reserved = 0, lowest = ~u64{0};
    for (const auto& s : image_.all<state::segment>()) {
      ++mappings;
      lowest = std::min(lowest, s.fields.address.get());
      if (s.fields.protection.has(state::protection::write)) reserved += s.fields.length;
    }
    e_.tell("mappings", mappings, count_of(mappings, "mapping"));
    const std::string info = text_of("/proc/meminfo");
    const auto kib = [&](std::string_view key) {
      return proc::number_of<u64>(info, key).value_or(0) * 1024;
    };
    const u64 available = kib("MemAvailable") + kib("SwapFree");
    const auto short_of = [&](std::string_view what, u64 has, std::string cure) {
      e_.stop("memory", line_of("cannot load the program's memory: it needs ", size_text(needed), ", and ", what,
                                " ", size_text(has)), std::move(cure));
    };
    if (available != 0 && available < needed) short_of("available are", available, "free memory, or add swap");
    if (const auto [limit, used] = group_memory(); limit != 0 && limit < needed + used)
      short_of("the control group has", limit > used ? limit - used : 0,
               "raise memory.max of the control group or the container");
    if (number_in("/proc/sys/vm/overcommit_memory", 0) == 2 &&
        kib("CommitLimit") < kib("Committed_AS") + reserved)
      short_of("the commit limit leaves",
               kib("CommitLimit") - std::min(kib("CommitLimit"), kib("Committed_AS")),
               "vm.overcommit_memory=0, or vm.overcommit_ratio higher");
    rlimit limit{};
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < needed)
      short_of("RLIMIT_AS is", limit.rlim_cur, "ulimit -v unlimited");
    const u64 most = number_in("/proc/sys/vm/max_map_count", 65530);
    constexpr u64 others = 64;  // what the restarter has for a while
    if (mappings + others > most)
      e_.stop("memory", line_of("it has ", mappings, " mappings, and vm.max_map_count is ", most),
              line_of("vm.max_map_count=", mappings + 1000));
    if (const u64 floor = number_in("/proc/sys/vm/mmap_min_addr", 0); lowest < floor && geteuid() != 0)
      e_.stop("memory", line_of("it has memory at ", hex{lowest}, ", and vm.mmap_min_addr is ", floor),
              line_of("vm.mmap_min_addr=", lowest));
  }
  struct group {
    u64 limit = 0, used = 0;
  };
  /// Of the control group that restarts it, of either version; 0 where there is none.
  static group group_memory() {
    const std::string text = text_of("/proc/self/cgroup");
    group tightest;
    for (std::size_t from = 0; from < text.size();) {
      const std::string line = text.substr(from, text.find('\n', from) - from);
      from += line.size() + 1;
      const auto first = line.find(':'), second = line.find(':', first + 1);
      if (second == std::string::npos) continue;
      const std::string controllers = line.substr(first + 1, second - first - 1);
      std::string path = line.substr(second + 1);
      const bool unified = controllers.empty();
      if (!unified && controllers.find("memory") == std::string::npos) continue;
      const std::string root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
      for (;;) {
        const std::string at = root + (path == "/" ? "" : path);
        const u64 limit = number_in(at + (unified ? "/memory.max" : "/memory.limit_in_bytes"), 0);
        constexpr u64 none = u64{1} << 60;
        if (limit != 0 && limit < none && (tightest.limit == 0 || limit < tightest.limit))
          tightest = {limit,
                      number_in(at + (unified ? "/memory.current" : "/memory.usage_in_bytes"), 0)};
        const auto slash = path.rfind('/');
        if (slash == std::string::npos || path == "/") break;
        path = slash == 0 ? "/" : path.substr(0, slash);
      }
    }
    return tightest;
  }

  void look_at_vdso() {
    for (const auto& s : image_.all<state::segment>()) {
      if (s.fields.kind != state::segment_kind::vdso) continue;
      const auto* here = reinterpret_cast<const std::byte*>(getauxval(AT_SYSINFO_EHDR));
      std::vector<std::byte> saved(s.fields.length);
      bool same = false;
      try {
        tools::program_memory memory(image_);
        if (here != nullptr && memory.run_from(s.fields.address).length() >= saved.size()) {
          memory.read(s.fields.address, saved);
          same = std::memcmp(saved.data(), here, saved.size()) == 0;
        }
      } catch (const tools::image_error&) {
        return;
      }
      e_.tell("vdso", same, same ? "this kernel's" : "of another build: its functions lead to this kernel's");
    }
  }

  void look_at_limits() {
    const auto caller = state::caller::now();
    constexpr int cap_sys_resource = 24;
    for (const auto& [limit, tail] : image_.all<state::resource_limit>()) {
      rlimit now{};
      const auto which = static_cast<__rlimit_resource>(limit.resource.get());
      if (getrlimit(which, &now) != 0 || limit.hard <= now.rlim_max || caller.can(cap_sys_resource)) continue;
      e_.lose("limits", line_of("the hard limit on ", name_of_limit(static_cast<int>(which)), ": it was ",
                                shown_limit(limit.hard), " and is ", shown_limit(now.rlim_max)),
              "raise it before the restart (ulimit -H)");
    }
    rlimit files{};
    u64 highest = 0;
    for (const auto& d : image_.all<state::descriptor>())
      highest = std::max<u64>(highest, static_cast<u64>(d.fields.number.get()) + 1);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && highest > files.rlim_max)
      e_.stop("limits", line_of("it has descriptor ", highest - 1, ", and RLIMIT_NOFILE is ", files.rlim_max),
              "ulimit -Hn");
    const u64 threads = image_.all<state::thread>().size();
    rlimit processes{};
    if (geteuid() != 0 && getrlimit(RLIMIT_NPROC, &processes) == 0 && threads > processes.rlim_cur)
      e_.stop("limits", line_of("it has ", threads, " threads, and RLIMIT_NPROC is ", processes.rlim_cur),
              "ulimit -u");
  }
  static std::string shown_limit(u64 value) {
    return value == ~u64{0} ? "unlimited" : std::to_string(value);
  }
  static std::string name_of_limit(int number) {
    constexpr std::array<const char*, 16> names = {
        "RLIMIT_CPU",    "RLIMIT_FSIZE",  "RLIMIT_DATA",  "RLIMIT_STACK",  "RLIMIT_CORE",       "RLIMIT_RSS",
        "RLIMIT_NPROC",  "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS",   "RLIMIT_LOCKS",      "RLIMIT_SIGPENDING",
        "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME"};
    return number >= 0 && number < 16 ? names[static_cast<std::size_t>(number)] : "resource " + std::to_string(number);
  }

  tools::image_file& image_;
  const std::string& path_;
  examination& e_;
};

}  // namespace

void look_at_image(const std::string& path, examination& e) {
  e.of = subject::image;
  e.title = path;
  try {
    tools::image_file image(path);
    tools::verify_data(image);
    image_look(image, path, e).look();
  } catch (const tools::image_error& error) {
    e.stop("image", error.what(), "copy it again from where it is whole");
  }
}

}  // namespace ckpt::doctor
