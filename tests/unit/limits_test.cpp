// SPDX-License-Identifier: MIT
//
// Limits are restored as far as the caller may, and never raised above his own.
#include "ckpt/state/limits.hpp"

#include <sys/resource.h>

#include <set>

#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/in_child.hpp"

namespace ckpt::state {
namespace {

resource_limit limit(u32 resource, u64 soft, u64 hard) {
  resource_limit l{};
  l.resource = resource;
  l.soft = soft;
  l.hard = hard;
  return l;
}

TEST_CASE("all limits of getrlimit(2) are captured") {
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  REQUIRE(capture_limits(out).ok());
  std::set<u32> seen;
  for (format::record_cursor cursor(out.view()); !cursor.done();) {
    const auto view = cursor.next();
    REQUIRE(view.ok());
    const auto l = *wire::decode<resource_limit>(view->fixed);
    ::rlimit now{};
    REQUIRE(::getrlimit(static_cast<__rlimit_resource>(l.resource.get()), &now) == 0);
    CHECK(l.soft == now.rlim_cur);
    CHECK(l.hard == now.rlim_max);
    seen.insert(l.resource);
  }
  CHECK(seen.size() == RLIM_NLIMITS);
}

TEST_CASE("a saved limit comes back") {
  CHECK(test::in_child([] {
          ::rlimit before{};
          ::getrlimit(RLIMIT_CORE, &before);
          const u64 hard = before.rlim_max < 4096 ? before.rlim_max : 4096;
          if (!restore_limit(limit(RLIMIT_CORE, hard / 2, hard)).ok()) return 1;
          ::rlimit now{};
          ::getrlimit(RLIMIT_CORE, &now);
          return now.rlim_cur == hard / 2 && now.rlim_max == hard ? 0 : 2;
        }) == 0);
}

TEST_CASE("a limit above the caller's own is cut to it") {
  CHECK(test::in_child([] {
          const ::rlimit own{100, 100};
          if (::setrlimit(RLIMIT_NOFILE, &own) != 0) return 1;
          // Root may raise it; then there is nothing to cut.
          const bool may_raise = ::geteuid() == 0;
          if (!restore_limit(limit(RLIMIT_NOFILE, 150, 200)).ok()) return 2;
          ::rlimit now{};
          ::getrlimit(RLIMIT_NOFILE, &now);
          if (may_raise && now.rlim_max == 200) return now.rlim_cur == 150 ? 0 : 3;
          return now.rlim_cur == 100 && now.rlim_max == 100 ? 0 : 4;
        }) == 0);
  CHECK(test::in_child([] {
          if (::geteuid() == 0 && ::setuid(65534) != 0) return 1;
          const ::rlimit own{100, 100};
          if (::setrlimit(RLIMIT_NOFILE, &own) != 0) return 2;
          if (!restore_limit(limit(RLIMIT_NOFILE, 150, 200)).ok()) return 3;
          ::rlimit now{};
          ::getrlimit(RLIMIT_NOFILE, &now);
          return now.rlim_cur == 100 && now.rlim_max == 100 ? 0 : 4;
        }) == 0);
}

TEST_CASE("a resource that does not exist is an error") {
  CHECK(restore_limit(limit(999, 1, 1)).error() == errc::invalid);
}

}  // namespace
}  // namespace ckpt::state
