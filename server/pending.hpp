// SPDX-License-Identifier: MIT
//
// Uploads whose client has said by an Upload-Id that it may come back after a cut: what has arrived
// stays for a while, in memory and incoming/, and what was completed is remembered for as long, because
// the reply may have been what was cut.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "store.hpp"

namespace ckpt::server {

/// An upload and who may write to it now.
struct shared_upload {
  std::mutex mutex;
  std::unique_ptr<upload> data;  // none when it was completed or given up
  u64 claim = 0;                 // of the connection that writes
  std::optional<entry> done;
};

class pending_uploads {
 public:
  static constexpr auto patience = std::chrono::minutes(5);
  static constexpr std::size_t most = 1024;

  /// What is known under the id; null when nothing is.
  std::shared_ptr<shared_upload> find(const std::string& id) {
    const std::lock_guard guard(mutex_);
    const auto found = known_.find(id);
    if (found == known_.end()) return nullptr;
    found->second.since = clock::now();
    return found->second.upload;
  }
  /// False when there are too many.
  bool add(const std::string& id, const std::shared_ptr<shared_upload>& upload) {
    const std::lock_guard guard(mutex_);
    if (known_.size() >= most) return false;
    known_[id] = {upload, clock::now()};
    return true;
  }
  void touch(const std::string& id) { (void)find(id); }
  void remove(const std::string& id) {
    std::shared_ptr<shared_upload> last;
    const std::lock_guard guard(mutex_);
    if (const auto found = known_.find(id); found != known_.end()) {
      last = std::move(found->second.upload);
      known_.erase(found);
    }
  }
  /// Gives up what nobody has come back for.
  void sweep() {
    const auto limit = clock::now() - patience;
    const std::lock_guard guard(mutex_);
    // A connection that is at work on one has a share in it.
    std::erase_if(known_, [&](const auto& e) {
      return e.second.since < limit && e.second.upload.use_count() == 1;
    });
  }
  void clear() {
    const std::lock_guard guard(mutex_);
    known_.clear();
  }

 private:
  using clock = std::chrono::steady_clock;
  struct known {
    std::shared_ptr<shared_upload> upload;
    clock::time_point since;
  };
  std::mutex mutex_;
  std::unordered_map<std::string, known> known_;
};

/// 32 to 64 hexadecimal digits: nobody guesses another's.
[[nodiscard]] constexpr bool is_upload_id(std::string_view text) {
  if (text.size() < 32 || text.size() > 64) return false;
  for (const char c : text)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) return false;
  return true;
}

}  // namespace ckpt::server
