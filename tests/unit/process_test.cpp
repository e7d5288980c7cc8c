// SPDX-License-Identifier: MIT
//
// umask and working directory come back; a directory that is gone is named with the cure.
#include "ckpt/state/process.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/in_child.hpp"

namespace ckpt::state {
namespace {

TEST_CASE("texts are records of their kind with the bytes in the tail") {
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  const std::string words("a\0b\0", 4);
  REQUIRE(add_text(out, text_kind::command_line, bytes_of_text(words)).ok());
  const auto view = format::record_cursor(out.view()).next();
  REQUIRE(view.ok());
  CHECK(wire::decode<text>(view->fixed)->kind == text_kind::command_line);
  CHECK(text_of_bytes(view->tail) == words);
}

TEST_CASE("a text is of one of the named kinds") {
  for (u32 kind = 0; kind < 8; ++kind) {
    text t{};
    t.kind = static_cast<text_kind>(kind);
    INFO("kind " << kind);
    CHECK(wire::valid_record(t) == (kind >= 1 && kind <= 5));
  }
}

TEST_CASE("the umask is restored") {
  CHECK(test::in_child([] {
          process p{};
          p.umask = 0137u;
          restore_process(p);
          return ::umask(0) == 0137 ? 0 : 1;
        }) == 0);
}

TEST_CASE("the working directory is restored") {
  CHECK(test::in_child([] {
          report why;
          if (!restore_directory("/proc/self", why).ok()) return 1;
          return ::access("cmdline", R_OK) == 0 ? 0 : 2;
        }) == 0);
}

TEST_CASE("a directory that is gone ends the restart with the cure") {
  report why;
  CHECK_FALSE(restore_directory("/nowhere/to be\nfound", why).ok());
  CHECK(why.line() ==
        "cannot go to the working directory /nowhere/to be\\012found (create it and restart "
        "again): no such file or directory");
}

}  // namespace
}  // namespace ckpt::state
