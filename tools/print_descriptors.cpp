// SPDX-License-Identifier: MIT
//
// Descriptors beside the open files they share. Letters, as in --help: r w the access mode,
// a O_APPEND, n O_NONBLOCK, d O_DIRECT, s O_SYNC or O_DSYNC, y O_ASYNC, p O_PATH, c close-on-exec.
#include <fcntl.h>

#include <map>

#include "ckpt/sys/abi.hpp"
#include "columns.hpp"
#include "commands.hpp"
#include "enumerators.hpp"
#include "printable.hpp"

namespace ckpt::tools {

namespace {

std::string flag_letters(u32 status, u32 descriptor) {
  namespace abi = sys::abi;
  const int flags = static_cast<int>(status);
  std::string letters;
  const bool path_only = (flags & abi::o_path) == abi::o_path;
  const int access = flags & abi::o_accmode;
  if (!path_only && access != abi::o_wronly) letters += 'r';
  if (!path_only && access != abi::o_rdonly) letters += 'w';
  if ((flags & abi::o_append) != 0) letters += 'a';
  if ((flags & abi::o_nonblock) != 0) letters += 'n';
  if ((flags & abi::o_direct) != 0) letters += 'd';
  if ((flags & (O_SYNC | O_DSYNC)) != 0) letters += 's';
  if ((flags & abi::o_async) != 0) letters += 'y';
  if (path_only) letters += 'p';
  if ((descriptor & abi::fd_cloexec) != 0) letters += 'c';
  return letters;
}

void print_locks(const image_file& image, std::ostream& out) {
  const auto locks = image.all<state::file_lock>();
  if (locks.empty()) return;
  columns table({">FILE", "LOCK", "KIND", ">FROM", "BYTES"});
  for (const auto& [l, tail] : locks)
    table.add({std::to_string(l.open_file), l.exclusive != 0 ? "write" : "read",
               spoken_name(l.kind.get()), std::to_string(l.start),
               l.length == 0 ? "to the end" : std::to_string(l.length)});
  out << '\n';
  table.print(out);
}

void print_pipes(const image_file& image, std::ostream& out) {
  const auto pipes = image.all<state::pipe_content>();
  if (pipes.empty()) return;
  columns table({"PIPE", ">HOLDS", ">OF"});
  for (const auto& [p, content] : pipes)
    table.add({"pipe:[" + std::to_string(p.inode) + "]", std::to_string(content.size()),
               std::to_string(p.capacity)});
  out << '\n';
  table.print(out);
}

void print_epolls(const image_file& image, std::ostream& out) {
  columns table({">EPOLL", ">FD", ">FILE", ">EVENTS", ">DATA"});
  bool any = false;
  for (const auto& [e, tail] : image.all<state::epoll>())
    for (u64 i = 0; i < e.count; ++i) {
      const auto entry = state::epoll_entry_at(tail, i);
      table.add({std::to_string(e.open_file), std::to_string(entry.descriptor),
                 std::to_string(entry.open_file), hex_number(entry.events),
                 hex_number(entry.data)});
      any = true;
    }
  if (!any) return;
  out << '\n';
  table.print(out);
}

void print_sockets(const image_file& image, std::ostream& out) {
  const auto sockets = image.all<state::socket_end>();
  if (sockets.empty()) return;
  columns table({">SOCKET", ">PEER", "TYPE", ">HOLDS"});
  for (const auto& [s, tail] : sockets) {
    u64 held = 0;
    (void)state::for_each_message(tail, [&](bytes message) { held += message.size(); });
    table.add({std::to_string(s.open_file),
               s.peer == state::no_peer ? "closed" : std::to_string(s.peer),
               s.type == u32{sys::abi::sock_stream}  ? "stream"
               : s.type == u32{sys::abi::sock_dgram} ? "datagrams"
                                                     : "packets",
               std::to_string(held)});
  }
  out << '\n';
  table.print(out);
}

}  // namespace

void print_descriptors(const image_file& image, std::ostream& out) {
  std::map<u32, found<state::open_file>> files;
  for (const auto& file : image.all<state::open_file>()) files.insert({file.fields.id, file});
  columns table({">FD", ">FILE", "KIND", "FLAGS", ">OFFSET", ">SIZE", "PATH"});
  for (const auto& [d, no_tail] : image.all<state::descriptor>()) {
    const auto& [f, path] = files.at(d.open_file);
    const bool has_offset =
        f.kind == state::file_kind::regular || f.kind == state::file_kind::deleted;
    // Its size is whatever is there.
    const bool given = f.marks.has(state::file_mark::as_given);
    table.add({std::to_string(d.number), std::to_string(f.id),
               given ? "given" : spoken_name(f.kind.get()),
               flag_letters(f.flags, d.flags), has_offset ? std::to_string(f.offset) : "",
               has_offset && !given ? std::to_string(f.size) : "", printable(text_of_bytes(path))});
  }
  table.print(out);
  print_locks(image, out);
  print_pipes(image, out);
  print_epolls(image, out);
  print_sockets(image, out);
}

}  // namespace ckpt::tools
