// SPDX-License-Identifier: MIT
//
// What the server has, in SQLite: which object each version of a name is. A version that is in here is
// on the disk; an object that is not in here is litter.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../transfer/codec.hpp"
#include "ckpt/base/types.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace ckpt::server {

/// The disk, or the catalogue on it, does not do what it should.
class storage_error : public std::runtime_error {
 public:
  storage_error(const std::string& what, bool full = false)
      : std::runtime_error(what), disk_full(full) {}
  const bool disk_full;
};

struct entry {
  u64 version = 0;  // of all that the server was ever given; they only grow
  std::string name;
  std::string object;  // its file's name, 32 hexadecimal digits
  u64 size = 0;        // of the image
  u64 stored_size = 0;
  transfer::encoding encoding = transfer::encoding::identity;
  bool is_image = false;
  i64 modified = 0;  // seconds since 1970
};

enum class moved : u8 { yes, absent, occupied };

/// One connection, to be used by one thread at a time.
class catalogue {
 public:
  explicit catalogue(const std::string& path);
  ~catalogue();
  catalogue(const catalogue&) = delete;
  catalogue& operator=(const catalogue&) = delete;

  /// The newest, or the version that is asked for.
  std::optional<entry> find(const std::string& name, std::optional<u64> version = {});
  /// Newest versions first within a name, names in order.
  std::vector<entry> all();
  /// Adds it and drops all but the newest `keep` of that name; when it returns that is on the disk.
  /// The version; `dropped` gets what is not needed any more.
  u64 add(const entry& e, unsigned keep, std::vector<std::string>& dropped);
  /// False when there is none. Without a version all of the name go.
  bool remove(const std::string& name, std::optional<u64> version, std::vector<std::string>& dropped);
  /// All versions get another name. What has that is dropped, if it may be.
  moved move(const std::string& name, const std::string& to, bool replace, std::vector<std::string>& dropped);

 private:
  class statement;
  class transaction;
  void run(const char* sql);
  [[noreturn]] void fail(const char* doing) const;
  sqlite3* db_ = nullptr;
};

}  // namespace ckpt::server
