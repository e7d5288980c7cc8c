// SPDX-License-Identifier: MIT
//
// Resource limits, all sixteen of getrlimit(2).
#pragma once

#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

struct resource_limit {
  static constexpr auto record = format::record_type::resource_limit;
  wire::le<u32> resource;
  wire::reserved<4> reserved;
  wire::le<u64> soft;
  wire::le<u64> hard;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::resource_limit, resource, reserved, soft, hard);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::resource_limit> = description<4>{
    "resource_limit",
    "One limit of getrlimit(2).",
    {"RLIMIT_*, as a number", "zero", "soft limit; all bits set is RLIM_INFINITY", "hard limit"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<resource_limit, 24>());

// Context: triggering thread, all others frozen
inline result<void> capture_limits(format::metadata_builder& out) {
  for (u32 i = 0; i < sys::abi::rlimit_count; ++i) {
    sys::abi::rlimit64 now{};
    const auto known = sys::prlimit64(static_cast<int>(i), nullptr, &now);
    if (!known.ok() && known.error() == errc::invalid) continue;  // not in this kernel
    CKPT_TRY(known);
    resource_limit l{};
    l.resource = i;
    l.soft = now.soft;
    l.hard = now.hard;
    CKPT_TRY(out.add(l));
  }
  return {};
}

/// Sets the limit as far as the caller's own hard limit allows: nobody gains by a restart.
// Context: restarter or agent
inline result<void> restore_limit(const resource_limit& saved) {
  sys::abi::rlimit64 wanted{saved.soft, saved.hard};
  const int resource = static_cast<int>(saved.resource.get());
  if (sys::prlimit64(resource, &wanted, nullptr).ok()) return {};
  sys::abi::rlimit64 now{};
  CKPT_TRY(sys::prlimit64(resource, nullptr, &now));
  wanted.hard = wanted.hard < now.hard ? wanted.hard : now.hard;
  wanted.soft = wanted.soft < wanted.hard ? wanted.soft : wanted.hard;
  return sys::prlimit64(resource, &wanted, nullptr);
}

}  // namespace ckpt::state
