// SPDX-License-Identifier: MIT
#include "sender.hpp"

#include <chrono>
#include <system_error>

#include "progress_bar.hpp"

namespace ckpt::transfer {
namespace {

constexpr auto patience = std::chrono::seconds(1);

}  // namespace

sender::sender(const url& to, std::shared_ptr<growing_file> from, encoding how, const client_options& o, bool quiet)
    : from_(std::move(from)) {
  work_ = std::make_shared<std::packaged_task<void()>>([to, file = from_, how, o, quiet] {
    progress_bar bar(quiet);
    put(to, *file, how, o, bar.teller());
  });
  outcome_ = work_->get_future();
  try {
    thread_ = std::thread([work = work_] { (*work)(); });
  } catch (const std::system_error&) {
    // No more threads may be had: it is sent when all is here.
  }
}

sender::~sender() {
  if (!thread_.joinable()) return;
  from_->tear();
  if (outcome_.wait_for(patience) == std::future_status::ready) thread_.join();
  else thread_.detach();
}

bool sender::is_over() const { return outcome_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

void sender::wait() {
  if (thread_.joinable()) thread_.join();
  else if (!is_over()) (*work_)();
  outcome_.get();
}

}  // namespace ckpt::transfer
