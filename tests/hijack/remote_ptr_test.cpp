// SPDX-License-Identifier: MIT
//
// An address elsewhere can be moved and compared, and not followed.
#include "remote_ptr.hpp"

#include "support/catch.hpp"

namespace ckpt::hijack {
namespace {

template <class T>
concept followed = requires(T p) {
  *p;
}
|| requires(T p) {
  p[0];
}
|| requires(T p) {
  static_cast<const void*>(p);
};
static_assert(followed<int*>);
static_assert(!followed<remote_ptr<int>>);
static_assert(!followed<remote_address>);

TEST_CASE("arithmetic is in elements, of bytes where there is no type") {
  const remote_ptr<u64> p(0x1000);
  CHECK((p + 2).address() == 0x1010);
  CHECK((p - 1).address() == 0xff8);
  CHECK((p.as<void>() + 3).address() == 0x1003);
  CHECK(p < p + 1);
  CHECK(remote_address().null());
}

}  // namespace
}  // namespace ckpt::hijack
