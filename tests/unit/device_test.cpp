// SPDX-License-Identifier: MIT
//
// maps/device.hpp against makedev(3).
#include "ckpt/maps/device.hpp"

#include <sys/sysmacros.h>

#include "support/catch.hpp"

using namespace ckpt;

TEST_CASE("a device number is what makedev makes of its parts") {
  STATIC_REQUIRE(maps::device_number(0xfe, 0) == 0xfe00);
  for (const unsigned major : {0u, 1u, 0xfeu, 0xfffu, 0x1000u, 0xffffffffu})
    for (const unsigned minor : {0u, 1u, 0xffu, 0x100u, 0xfffffu, 0xffffffffu})
      CHECK(maps::device_number(major, minor) == makedev(major, minor));
}
