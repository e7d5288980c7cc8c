// SPDX-License-Identifier: MIT
//
// Who a thread is: users, groups, capabilities. What the program had given up it has given up after
// the restart too; what whoever restarts may not give, nobody gets. An ordinary user stays who he
// is, whoever the program was.
// Source: credentials(7), capabilities(7), user_namespaces(7).
#pragma once

#include <cstring>

#include "ckpt/format/metadata.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

struct credentials {
  static constexpr auto record = format::record_type::credentials;
  wire::le<i32> tid;
  wire::le<u32> group_count;
  wire::le<u32> uid, effective_uid, saved_uid, file_uid;
  wire::le<u32> gid, effective_gid, saved_gid, file_gid;
  wire::le<u64> inheritable, permitted, effective, bounding, ambient;
};

/// NGROUPS_MAX.
inline constexpr u32 most_groups = 65536;

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::credentials, tid, group_count, uid, effective_uid, saved_uid,
                        file_uid, gid, effective_gid, saved_gid, file_gid, inheritable, permitted,
                        effective, bounding, ambient);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::credentials> = description<15>{
    "credentials",
    "Who one thread is. The tail is its supplementary groups, four bytes each.",
    {"the thread", "how many supplementary groups", "real user", "effective user", "saved user",
     "user for files", "real group", "effective group", "saved group", "group for files",
     "CapInh of proc(5)", "CapPrm", "CapEff", "CapBnd", "CapAmb"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<credentials, 80>());

/// Room for the text of /proc/PID/task/TID/status with the longest list of groups there can be.
inline constexpr u64 longest_status = u64{1} << 20;

/// One thread, from the text of its /proc/PID/task/TID/status.
// Context: helper
inline result<void> capture_credentials(format::metadata_builder& out, i32 tid,
                                        std::string_view status) {
  credentials c{};
  c.tid = tid;
  const auto four = [&](std::string_view key, u32(&to)[4]) -> result<void> {
    proc::cursor at(CKPT_TRY(proc::status_field(status, key)));
    for (u32& id : to) id = at.number<u32>();
    if (at.failed()) return errc::malformed;
    return {};
  };
  u32 ids[4];
  CKPT_TRY(four("Uid", ids));
  c.uid = ids[0], c.effective_uid = ids[1], c.saved_uid = ids[2], c.file_uid = ids[3];
  CKPT_TRY(four("Gid", ids));
  c.gid = ids[0], c.effective_gid = ids[1], c.saved_gid = ids[2], c.file_gid = ids[3];
  c.inheritable = CKPT_TRY(proc::number_of<u64>(status, "CapInh", 16));
  c.permitted = CKPT_TRY(proc::number_of<u64>(status, "CapPrm", 16));
  c.effective = CKPT_TRY(proc::number_of<u64>(status, "CapEff", 16));
  c.bounding = CKPT_TRY(proc::number_of<u64>(status, "CapBnd", 16));
  c.ambient = proc::number_of<u64>(status, "CapAmb", 16).value_or(0);  // since 4.3
  CKPT_TRY(out.begin(c));
  proc::cursor at(CKPT_TRY(proc::status_field(status, "Groups")));
  u32 count = 0;
  for (at.skip_blanks(); !at.at_end(); at.skip_blanks()) {
    wire::le<u32> group;
    group = at.number<u32>();
    if (at.failed() || ++count > most_groups) return errc::malformed;
    CKPT_TRY(out.append(bytes_of(group)));
  }
  c.group_count = count;
  out.amend(c);
  return out.end();
}

struct capability_sets {
  u64 effective = 0, permitted = 0, inheritable = 0;
};

// Context: any, no libc
inline capability_sets own_capabilities() {
  sys::abi::capabilities c{};
  if (!sys::capget(c).ok()) return {};
  const auto join = [](u32 low, u32 high) { return u64{high} << 32 | low; };
  return {join(c.low.effective, c.high.effective), join(c.low.permitted, c.high.permitted),
          join(c.low.inheritable, c.high.inheritable)};
}

namespace credentials_detail {

inline result<void> set_capabilities(const capability_sets& s) {
  const auto low = [](u64 set) { return static_cast<u32>(set); };
  const auto high = [](u64 set) { return static_cast<u32>(set >> 32); };
  return sys::capset({{low(s.effective), low(s.permitted), low(s.inheritable)},
                      {high(s.effective), high(s.permitted), high(s.inheritable)}});
}

inline result<void> set_groups(const credentials& c, bytes groups) {
  // Wire and machine order are the same on every machine this runs on.
  const auto* wanted = reinterpret_cast<const u32*>(groups.data());
  const u32 now = CKPT_TRY(sys::getgroups(0, nullptr));
  u32 have[64];
  if (now == c.group_count && now <= 64 && sys::getgroups(64, have).ok() &&
      std::memcmp(have, wanted, now * sizeof(u32)) == 0)
    return {};
  return sys::setgroups(c.group_count, wanted);
}

inline void restore_bounding(u64 wanted, auto&& lost) {
  for (int capability = 0; capability < 64; ++capability) {
    const auto now = sys::prctl(sys::abi::pr_capbset_read, capability, 0, 0, 0);
    if (!now.ok()) return;  // above the last there is
    if (*now != 1 || (wanted >> capability & 1) != 0) continue;
    if (auto r = sys::prctl(sys::abi::pr_capbset_drop, capability, 0, 0, 0); !r.ok())
      return lost("the capability bounding set", r.error());
  }
}

inline void restore_ambient(u64 wanted) {
  (void)sys::prctl(sys::abi::pr_cap_ambient, sys::abi::pr_cap_ambient_clear_all, 0, 0, 0);
  for (int capability = 0; capability < 64; ++capability)
    if ((wanted >> capability & 1) != 0)
      (void)sys::prctl(sys::abi::pr_cap_ambient, sys::abi::pr_cap_ambient_raise, capability, 0, 0);
}

}  // namespace credentials_detail

/// What bounds a restore: the capabilities that whoever restarts had, and whether a user namespace
/// was made for the program, in which users and groups are not set but capabilities are many.
struct credentials_bound {
  u64 capabilities = 0;
  bool own_user_namespace = false;
};

/// Makes the calling thread who it was. An error means that it would have more than it had: then
/// it must not go on. lost(what, errc) hears of what it has less.
/// After everything that needs privileges, and before the registers.
// Context: agent, in restored memory
template <class Lost>
result<void> restore_credentials(const credentials& c, bytes groups, const credentials_bound& bound,
                                 Lost&& lost) {
  using namespace credentials_detail;
  const auto before = own_capabilities();
  if (before.permitted == 0) return {};
  // These the kernel forgets when users change.
  i32 death_signal = 0;
  (void)sys::prctl(sys::abi::pr_get_pdeathsig, &death_signal, 0, 0, 0);
  const auto dumpable = sys::prctl(sys::abi::pr_get_dumpable, 0, 0, 0, 0);
  const auto keeps = sys::prctl(sys::abi::pr_get_keepcaps, 0, 0, 0, 0);

  restore_bounding(c.bounding, lost);
  if (!bound.own_user_namespace) {
    (void)sys::prctl(sys::abi::pr_set_keepcaps, 1, 0, 0, 0);
    CKPT_TRY(set_groups(c, groups));
    u32 real = 0, effective = 0, saved = 0;
    (void)sys::getresgid(real, effective, saved);
    if (real != c.gid || effective != c.effective_gid || saved != c.saved_gid)
      CKPT_TRY(sys::setresgid(c.gid, c.effective_gid, c.saved_gid));
    (void)sys::getresuid(real, effective, saved);
    if (real != c.uid || effective != c.effective_uid || saved != c.saved_uid)
      CKPT_TRY(sys::setresuid(c.uid, c.effective_uid, c.saved_uid));
    (void)sys::setfsgid(c.file_gid);
    (void)sys::setfsuid(c.file_uid);
  }
  const u64 permitted = c.permitted & bound.capabilities & before.permitted;
  const u64 inheritable = c.inheritable & (before.inheritable | permitted);
  CKPT_TRY(set_capabilities({c.effective & permitted, permitted, inheritable}));
  restore_ambient(c.ambient & permitted & inheritable);
  if (permitted != c.permitted && !bound.own_user_namespace) lost("some capabilities", errc::perm);

  if (keeps.ok()) (void)sys::prctl(sys::abi::pr_set_keepcaps, *keeps, 0, 0, 0);
  if (dumpable.ok() && *dumpable == 1) (void)sys::prctl(sys::abi::pr_set_dumpable, 1, 0, 0, 0);
  (void)sys::prctl(sys::abi::pr_set_pdeathsig, death_signal, 0, 0, 0);
  return {};
}

}  // namespace ckpt::state
