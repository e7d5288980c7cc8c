// SPDX-License-Identifier: MIT
//
// A shared object that needs no loader's help beyond mapping and relative relocations, as
// libckpt.so is: read from its file, and mapped into another process as ld.so would have mapped it.
#pragma once

#include <string>
#include <vector>

#include "ckpt/base/range.hpp"
#include "ckpt/base/text.hpp"
#include "remote_call.hpp"

namespace ckpt::hijack {

/// What is to be mapped, relative to a base that is not known yet.
class shared_object {
 public:
  /// Everything in the file is checked; what this loader cannot do (other libraries, symbols,
  /// thread-local storage, other relocations) is refused by name.
  result<void> read(const std::string& path, report& why);
  /// The same from memory, for a file's whole contents.
  result<void> parse(std::vector<std::byte> file, report& why);

  struct segment {
    range memory;     // whole pages
    u64 file_offset;  // of the first page
    u64 file_end;     // address behind the last byte that comes from the file
    int protection;   // PROT_*
  };
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::vector<segment>& segments() const { return segments_; }
  [[nodiscard]] u64 length() const { return segments_.back().memory.end; }
  [[nodiscard]] range read_only_after_relocation() const { return relro_; }
  /// Addresses of the functions to be called, in this order.
  [[nodiscard]] const std::vector<u64>& constructors() const { return constructors_; }
  /// The bytes of a segment from an address of its on, relocated for a base; zeros behind what comes
  /// from the file.
  void relocated(const segment& s, u64 base, u64 from, mutable_bytes to) const;

 private:
  struct relocation {
    u64 where;
    u64 addend;
  };
  template <class T>
  [[nodiscard]] result<T> at(u64 offset) const;
  [[nodiscard]] result<u64> file_offset_of(u64 address, u64 length) const;
  result<void> read_segments(report& why);
  result<void> read_dynamic(report& why);
  result<void> read_relocations(u64 address, u64 size, u64 symbols, report& why);
  result<void> read_constructors(u64 address, u64 size);

  std::string path_;
  std::vector<std::byte> file_;
  std::vector<segment> segments_;
  std::vector<relocation> relocations_;
  std::vector<u64> constructors_;
  range dynamic_;
  range relro_;
};

/// Maps `object` into the process of `caller`, where the kernel likes, and returns its base.
/// `scratch` is memory there that holds the path for a moment.
result<u64> map(const shared_object& object, tracee& t, remote_caller& caller,
                remote_address scratch, report& why);

}  // namespace ckpt::hijack
