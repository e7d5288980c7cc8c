// SPDX-License-Identifier: MIT
//
// Who a thread is: read from the text of proc(5), and given up again, never gained.
#include "ckpt/state/credentials.hpp"

#include <grp.h>
#include <sys/prctl.h>

#include <fstream>
#include <sstream>

#include "ckpt/format/walk.hpp"
#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/in_child.hpp"

namespace ckpt::state {
namespace {

constexpr std::string_view status =
    "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t9 4294967294 \n"
    "CapInh:\t0000000000000001\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000002\n"
    "CapBnd:\t0000000000000003\nCapAmb:\t0000000000000004\n";

TEST_CASE("credentials are read from the text of proc(5)") {
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  REQUIRE(capture_credentials(out, 77, status).ok());
  const auto view = format::record_cursor(out.view()).next();
  REQUIRE(view.ok());
  const auto c = *wire::decode<credentials>(view->fixed);
  CHECK(c.tid == 77);
  CHECK(c.uid == 1);
  CHECK(c.file_uid == 4);
  CHECK(c.effective_gid == 6);
  CHECK(c.permitted == 0x1ffffffffffu);
  CHECK(c.ambient == 4);
  REQUIRE(c.group_count == 2);
  REQUIRE(view->tail.size() == 8);
  CHECK(reinterpret_cast<const wire::le<u32>*>(view->tail.data())[1].get() == 4294967294u);
}

TEST_CASE("a status without a line, or with a word for a number, is malformed") {
  for (const std::string_view key :
       {"Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:"}) {
    std::string text(status);
    text.replace(text.find(key), 1, "X");
    test::vector_memory memory;
    format::metadata_builder out(memory.source());
    CHECK(!capture_credentials(out, 77, text).ok());
  }
  std::string text(status);
  text.replace(text.find("9 429"), 1, "x");
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  CHECK(!capture_credentials(out, 77, text).ok());
}

std::string own_status() {
  std::ostringstream text;
  text << std::ifstream("/proc/self/status").rdbuf();
  return text.str();
}
std::string line(const std::string& text, const std::string& key) {
  const auto at = text.find(key);
  return text.substr(at, text.find('\n', at) - at);
}

TEST_CASE("what was given up is given up again, and the kernel's side effects are undone") {
  if (::geteuid() != 0) return;
  CHECK(test::in_child([] {
          // 1: cannot be prepared; otherwise what is wrong.
          if (::setgroups(0, nullptr) != 0) return 1;
          auto text = own_status();
          const auto put = [&](const std::string& key, const std::string& value) {
            text.replace(text.find(key), line(text, key).size(), key + value);
          };
          put("Uid:", "\t65534\t65534\t65534\t65534");
          put("Gid:", "\t65534\t65534\t65534\t65534");
          put("CapPrm:", "\t0000000000000400");
          put("CapEff:", "\t0000000000000000");
          test::vector_memory memory;
          format::metadata_builder out(memory.source());
          if (!capture_credentials(out, 1, text).ok()) return 2;
          const auto view = format::record_cursor(out.view()).next();
          ::prctl(PR_SET_PDEATHSIG, SIGUSR1);
          ::prctl(PR_SET_DUMPABLE, 1);
          const auto lost = [](std::string_view, errc) {};
          if (!restore_credentials(*wire::decode<credentials>(view->fixed), view->tail,
                                   {~u64{0}, false}, lost)
                   .ok())
            return 3;
          int death = 0;
          ::prctl(PR_GET_PDEATHSIG, &death);
          if (death != SIGUSR1 || ::prctl(PR_GET_DUMPABLE) != 1) return 4;
          const auto now = own_status();
          for (const char* key : {"Uid:", "Gid:", "CapPrm:", "CapEff:", "CapBnd:"})
            if (line(now, key) != line(text, key)) return 5;
          return ::setuid(0) == 0 ? 6 : 0;
        }) == 0);
}

TEST_CASE("nobody gets more than whoever restarts has") {
  CHECK(test::in_child([] {
          test::vector_memory memory;
          format::metadata_builder out(memory.source());
          if (!capture_credentials(out, 1, own_status()).ok()) return 1;
          const auto view = format::record_cursor(out.view()).next();
          const auto lost = [](std::string_view, errc) {};
          // In a namespace made for it, all its capabilities came from that.
          if (!restore_credentials(*wire::decode<credentials>(view->fixed), view->tail, {0, true},
                                   lost)
                   .ok())
            return 2;
          const auto sets = own_capabilities();
          return sets.permitted == 0 && sets.effective == 0 ? 0 : 3;
        }) == 0);
}

}  // namespace
}  // namespace ckpt::state
