// SPDX-License-Identifier: MIT
//
// maps/vm_flags.hpp: the set is part of the image format, so its bits are pinned here.
#include "ckpt/maps/vm_flags.hpp"

#include <bit>
#include <set>
#include <string>

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::maps;

TEST_CASE("every flag has one bit and two letters of its own") {
  u64 seen = 0;
  std::set<std::string> letters;
  for (const auto& [flag, text] : vm_flag_mnemonics) {
    const u64 bit = static_cast<u64>(flag);
    CAPTURE(text);
    CHECK(std::has_single_bit(bit));
    CHECK((seen & bit) == 0);
    seen |= bit;
    CHECK(text.size() == 2);
    CHECK(letters.insert(std::string(text)).second);
    CHECK(mnemonic(flag) == text);
    CHECK(flag_of(text) == flag);
  }
  CHECK((seen & static_cast<u64>(vm_flag::unknown)) == 0);
  CHECK(every_vm_flag.bits() == (seen | static_cast<u64>(vm_flag::unknown)));
}

TEST_CASE("bits of the image format do not move") {
  // In the order of their bits. A new flag is added at the end; nothing else here may change.
  constexpr std::string_view order =
      "rd wr ex sh mr mw me ms gd pf dw lo io sr rr dc de ac nr ht sf ar wf dd bt sd mm hg nh mg um"
      " uw mt ui ss sl lf dp gu ur mp";
  for (std::size_t bit = 0; bit * 3 < order.size(); ++bit) {
    CAPTURE(bit);
    CHECK(static_cast<u64>(flag_of(order.substr(bit * 3, 2))) == u64{1} << bit);
  }
  STATIC_REQUIRE(static_cast<u64>(vm_flag::unknown) == u64{1} << 63);
}

TEST_CASE("letters of no flag are unknown, and unknown is what the kernel writes for it") {
  STATIC_REQUIRE(flag_of("zz") == vm_flag::unknown);
  STATIC_REQUIRE(flag_of("??") == vm_flag::unknown);
  STATIC_REQUIRE(flag_of("") == vm_flag::unknown);
  STATIC_REQUIRE(flag_of("r") == vm_flag::unknown);
  STATIC_REQUIRE(mnemonic(vm_flag::unknown) == "??");
}

TEST_CASE("a set of flags") {
  constexpr vm_flags f = vm_flag::locked | vm_flag::dont_copy;
  STATIC_REQUIRE(f.has(vm_flag::locked));
  STATIC_REQUIRE(f.has(vm_flag::dont_copy));
  STATIC_REQUIRE(!f.has(vm_flag::sealed));
  STATIC_REQUIRE(vm_flags::from_bits(f.bits()) == f);
  STATIC_REQUIRE(vm_flags().empty());
  STATIC_REQUIRE(!f.empty());
  STATIC_REQUIRE((f | vm_flag::sealed).has(vm_flag::sealed));
}
