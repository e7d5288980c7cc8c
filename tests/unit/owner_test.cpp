// SPDX-License-Identifier: MIT
//
// image/owner.hpp: whose an image is, and whether that process lives.
#include "ckpt/image/owner.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "support/catch.hpp"
#include "support/scratch_directory.hpp"

using namespace ckpt;
using namespace ckpt::image;

namespace {

/// A process that waits to be killed.
struct sleeper {
  sleeper() : pid(fork()) {
    if (pid == 0)
      for (;;) pause();
  }
  ~sleeper() { end(); }
  void kill_only() const { kill(pid, SIGKILL); }
  void end() {
    if (pid <= 0) return;
    kill_only();
    waitpid(pid, nullptr, 0);
    pid = 0;
  }
  pid_t pid;
};

void write_image(const std::string& path, const process_identity& who, u8 id) {
  auto h = format::header_for(4096, 0, 0);
  h.id.bytes[0] = id;
  sign(h, who);
  std::string content(format::header_offset, '\0');
  content.append(reinterpret_cast<const char*>(&h), sizeof h);
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace

TEST_CASE("a process is known while it lives, and never when it is dead") {
  const auto here = identity_of(0).value();
  sleeper other;
  const auto who = identity_of(other.pid).value();
  REQUIRE(who.pid == other.pid);
  CHECK(who.start > 0);
  CHECK(may_live(who, here).value());
  other.kill_only();
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(other.pid), &info, WEXITED | WNOWAIT);
  CHECK_FALSE(may_live(who, here).value());  // a zombie
  other.end();
  CHECK_FALSE(may_live(who, here).value());
  CHECK(own_identity()->pid == getpid());
}

TEST_CASE("another process with the same number is another process") {
  sleeper other;
  auto who = identity_of(other.pid).value();
  who.start += 3;
  CHECK_FALSE(may_live(who, identity_of(0).value()).value());
  who.start -= 6;
  CHECK_FALSE(may_live(who, identity_of(0).value()).value());
  who.start += 2;  // rounded otherwise
  CHECK(may_live(who, identity_of(0).value()).value());
}

TEST_CASE("who cannot be seen from here may live, but not on a machine that has been started anew") {
  const auto here = identity_of(0).value();
  auto who = own_identity().value();
  who.view += 1;
  CHECK(may_live(who, here).value());
  who.boot += 1;
  CHECK_FALSE(may_live(who, here).value());
  who.host += 1;
  CHECK(may_live(who, here).value());
  who.pid = 0;  // nobody has signed
  CHECK_FALSE(may_live(who, here).value());
}

TEST_CASE("an image belongs to the living process that has signed it, unless we know the image") {
  const test::scratch_directory directory;
  const std::string path = directory.path() + "/image";
  const wire::blob<16> none{};
  const auto me = own_identity().value();
  CHECK_FALSE(belongs_to_another(path.c_str(), none, me, me.pid).value());  // nothing there
  std::ofstream(path) << "no image";
  CHECK_FALSE(belongs_to_another(path.c_str(), none, me, me.pid).value());
  sleeper other;
  const auto who = identity_of(other.pid).value();
  write_image(path, who, 7);
  CHECK(belongs_to_another(path.c_str(), none, me, me.pid).value());
  wire::blob<16> known{};
  known.bytes[0] = 7;
  CHECK_FALSE(belongs_to_another(path.c_str(), known, me, me.pid).value());
  known.bytes[1] = 1;
  CHECK(belongs_to_another(path.c_str(), known, me, me.pid).value());
  CHECK_FALSE(belongs_to_another(path.c_str(), none, who, who.pid).value());  // its own
  other.end();
  CHECK_FALSE(belongs_to_another(path.c_str(), none, me, me.pid).value());
}

TEST_CASE("whoever had the caller's number before it is gone, however close their starts are") {
  const test::scratch_directory directory;
  const std::string path = directory.path() + "/image";
  const wire::blob<16> none{};
  const auto stand_in = own_identity().value();
  sleeper program;
  auto before = identity_of(program.pid).value();
  before.start -= 1;
  write_image(path, before, 7);
  CHECK(belongs_to_another(path.c_str(), none, stand_in, stand_in.pid).value());
  CHECK_FALSE(belongs_to_another(path.c_str(), none, stand_in, program.pid).value());
  before.view += 1;  // the number of somebody elsewhere
  write_image(path, before, 7);
  CHECK(belongs_to_another(path.c_str(), none, stand_in, program.pid).value());
  CHECK_FALSE(belongs_to_another(path.c_str(), none, stand_in, program.pid, before).value());
}
