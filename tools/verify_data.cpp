// SPDX-License-Identifier: MIT
#include "verify_data.hpp"

#include <optional>

#include "ckpt/image/agent_place.hpp"
#include "image_error.hpp"
#include "printable.hpp"
#include "program_memory.hpp"

namespace ckpt::tools {

namespace {

std::string where_text(image_file& image, u64 block) {
  const program_memory memory(image);
  const auto address = memory.address_of_data(image.block(block).begin);
  return address ? ", at address " + address_text(*address) : "";
}

// What lies beside the data.
void verify_rest(image_file& image) {
  report why;
  if (!image::check_agent(image.header(), image.metadata(), why).ok())
    throw image_error(std::string(why.line()));
  if (!image.padding_is_zero()) throw image_error("damaged between metadata and data");
}

}  // namespace

void verify_data(image_file& image) {
  verify_rest(image);
  u64 damaged = 0;
  std::optional<u64> first;
  for (u64 i = 0; i < image.block_count(); ++i) {
    if (image.verify_block(i)) continue;
    ++damaged;
    if (!first) first = i;
  }
  if (first)
    throw image_error(std::to_string(damaged) + " of " + std::to_string(image.block_count()) +
                      " blocks of the data are damaged (checksum mismatch), the first is block " +
                      std::to_string(*first) + where_text(image, *first));
}

}  // namespace ckpt::tools
