// SPDX-License-Identifier: MIT
//
// Where the image would be written: its name, its directory, and whether there is room.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "ckpt/image/temporary_name.hpp"
#include "ckpt/options/name_pattern.hpp"
#include "ckpt/state/refusals.hpp"
#include "looks.hpp"

namespace ckpt::doctor {
namespace {

constexpr u64 longest_path = 4095;
constexpr const char* another_place = "another place with -n, or room and permission there";

class destination {
 public:
  destination(const proc_view& p, const process_facts& known, examination& e)
      : p_(p), known_(known), e_(e) {}

  void look(const std::string& name) {
    report why;
    const std::string_view base = options::base_of(name);
    if (name.size() > longest_path) {
      (void)state::refuse_long_name(why);
      return e_.stop("name", why.line(), "a shorter one with -n");
    }
    if (base.size() > options::longest_file_name) {
      (void)state::refuse_long_file_name(why, base);
      return e_.stop("name", why.line(), "a shorter one with -n");
    }
    const std::string directory = name.substr(0, name.size() - base.size());
    fixed_text<4200> temporary;
    image::append_temporary_name(temporary, name);
    const rights_of program(p_.uid, p_.gid);
    const std::string here = p_.seen(directory);
    const auto cannot = [&](int error) {
      e_.stop("name", line_of("cannot create ", quoted{temporary.view()}, ": ", static_cast<errc>(error)),
              another_place);
    };
    if (faccessat(AT_FDCWD, here.c_str(), W_OK | X_OK, AT_EACCESS) != 0) return cannot(errno);
    struct stat st {};
    if (stat(p_.seen(name).c_str(), &st) == 0 && S_ISDIR(st.st_mode))
      return e_.stop("name", line_of("cannot write ", quoted{name}, ": ", static_cast<errc>(EISDIR)),
                     "another name with -n");
    if (lstat(p_.seen(name).c_str(), &st) == 0 && !state::may_be_replaced(st.st_mode)) {
      (void)state::refuse_replaced(why, name);
      return e_.stop("name", why.line(), "another name with -n");
    }
    look_at_space(name, here);
  }

 private:
  void look_at_space(const std::string& name, const std::string& here) {
    struct statvfs of {};
    if (statvfs(here.c_str(), &of) != 0) return e_.miss("space", "the file system of the image");
    const u64 blocks = p_.uid == 0 ? of.f_bfree : of.f_bavail;
    const u64 free = blocks * (of.f_frsize != 0 ? of.f_frsize : of.f_bsize);
    // Some file systems count nothing.
    if (of.f_blocks != 0 && free < known_.image_bytes)
      e_.stop("space", line_of("cannot write ", quoted{name}, ": ", static_cast<errc>(ENOSPC), " (about ",
                               size_text(known_.image_bytes), " are needed, ", size_text(free), " are free)"),
              another_place);
    if ((of.f_flag & ST_NOEXEC) != 0)
      e_.mention("name", line_of("images on the file system of ", quoted{name}, " cannot be run (noexec)"),
              line_of("ckpt-restart ", quoted{name}));
    unsigned long long limit = 0;
    const std::string limits = p_.text("limits");
    const auto at = limits.find("\nMax file size");
    if (at != std::string::npos && std::sscanf(limits.c_str() + at, "\nMax file size %llu", &limit) == 1 &&
        limit < known_.image_bytes)
      e_.stop("limits", line_of("cannot write ", quoted{name}, ": ", static_cast<errc>(EFBIG), " (about ",
                                size_text(known_.image_bytes), " are needed, the limit is ",
                                size_text(limit), ")"),
              line_of("prlimit --fsize=unlimited --pid ", p_.pid()));
  }

  const proc_view& p_;
  const process_facts& known_;
  examination& e_;
};

}  // namespace

void look_at_destination(const proc_view& p, const wishes& w, const process_facts& known,
                         examination& e) {
  e.tell("image_bytes", known.image_bytes, "about " + size_text(known.image_bytes) + " in an image");
  if (w.name.empty()) {
    e.miss("name", "where its agent writes images", "-n NAME says where");
    return;
  }
  utsname names{};
  (void)uname(&names);
  const std::string number = std::to_string(p.pid());
  fixed_text<4200> name;
  (void)options::expand_name(w.name, {number, 1, std::time(nullptr), names.nodename}, name);
  e.tell("image", std::string(name.view()), std::string(name.view()));
  destination(p, known, e).look(std::string(name.view()));
}

}  // namespace ckpt::doctor
