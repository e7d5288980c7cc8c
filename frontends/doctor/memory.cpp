// SPDX-License-Identifier: MIT
//
// The mappings of a process, by the rules of a checkpoint (include/ckpt/state/mapping_kind.hpp), and how
// large an image would become.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "ckpt/image/window.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/state/mapping_kind.hpp"
#include "looks.hpp"

namespace ckpt::doctor {
namespace {

/// What stands behind mappings, shared or not.
struct object {
  struct part {
    range where;  // offsets in it
    bool shared;
  };
  std::vector<part> parts;
  maps::mapping_head first;
  std::string shown;
  state::object_kind kind{};
  bool is_object = false;
  bool may_write = false;
  u64 elsewhere = 0, mappings = 0, attached = 0;
  u64 present = 0, bytes = 0;
};

class mappings {
 public:
  mappings(const proc_view& p, process_facts& known, examination& e) : p_(p), known_(known), e_(e) {}

  result<void> on_mapping(const maps::mapping_head& head) {
    head_ = head;
    name_.clear();
    flags_ = {};
    present_ = elsewhere_ = locked_ = 0;
    return {};
  }
  result<void> on_name(std::string_view piece) {
    name_ += piece;
    return {};
  }
  result<void> on_kilobytes(std::string_view key, u64 kilobytes) {
    if (key == "Rss" || key == "Swap") present_ += kilobytes * 1024;
    if (key == "Shared_Clean" || key == "Shared_Dirty") elsewhere_ += kilobytes * 1024;
    if (key == "Locked") locked_ += kilobytes * 1024;
    return {};
  }
  result<void> on_flags(maps::vm_flags flags) {
    flags_ = flags;
    return {};
  }
  result<void> on_mapping_end() {
    ++count_;
    lock_bytes_ += locked_;
    if (head_.where.end <= u64{1} << 47) taken_.push_back(head_.where);
    report why;
    const auto kind = state::kind_of_mapping(head_, name_, flags_, why);
    if (!kind.ok()) {
      refuse(why);
      return {};
    }
    object& o = objects_[{head_.device, head_.inode}];
    if (head_.inode != 0) o.parts.push_back({{head_.offset, head_.offset + head_.where.length()},
                                             *kind == state::segment_kind::shared});
    switch (*kind) {
      case state::segment_kind::shared: add_shared(o); break;
      case state::segment_kind::private_file: bytes_ += bytes_of_file(); break;
      case state::segment_kind::anonymous:
      case state::segment_kind::stack:
        if (!flags_.has(maps::vm_flag::wipe_on_fork) && !flags_.has(maps::vm_flag::droppable))
          bytes_ += present_;
        break;
      case state::segment_kind::vdso: bytes_ += head_.where.length(); break;
      default: break;
    }
    return {};
  }

  void finish() {
    for (auto& [id, o] : objects_) {
      if (!o.is_object) continue;
      bytes_ += std::max(o.bytes, o.present);
      report why;
      if (o.kind != state::object_kind::named && o.may_write && o.elsewhere != 0 && !is_seen_twice(o)) {
        (void)state::refuse_mapped_elsewhere(o.shown, why);
        e_.stop("memory", why.line(), "end the other process, or wait until one of them has unmapped it");
      } else if (o.kind == state::object_kind::system_v && o.attached > o.mappings) {
        (void)state::refuse_attached_elsewhere(o.shown, why);
        e_.stop("memory", why.line(), "end the other process, or wait until it has detached it");
      }
    }
    look_for_window();
    constexpr u64 per_mapping = 150, per_thread = 4096, per_descriptor = 250, fixed = 160 * 1024;
    known_.mappings = count_;
    known_.image_bytes += bytes_ + count_ * per_mapping + known_.threads.size() * per_thread +
                          known_.descriptors * per_descriptor + fixed;
    e_.tell("mappings", count_, count_of(count_, "mapping"));
    rlimit limit{};
    if (lock_bytes_ != 0 && geteuid() != 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
        limit.rlim_cur < lock_bytes_)
      e_.lose("locked", line_of(size_text(lock_bytes_), " of locked memory: RLIMIT_MEMLOCK here lets ",
                                size_text(limit.rlim_cur), " be locked"), "raise RLIMIT_MEMLOCK");
  }

 private:
  void refuse(const report& why) {
    e_.stop("memory", why.line(),
            "unmap it before the checkpoint, or leave it out with ckpt_region, which is not seen from here");
  }

  [[nodiscard]] std::string path() const {
    std::string copy = name_;
    const auto shown = maps::unescape({copy.data(), copy.size()});
    return std::string(shown);
  }
  [[nodiscard]] bool leads_here(const std::string& path, sys::abi::stat& st) const {
    if (!path.starts_with('/')) return false;
    const rights_of program(p_.uid, p_.gid);
    return sys::newfstatat(sys::abi::at_fdcwd, p_.seen(path).c_str(), st, 0).ok() &&
           state::is_mapped_file(st, head_.device, head_.inode);
  }
  /// What the file has there, whether the program has looked at it or not.
  [[nodiscard]] u64 bytes_of_file() const {
    sys::abi::stat st{};
    if (struct stat open_file {}; !leads_here(path(), st)) {
      if (!look_at_open(open_file)) return present_;
      st.st_size = open_file.st_size, st.st_blocks = open_file.st_blocks;
    }
    const u64 size = page_up(static_cast<u64>(st.st_size));
    const u64 of_mapping = size > head_.offset ? std::min(size - head_.offset, head_.where.length()) : 0;
    const u64 on_disk = page_up(static_cast<u64>(st.st_blocks) * 512);
    return std::max(std::min(of_mapping, on_disk), std::min(present_, of_mapping));
  }

  void add_shared(object& o) {
    const bool may_write = flags_.has(maps::vm_flag::may_write);
    if (!o.is_object) {
      report why;
      o.first = head_, o.shown = name_;
      const auto known = identify(o, may_write, why);
      if (!known.ok()) return refuse(why);
      if (o.kind == state::object_kind{}) {
        bytes_ += bytes_of_file();
        return;
      }
      o.is_object = true;
    }
    o.may_write = o.may_write || may_write;
    o.elsewhere += elsewhere_;
    o.present += present_;
    ++o.mappings;
  }

  result<void> identify(object& o, bool may_write, report& why) {
    sys::abi::stat st{};
    const std::string name = path();
    if (leads_here(name, st)) {
      o.kind = state::object_kind::named;
      o.bytes = std::min(static_cast<u64>(st.st_size), static_cast<u64>(st.st_blocks) * 512);
      return {};
    }
    o.kind = CKPT_TRY(state::kind_of_object(head_, name_, name, may_write, why));
    if (o.kind == state::object_kind::system_v) {
      const auto segment = state::look_at_system_v(head_.inode);
      if (!segment.ok() && !p_.same_namespace("ipc")) {
        e_.miss("memory", line_of("the System V segment ", quoted{name_}, " of another namespace"));
        return {};
      }
      if (!segment.ok() || !segment->removed) return state::refuse_system_v(head_, name_, why);
      o.attached = segment->attached;
    }
    if (o.kind == state::object_kind::deleted) {
      struct stat file {};
      if (look_at_open(file) && file.st_nlink != 0) return state::refuse_other_name(head_, name_, why);
    }
    return {};
  }
  /// By a descriptor, or by the mapping where that is permitted.
  bool look_at_open(struct stat& to) const {
    for (const auto& f : known_.files)
      if (f.device == head_.device && f.inode == head_.inode)
        return stat(p_.path("fd/" + std::to_string(f.fd)).c_str(), &to) == 0;
    const auto ends = line_of("map_files/", address_range{head_.where.begin, head_.where.end});
    return stat(p_.path(ends).c_str(), &to) == 0;
  }

  static bool is_seen_twice(const object& o) {
    for (std::size_t i = 0; i < o.parts.size(); ++i)
      for (std::size_t j = 0; j < o.parts.size(); ++j)
        if (i != j && o.parts[i].shared && o.parts[i].where.overlaps(o.parts[j].where)) return true;
    return false;
  }

  /// Room for the restarter, with what it needs beside it.
  void look_for_window() {
    const u64 table = bytes_ / format::default_block_size * sizeof(u64);
    constexpr u64 restarter = u64{512} * 1024;
    const u64 size = image::window_layout::size_for(restarter, count_ * 200 + 65536, table);
    const auto visit_all = [&](auto&& visit) {
      for (const range r : taken_) visit(r);
    };
    if (image::find_hole(size, page_size, visit_all).ok()) return;
    const u64 lowest = std::max(image::window_floor, page_up(number_in("/proc/sys/vm/mmap_min_addr", 0)));
    if (image::find_hole(size, page_size, visit_all, {}, lowest).ok()) return;
    e_.stop("memory", line_of("no hole of ", size, " bytes below ", hex{image::window_limit},
                              " for the restarter"),
            "none: the program has filled the lower part of its address space");
  }

  const proc_view& p_;
  process_facts& known_;
  examination& e_;
  maps::mapping_head head_;
  std::string name_;
  maps::vm_flags flags_;
  u64 present_ = 0, elsewhere_ = 0, locked_ = 0;
  u64 count_ = 0, bytes_ = 0, lock_bytes_ = 0;
  std::vector<range> taken_;
  std::map<std::pair<u64, u64>, object> objects_;
};

}  // namespace

void look_at_memory(const proc_view& p, process_facts& known, examination& e) {
  const sys::unique_fd smaps(open(p.path("smaps").c_str(), O_RDONLY | O_CLOEXEC));
  if (!smaps) return e.miss("memory", "its memory (/proc/PID/smaps)");
  mappings handler(p, known, e);
  sys::linux_files kernel;
  std::vector<char> text(256 * 1024);
  if (const auto r = maps::parse_file(kernel, smaps.get(), std::span(text), handler); !r.ok())
    return e.miss("memory", line_of("all of its memory: ", r.error()));
  handler.finish();

  // What the agent works in, and the agent.
  const std::string limits = p.text("limits");
  const u64 mapped = proc::number_of<u64>(p.text("status"), "VmSize").value_or(0) * 1024;
  constexpr u64 least = u64{4} << 20, agent = u64{5} << 19;
  unsigned long long limit = 0;
  if (const auto at = limits.find("\nMax address space"); at != std::string::npos &&
      std::sscanf(limits.c_str() + at, "\nMax address space %llu", &limit) == 1) {
    const u64 left = limit > mapped ? limit - mapped : 0;
    if (left < least + (known.agent ? 0 : agent))
      e.stop("limits",
             left < least ? line_of("cannot reserve working memory: ", static_cast<errc>(ENOMEM))
                          : line_of("it cannot map the agent: ", static_cast<errc>(ENOMEM)),
             line_of("prlimit --as=unlimited --pid ", p.pid()));
  }
}

}  // namespace ckpt::doctor
