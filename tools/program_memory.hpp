// SPDX-License-Identifier: MIT
//
// The program's memory as the image has it, by address: what no extent names is zero.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "image_file.hpp"

namespace ckpt::tools {

class program_memory {
 public:
  explicit program_memory(image_file& image);

  struct mapping {
    state::segment segment;
    std::string_view name;
    u64 bytes_in_image;

    [[nodiscard]] range where() const {
      return {segment.address, segment.address + segment.length};
    }
  };
  /// In ascending order of address.
  [[nodiscard]] const std::vector<mapping>& mappings() const { return mappings_; }
  [[nodiscard]] const mapping* find(u64 address) const;
  /// How far memory with contents goes on from `address` without a gap; empty when it is nowhere.
  [[nodiscard]] range run_from(u64 address) const;
  /// The caller knows the range to lie within run_from(). Throws image_error for damaged data.
  void read(u64 address, mutable_bytes to);
  /// The address whose byte lies at that offset of the data, if it is the program's memory.
  [[nodiscard]] std::optional<u64> address_of_data(u64 offset) const;

 private:
  void read(const std::vector<state::extent>& extents, u64 address, mutable_bytes to);

  image_file& image_;
  std::vector<mapping> mappings_;
  std::vector<state::extent> extents_;
  std::map<u64, std::vector<state::extent>> objects_;
};

}  // namespace ckpt::tools
