// SPDX-License-Identifier: MIT
//
// The record of machine and moment is what uname(2) and the clocks say.
#include "ckpt/state/host.hpp"

#include <sys/utsname.h>

#include <ctime>

#include "support/catch.hpp"
#include "support/image_builder.hpp"

namespace ckpt::state {
namespace {

TEST_CASE("the host is captured as the C library sees it") {
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  const auto before = std::time(nullptr);
  REQUIRE(capture_host(out, 10203).ok());
  const auto after = std::time(nullptr);

  const auto view = format::record_cursor(out.view()).next();
  REQUIRE(view.ok());
  REQUIRE(view->type == format::record_type::host);
  const auto h = *wire::decode<host>(view->fixed);
  ::utsname names{};
  ::uname(&names);
  CHECK(h.node.view() == std::string_view(names.nodename).substr(0, 64));
  CHECK(h.release.view() == std::string_view(names.release).substr(0, 64));
  CHECK(h.architecture.view() == names.machine);
  CHECK(text_of_bytes(view->tail) == names.version);
  CHECK(h.writer_version == 10203);
  CHECK(h.realtime_ns / 1'000'000'000 >= before);
  CHECK(h.realtime_ns / 1'000'000'000 <= after);
  CHECK(h.monotonic_ns > 0);
  CHECK(h.boottime_ns >= h.monotonic_ns);
}

TEST_CASE("a clock that does not exist is zero") {
  CHECK(nanoseconds_of(9999) == 0);
}

}  // namespace
}  // namespace ckpt::state
