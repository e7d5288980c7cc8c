// SPDX-License-Identifier: MIT
//
// What a process has now and a restart would not have, whoever restarts it and wherever.
#include <array>

#include "looks.hpp"

namespace ckpt::doctor {

void look_at_losses(const proc_view& p, examination& e) {
  constexpr std::array<const char*, 6> kinds = {"mnt", "net", "uts", "ipc", "cgroup", "user"};
  std::string others;
  for (const char* kind : kinds)
    if (!p.same_namespace(kind)) others += (others.empty() ? "" : ", ") + std::string(kind);
  if (!others.empty())
    e.lose("namespaces", line_of("its namespaces (", others, "): a restart has those of whoever restarts"),
           line_of("restart it from within: nsenter -t ", p.pid(), " -a, or its container"));
  const std::string policies = p.text("numa_maps");
  if (policies.find(" bind:") != std::string::npos || policies.find(" interleave:") != std::string::npos ||
      policies.find(" prefer:") != std::string::npos || policies.find(" prefer=") != std::string::npos)
    e.lose("numa", "NUMA policies of its memory (mbind, set_mempolicy, numactl)");
  e.lose("cpu-time", "processor time used so far: clock() and getrusage() begin again");
}

}  // namespace ckpt::doctor
