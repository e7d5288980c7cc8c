// SPDX-License-Identifier: MIT
// What a process is called and may do: umask, directory, limits, name, arguments and environment,
// as the program sees them and as ps does.
//
// Fidelity: process | umask, working directory, resource limits, name, arguments, environment, auxiliary vector | kept
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  // The driver gives a command line with an empty word and with bytes that are no characters.
  if (count < 4 || !getenv("VICTIM_VALUE")) victim::broken("arguments and VICTIM_VALUE");
  const std::string wanted_value = getenv("VICTIM_VALUE");
  umask(0027);
  if (mkdir("a directory\n(deleted)", 0777) != 0 || chdir("a directory\n(deleted)") != 0)
    victim::broken("mkdir");
  prctl(PR_SET_NAME, "odd) name (x");
  const int which[] = {RLIMIT_NOFILE, RLIMIT_CORE,  RLIMIT_STACK, RLIMIT_DATA,
                       RLIMIT_CPU,    RLIMIT_NPROC, RLIMIT_FSIZE};
  const rlim_t soft[] = {777, 12288, 6 << 20, 1 << 30, 3600, 0, 1u << 31};
  rlimit limits[7];
  for (int i = 0; i < 7; ++i) {
    getrlimit(static_cast<__rlimit_resource>(which[i]), &limits[i]);
    if (soft[i] != 0 && soft[i] <= limits[i].rlim_max) limits[i].rlim_cur = soft[i];
    if (setrlimit(static_cast<__rlimit_resource>(which[i]), &limits[i]) != 0)
      victim::broken("setrlimit");
  }
  std::string command = victim::slurp("/proc/self/cmdline");
  std::string environment = victim::slurp("/proc/self/environ");
  std::string auxiliary = victim::slurp("/proc/self/auxv");
  std::string name = victim::slurp("/proc/self/comm");
  char directory[4096], after[4096];
  if (!getcwd(directory, sizeof directory)) victim::broken("getcwd");
  std::string first = values[0], last = values[3];
  victim::work_until_stop();

  mode_t mask = umask(0);
  victim::expect_equal("umask", 0027, mask);
  if (!getcwd(after, sizeof after) || strcmp(directory, after) != 0)
    victim::lost("current directory: %s", after);
  for (int i = 0; i < 7; ++i) {
    rlimit now{};
    getrlimit(static_cast<__rlimit_resource>(which[i]), &now);
    victim::expect_equal("soft limit", limits[i].rlim_cur, now.rlim_cur);
    victim::expect_equal("hard limit", limits[i].rlim_max, now.rlim_max);
  }
  if (victim::slurp("/proc/self/cmdline") != command)
    victim::lost("/proc/self/cmdline: %s", victim::slurp("/proc/self/cmdline").c_str());
  if (victim::slurp("/proc/self/environ") != environment)
    victim::lost("/proc/self/environ: %zu bytes instead of %zu",
                 victim::slurp("/proc/self/environ").size(), environment.size());
  if (victim::slurp("/proc/self/auxv") != auxiliary) victim::lost("/proc/self/auxv");
  if (victim::slurp("/proc/self/comm") != name)
    victim::lost("the name of the process: %s", victim::slurp("/proc/self/comm").c_str());
  if (first != values[0] || last != values[3] || *values[2] != 0) victim::lost("argv");
  const char* value = getenv("VICTIM_VALUE");
  if (!value || wanted_value != value) victim::lost("the environment");
  return victim::finish();
}
