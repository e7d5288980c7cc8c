// SPDX-License-Identifier: MIT
//
// Sends a file while it grows, in a thread of its own, so that whoever fills it waits for no network.
#pragma once

#include <future>
#include <memory>
#include <thread>

#include "growing_file.hpp"
#include "http_client.hpp"

namespace ckpt::transfer {

class sender {
 public:
  sender(const url& to, std::shared_ptr<growing_file> from, encoding how, const client_options& o, bool quiet);
  /// Of a file that has not become whole the server keeps nothing. It is told so when it listens: who
  /// gives up waits for no network either, and the thread may outlive this.
  ~sender();
  sender(const sender&) = delete;
  sender& operator=(const sender&) = delete;

  [[nodiscard]] bool is_over() const;
  /// Until the server has acknowledged it. Throws transfer_error.
  void wait();

 private:
  std::shared_ptr<growing_file> from_;
  std::shared_ptr<std::packaged_task<void()>> work_;
  std::future<void> outcome_;
  std::thread thread_;
};

}  // namespace ckpt::transfer
