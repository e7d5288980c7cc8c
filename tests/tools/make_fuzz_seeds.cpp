// SPDX-License-Identifier: MIT
//
// make_fuzz_seeds DIRECTORY: writes the images the fuzzer starts from, after a change of the
// format.
#include <fstream>
#include <iostream>
#include <string>

#include "support/image_builder.hpp"

namespace {

using ckpt::test::image_builder;

void put(const std::string& path, const ckpt::test::image_bytes& image) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(image.data()), static_cast<long>(image.size()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "Usage: make_fuzz_seeds DIRECTORY\n";
    return 2;
  }
  const std::string directory = argv[1];
  put(directory + "/smallest", image_builder().build());
  put(directory + "/typical", image_builder::typical().build());
  auto unknown = image_builder::typical();
  unknown.block_size = 4 * ckpt::page_size;
  unknown.process.thread_count = 2u;
  unknown.unknown_record(0x7000, false).record(unknown.thread);
  put(directory + "/unknown_record", unknown.build());
}
