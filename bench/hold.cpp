// SPDX-License-Identifier: MIT
//
// Stops all threads of a process by ptrace and lets them go at once: the least that anybody needs who
// wants them all to stand still.
//
//   hold PID
#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string tasks = std::string("/proc/") + argv[1] + "/task";
  std::vector<pid_t> held;
  for (bool grown = true; grown;) {
    grown = false;
    DIR* open = opendir(tasks.c_str());
    if (open == nullptr) return 1;
    const std::size_t before = held.size();
    while (const dirent* entry = readdir(open)) {
      const pid_t tid = std::atoi(entry->d_name);
      if (tid == 0 || std::find(held.begin(), held.end(), tid) != held.end()) continue;
      if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0) continue;
      held.push_back(tid);
      grown = true;
    }
    closedir(open);
    for (std::size_t i = before; i < held.size(); ++i)
      if (waitpid(held[i], nullptr, __WALL) != held[i]) return 1;
  }
  for (const pid_t tid : held) ptrace(PTRACE_DETACH, tid, 0, 0);
  return held.empty() ? 1 : 0;
}
