// SPDX-License-Identifier: MIT
// Threads that send real-time signals with numbers to each other as fast as they are taken: each
// arrives once and in order, whatever a checkpoint falls into.
//
// Fidelity: signals | between threads, on their way | kept, each once and in order
#include "threads.hpp"

namespace {

constexpr int threads = 6;
constexpr uint64_t most_on_their_way = 20;

struct lane {
  pthread_t thread;
  std::atomic<uint64_t> sent{0}, taken{0}, out_of_order{0};
};
lane lanes[threads];
thread_local lane* own = nullptr;
std::atomic<int> allowed_to_end{0};
std::atomic<bool> all_known{false};  // pthread_create may return later than its thread begins

// What a thread was in the middle of, it goes on with.
thread_local volatile uint64_t sum, product = 1;

void take(int, siginfo_t* info, void*) {
  const auto number = reinterpret_cast<uint64_t>(info->si_value.sival_ptr);
  if (!own || info->si_code != SI_QUEUE || number != own->taken) {
    if (own) ++own->out_of_order;
    return;
  }
  ++own->taken;
}

void body(int i) {
  own = &lanes[i];
  victim::arrive();
  while (victim::arrived < threads || !all_known) sched_yield();
  lane& to = lanes[(i + 1) % threads];
  while (victim::stopping == 0) {
    if (to.sent - to.taken < most_on_their_way) {
      sigval value{};
      value.sival_ptr = reinterpret_cast<void*>(to.sent.load());
      int error = pthread_sigqueue(to.thread, SIGRTMIN + 1, value);
      if (error == 0)
        ++to.sent;
      else if (error != EAGAIN)
        victim::lost("pthread_sigqueue: %s", strerror(error));
    }
    for (int j = 0; j < 50; ++j) {
      sum = sum + 3;
      product = product * 5;
    }
    uint64_t wanted = 1;
    for (uint64_t j = 0; j < sum / 3; ++j) wanted *= 5;
    if (wanted != product) victim::lost("an interrupted computation");
    if (sum > 3000) {
      sum = 0;
      product = 1;
    }
  }
  ++allowed_to_end;
  while (allowed_to_end <= threads) usleep(500);
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  struct sigaction action {};
  action.sa_sigaction = take;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGRTMIN + 1, &action, nullptr);
  for (int i = 0; i < threads; ++i) lanes[i].thread = victim::start([i] { body(i); });
  all_known = true;
  victim::gather(threads);
  victim::block(SIG_BLOCK, {SIGTSTP});  // it is for those who are busy
  auto go_on = [](uint64_t more) {
    for (auto& each : lanes) {
      const uint64_t before = each.taken;
      for (int tries = 0; each.taken < before + more && tries < 10'000; ++tries) usleep(500);
      if (each.taken < before + more) victim::lost("no more signals arrive");
    }
  };
  go_on(50);
  victim::rest_until_stop();
  go_on(50);
  victim::tell_all();
  while (allowed_to_end != threads) usleep(500);
  for (auto& each : lanes)
    for (int tries = 0; each.taken != each.sent && tries < 3000; ++tries) usleep(1000);
  ++allowed_to_end;
  for (auto& each : lanes) {
    victim::join_well(each.thread, "a thread");
    victim::expect_equal("signals that arrived", each.sent, each.taken);
    victim::expect_equal("signals out of order or of others", 0, each.out_of_order);
  }
  return victim::finish();
}
