// SPDX-License-Identifier: MIT
//
// The server's directory:
//
//   lock              held while a server runs
//   catalogue.sqlite  what is here (catalogue.hpp)
//   objects/ID        the bytes of one version, never changed
//   incoming/ID       what is being received
//
// An upload goes to incoming, is synced, moved to objects, the directory synced, and then entered into
// the catalogue; only then is it acknowledged. Whatever moment all ends at, the catalogue knows whole
// versions only, and what it does not know is swept at the next start.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "../transfer/codec.hpp"
#include "../transfer/stream_check.hpp"
#include "catalogue.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::server {

class store;

/// What is being received. Without commit() nothing of it stays.
class upload {
 public:
  upload(store& s, std::string name, transfer::encoding encoding, u64 most, bool only_images);
  ~upload();
  upload(const upload&) = delete;
  upload& operator=(const upload&) = delete;

  /// Throws storage_error; false when the bytes are not to be kept, and why() says why.
  bool add(bytes piece);
  /// False likewise, when the whole is not what it claims to be.
  bool finish();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] u64 received() const { return received_; }
  [[nodiscard]] transfer::encoding encoding() const { return encoding_; }
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] bool too_large() const { return too_large_; }

 private:
  friend class store;
  bool refuse(std::string why);
  [[nodiscard]] std::string path() const;

  store& store_;
  std::string name_;
  transfer::encoding encoding_;
  u64 most_;
  bool only_images_;
  std::string object_;
  sys::unique_fd file_;
  bool there_ = false;
  u64 received_ = 0;
  u64 on_its_way_ = 0;  // to the disk
  u64 size_ = 0;
  bool too_large_ = false;
  std::unique_ptr<transfer::decoder> decoder_;
  transfer::stream_check check_;
  std::string why_;
};

class store {
 public:
  /// Throws std::runtime_error with the line for whoever starts the server.
  store(std::string directory, unsigned keep);

  [[nodiscard]] std::optional<entry> find(const std::string& name, std::optional<u64> version);
  [[nodiscard]] std::vector<entry> all();
  bool remove(const std::string& name, std::optional<u64> version);
  moved move(const std::string& name, const std::string& to, bool replace);
  /// The object of an entry, for reading: it stays whole while it is open, whatever happens to the
  /// name. Nothing when it was dropped meanwhile.
  [[nodiscard]] sys::unique_fd open_object(const entry& e) const;
  /// What is durable when it returns.
  entry commit(upload& u);
  /// Bytes that a file may take here.
  [[nodiscard]] u64 room() const;
  /// What was found at the start: files that no version needs, and versions whose file is gone.
  [[nodiscard]] unsigned swept() const { return swept_; }
  [[nodiscard]] const std::vector<std::string>& lost() const { return lost_; }

 private:
  friend class upload;
  void sweep();
  void forget(const std::vector<std::string>& objects) const;

  std::string directory_;
  unsigned keep_;
  sys::unique_fd lock_;
  sys::unique_fd objects_;
  sys::unique_fd incoming_;
  unsigned swept_ = 0;
  std::vector<std::string> lost_;
  // Two connections: who looks something up does not wait for the disk.
  std::mutex writing_;
  std::optional<catalogue> catalogue_;
  std::mutex reading_;
  std::optional<catalogue> reader_;
};

}  // namespace ckpt::server
