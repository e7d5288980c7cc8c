// SPDX-License-Identifier: MIT
//
// In C++: a constructor before main, threads with storage of their own, an exception that passes
// through frames, all across a restart.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

const std::map<std::string, int> made_before_main{{"one", 1}, {"two", 2}};
thread_local int own = 0;
std::atomic<bool> stop{false};
std::atomic<int> well{0}, begun{0};

void work(int number) {
  own = number;
  ++begun;
  while (!stop) std::this_thread::yield();
  try {
    std::vector<int>(3).at(static_cast<std::size_t>(number) + 3);
  } catch (const std::out_of_range&) {
    well += own == number ? 1 : 0;
  }
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  std::vector<std::thread> threads;
  for (int i = 1; i <= 3; ++i) threads.emplace_back(work, i);
  while (begun != 3) std::this_thread::yield();
  std::puts("ready");
  std::fflush(stdout);
  while (access(words[1], F_OK) != 0) usleep(2000);
  stop = true;
  for (auto& t : threads) t.join();
  if (well != 3 || made_before_main.at("two") != 2) return 3;
  std::puts("ok");
  return 0;
}
