// SPDX-License-Identifier: MIT
//
// state/files/sockets.hpp, on pairs of this process: who is whose peer, what waits between them,
// and that looking takes nothing away.
#include "ckpt/state/files/sockets.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/image_builder.hpp"

namespace ckpt::state {
namespace {

struct pair_of {
  sys::unique_fd a, b;
  explicit pair_of(int type) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, type, 0, ends) == 0);
    a = sys::unique_fd(ends[0]);
    b = sys::unique_fd(ends[1]);
  }
};
u32 inode_of(const sys::unique_fd& fd) {
  struct stat st {};
  REQUIRE(::fstat(fd.get(), &st) == 0);
  return static_cast<u32>(st.st_ino);
}
std::map<u32, unix_socket> all_sockets() {
  std::vector<std::byte> room(32 * 1024);
  std::map<u32, unix_socket> found;
  const auto listed =
      for_each_unix_socket(mutable_bytes(room), [&](const unix_socket& s) { found[s.inode] = s; });
  REQUIRE(listed.ok());
  return found;
}
void tell(const sys::unique_fd& fd, const std::string& text) {
  REQUIRE(::send(fd.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
}
std::string heard(const sys::unique_fd& fd) {
  char text[100] = {};
  const ssize_t got = ::recv(fd.get(), text, sizeof text, MSG_DONTWAIT);
  return got < 0 ? "nothing" : std::string(text, static_cast<std::size_t>(got));
}

struct captured {
  test::vector_memory memory;
  format::metadata_builder out{memory.source()};
  report why;
  result<void> outcome;
  captured(const sys::unique_fd& fd, const sys::unique_fd& sender, u32 id, u32 peer) {
    const unix_socket seen = all_sockets().at(inode_of(fd));
    std::vector<std::byte> room(300'000);
    outcome = capture_socket(fd.get(), sender.get(), seen, id, peer, mutable_bytes(room), out, why);
  }
  saved_socket saved() {
    format::record_cursor cursor(out.view());
    const auto view = cursor.next();
    return {*wire::decode<socket_end>(view->fixed), view->tail};
  }
};

TEST_CASE("the kernel tells whose peer a socket is, and how far it is shut") {
  const pair_of p(SOCK_STREAM);
  ::shutdown(p.a.get(), SHUT_WR);
  const auto found = all_sockets();
  const auto& a = found.at(inode_of(p.a));
  const auto& b = found.at(inode_of(p.b));
  CHECK(a.connected);
  CHECK_FALSE(a.named);
  CHECK_FALSE(a.listens);
  CHECK(a.peer == inode_of(p.b));
  CHECK(b.peer == inode_of(p.a));
  CHECK(a.type == SOCK_STREAM);
  CHECK(a.shut == shut_for_sending);
  CHECK(b.shut == shut_for_receiving);
}

TEST_CASE("a closed peer has no number, and sockets nobody has connected no peer") {
  pair_of p(SOCK_SEQPACKET);
  const sys::unique_fd alone(::socket(AF_UNIX, SOCK_DGRAM, 0));
  p.b.reset();
  const auto found = all_sockets();
  CHECK(found.at(inode_of(p.a)).connected);
  CHECK(found.at(inode_of(p.a)).peer == 0);
  CHECK_FALSE(found.at(inode_of(alone)).connected);
}

TEST_CASE("messages are copied with their ends, an empty one too, and all stay") {
  const pair_of p(SOCK_DGRAM);
  tell(p.b, "one");
  tell(p.b, "");
  tell(p.b, "three");
  captured a(p.a, p.b, 0, 1);
  INFO(a.why.line());
  REQUIRE(a.outcome.ok());
  captured b(p.b, p.a, 1, 0);
  REQUIRE(b.outcome.ok());
  const auto saved_b = b.saved();
  int ends[2] = {-1, -1};
  REQUIRE(make_sockets(a.saved(), &saved_b, ends).ok());
  const sys::unique_fd again(ends[0]);
  const sys::unique_fd other(ends[1]);
  for (const sys::unique_fd* fd : std::initializer_list<const sys::unique_fd*>{&p.a, &again}) {
    CHECK(heard(*fd) == "one");
    CHECK(heard(*fd).empty());
    CHECK(heard(*fd) == "three");
    CHECK(heard(*fd) == "nothing");
  }
  tell(other, "new");
  CHECK(heard(again) == "new");
}

TEST_CASE("an empty message that has been looked at is noticed") {
  const pair_of p(SOCK_DGRAM);
  tell(p.b, "one");
  tell(p.b, "");
  tell(p.b, "two");
  CHECK(captured(p.a, p.b, 0, 1).outcome.ok());
  captured second(p.a, p.b, 0, 1);
  REQUIRE_FALSE(second.outcome.ok());
  CHECK(std::string(second.why.line()).find("an empty message waits") == 0);
  // Without one, looking again and again finds the same.
  const pair_of q(SOCK_SEQPACKET);
  tell(q.b, std::string(90, 'x'));
  tell(q.b, "two");
  for (int i = 0; i < 3; ++i) CHECK(captured(q.a, q.b, 0, 1).outcome.ok());
  CHECK(heard(q.a).size() == 90);
}

TEST_CASE("a reset is neither lost by looking nor in what comes back") {
  pair_of p(SOCK_STREAM);
  tell(p.b, "rest");
  tell(p.a, "unread");
  p.b.reset();
  captured a(p.a, p.b, 0, no_peer);
  REQUIRE(a.outcome.ok());
  CHECK(a.saved().fields.reset == 1);
  CHECK(a.saved().fields.shut == 3);
  int ends[2] = {-1, -1};
  REQUIRE(make_sockets(a.saved(), nullptr, ends).ok());
  const sys::unique_fd again(ends[0]);
  CHECK(ends[1] == -1);
  for (const sys::unique_fd* fd : std::initializer_list<const sys::unique_fd*>{&p.a, &again}) {
    CHECK(heard(*fd) == "rest");
    errno = 0;
    CHECK(heard(*fd) == "nothing");
    CHECK(errno == ECONNRESET);
    CHECK(heard(*fd).empty());
  }
}

TEST_CASE("a tail that is cut off has no messages") {
  const std::string good("\3\0\0\0one\0\0\0\0", 11);
  const auto whole = [](std::string_view tail) {
    return for_each_message(bytes_of_text(tail), [](bytes) {});
  };
  CHECK(whole(good));
  CHECK(whole(""));
  for (std::size_t n = 1; n < good.size(); ++n) CHECK(whole(good.substr(0, n)) == (n == 7));
  CHECK_FALSE(whole(std::string("\xff\xff\xff\xff", 4)));
}

TEST_CASE("only names of the kernel's own choice say nothing") {
  const auto automatic = [](std::string_view name) {
    return socket_detail::is_automatic_name(bytes_of_text(name));
  };
  CHECK(
      automatic(std::string_view("\0"
                                 "0a9f3",
                                 6)));
  CHECK_FALSE(
      automatic(std::string_view("\0"
                                 "0a9fg",
                                 6)));
  CHECK_FALSE(
      automatic(std::string_view("\0"
                                 "0a9f34",
                                 7)));
  CHECK_FALSE(automatic("/tmp/x"));
}

TEST_CASE("a message of sock_diag that is malformed is an error") {
  std::byte raw[sizeof(sys::abi::unix_diag_msg) + 8] = {};
  CHECK(socket_detail::parse_unix_socket(bytes(raw).first(sizeof(sys::abi::unix_diag_msg))).ok());
  CHECK(socket_detail::parse_unix_socket(bytes(raw).first(7)).error() == errc::malformed);
  raw[sizeof(sys::abi::unix_diag_msg)] = std::byte{3};
  CHECK(socket_detail::parse_unix_socket(bytes(raw)).error() == errc::malformed);
  raw[sizeof(sys::abi::unix_diag_msg)] = std::byte{200};
  CHECK(socket_detail::parse_unix_socket(bytes(raw)).error() == errc::malformed);
}

}  // namespace
}  // namespace ckpt::state
