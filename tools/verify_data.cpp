// SPDX-License-Identifier: MIT
#include "verify_data.hpp"

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

}  // namespace

void verify_rest(image_file& image) {
  report why;
  if (!image::check_agent(image.header(), image.metadata(), why).ok())
    throw image_error(std::string(why.line()));
  if (!image.padding_is_zero()) throw image_error("damaged between metadata and data");
}

damaged_blocks find_damage(image_file& image, const std::function<void(u64)>& at) {
  constexpr std::size_t most = 1000;
  damaged_blocks found;
  for (u64 i = 0; i < image.block_count(); ++i) {
    at(i);
    if (image.verify_block(i)) continue;
    ++found.count;
    if (found.first.size() < most) found.first.push_back(i);
  }
  return found;
}

void refuse_damage(image_file& image, const damaged_blocks& damage) {
  if (damage.count == 0) return;
  const u64 first = damage.first.front();
  throw image_error(std::to_string(damage.count) + " of " + std::to_string(image.block_count()) +
                    " blocks of the data are damaged (checksum mismatch), the first is block " +
                    std::to_string(first) + where_text(image, first));
}

void verify_data(image_file& image) {
  verify_rest(image);
  refuse_damage(image, find_damage(image, [](u64) {}));
}

}  // namespace ckpt::tools
