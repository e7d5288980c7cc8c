// SPDX-License-Identifier: MIT
#include "catalogue.hpp"

#include <sqlite3.h>

namespace ckpt::server {
namespace {

constexpr int schema_version = 1;
constexpr const char* schema =
    "CREATE TABLE image ("
    " version INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL,"
    " object TEXT NOT NULL UNIQUE,"
    " size INTEGER NOT NULL,"
    " stored_size INTEGER NOT NULL,"
    " encoding TEXT NOT NULL,"
    " is_image INTEGER NOT NULL,"
    " modified INTEGER NOT NULL);"
    "CREATE INDEX image_by_name ON image (name, version);";
constexpr const char* columns =
    "version, name, object, size, stored_size, encoding, is_image, modified";

}  // namespace

void catalogue::fail(const char* doing) const {
  const int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(db_);
  throw storage_error(std::string("cannot ") + doing + ": " +
                          (db_ == nullptr ? "no memory" : sqlite3_errmsg(db_)),
                      code == SQLITE_FULL);
}

class catalogue::statement {
 public:
  statement(catalogue& c, const std::string& sql) : owner_(c) {
    if (sqlite3_prepare_v2(c.db_, sql.c_str(), -1, &s_, nullptr) != SQLITE_OK)
      c.fail("ask the catalogue");
  }
  ~statement() { sqlite3_finalize(s_); }
  statement(const statement&) = delete;
  statement& operator=(const statement&) = delete;

  statement& bind(const std::string& text) {
    sqlite3_bind_text(s_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return *this;
  }
  statement& bind(u64 number) {
    sqlite3_bind_int64(s_, ++bound_, static_cast<sqlite3_int64>(number));
    return *this;
  }
  bool step() {
    const int r = sqlite3_step(s_);
    if (r == SQLITE_ROW) return true;
    if (r != SQLITE_DONE) owner_.fail("write the catalogue");
    return false;
  }
  [[nodiscard]] std::string text(int column) const {
    const auto* t = reinterpret_cast<const char*>(sqlite3_column_text(s_, column));
    return t == nullptr ? std::string()
                        : std::string(t, static_cast<std::size_t>(sqlite3_column_bytes(s_, column)));
  }
  [[nodiscard]] u64 number(int column) const {
    return static_cast<u64>(sqlite3_column_int64(s_, column));
  }
  [[nodiscard]] entry row() const {
    entry e;
    e.version = number(0);
    e.name = text(1);
    e.object = text(2);
    e.size = number(3);
    e.stored_size = number(4);
    (void)transfer::parse_encoding(text(5), e.encoding);
    e.is_image = number(6) != 0;
    e.modified = static_cast<i64>(number(7));
    return e;
  }

 private:
  catalogue& owner_;
  sqlite3_stmt* s_ = nullptr;
  int bound_ = 0;
};

/// All of it, or nothing: what was not committed has dropped no object either.
class catalogue::transaction {
 public:
  transaction(catalogue& c, std::vector<std::string>& dropped) : owner_(c), dropped_(dropped) { c.run("BEGIN IMMEDIATE"); }
  ~transaction() {
    if (committed_) return;
    sqlite3_exec(owner_.db_, "ROLLBACK", nullptr, nullptr, nullptr);
    dropped_.clear();
  }
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  void commit() {
    owner_.run("COMMIT");
    committed_ = true;
  }

 private:
  catalogue& owner_;
  std::vector<std::string>& dropped_;
  bool committed_ = false;
};

catalogue::catalogue(const std::string& path) {
  if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW,
                      nullptr) != SQLITE_OK) {
    const std::string why = db_ == nullptr ? "no memory" : sqlite3_errmsg(db_);
    sqlite3_close(db_);
    throw storage_error("cannot open the catalogue " + path + ": " + why);
  }
  try {
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=FULL");
    bool whole = false;
    {
      statement check(*this, "PRAGMA quick_check(1)");
      whole = check.step() && check.text(0) == "ok";
    }
    if (!whole) throw storage_error("the catalogue " + path + " is damaged; restore it, or begin with an empty directory");
    u64 version = 0;
    {
      statement asked(*this, "PRAGMA user_version");
      if (asked.step()) version = asked.number(0);
    }
    if (version > schema_version)
      throw storage_error("the catalogue " + path + " was made by a newer ckptsrv");
    if (version == 0) {
      run("BEGIN IMMEDIATE");
      run(schema);
      run("PRAGMA user_version=1");
      run("COMMIT");
    }
  } catch (...) {
    sqlite3_close(db_);
    throw;
  }
}

catalogue::~catalogue() { sqlite3_close(db_); }

void catalogue::run(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail("write the catalogue");
}

std::optional<entry> catalogue::find(const std::string& name, std::optional<u64> version) {
  statement s(*this, std::string("SELECT ") + columns + " FROM image WHERE name = ?" +
                         (version ? " AND version = ?" : " ORDER BY version DESC LIMIT 1"));
  s.bind(name);
  if (version) s.bind(*version);
  if (!s.step()) return std::nullopt;
  return s.row();
}

std::vector<entry> catalogue::all() {
  statement s(*this, std::string("SELECT ") + columns + " FROM image ORDER BY name, version DESC");
  std::vector<entry> found;
  while (s.step()) found.push_back(s.row());
  return found;
}

u64 catalogue::add(const entry& e, unsigned keep, std::vector<std::string>& dropped) {
  transaction whole(*this, dropped);
  statement(*this,
            "INSERT INTO image (name, object, size, stored_size, encoding, is_image, modified)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)")
      .bind(e.name)
      .bind(e.object)
      .bind(e.size)
      .bind(e.stored_size)
      .bind(std::string(transfer::name_of(e.encoding)))
      .bind(u64{e.is_image})
      .bind(static_cast<u64>(e.modified))
      .step();
  const auto version = static_cast<u64>(sqlite3_last_insert_rowid(db_));
  std::vector<u64> old;
  {
    statement s(*this, "SELECT version, object FROM image WHERE name = ? ORDER BY version DESC"
                       " LIMIT -1 OFFSET ?");
    s.bind(e.name).bind(u64{keep});
    while (s.step()) {
      old.push_back(s.number(0));
      dropped.push_back(s.text(1));
    }
  }
  for (const u64 v : old) statement(*this, "DELETE FROM image WHERE version = ?").bind(v).step();
  whole.commit();
  return version;
}

bool catalogue::remove(const std::string& name, std::optional<u64> version,
                       std::vector<std::string>& dropped) {
  transaction whole(*this, dropped);
  const std::string which = std::string(" FROM image WHERE name = ?") + (version ? " AND version = ?" : "");
  {
    statement s(*this, "SELECT object" + which);
    s.bind(name);
    if (version) s.bind(*version);
    while (s.step()) dropped.push_back(s.text(0));
  }
  {
    statement s(*this, "DELETE" + which);
    s.bind(name);
    if (version) s.bind(*version);
    s.step();
  }
  whole.commit();
  return !dropped.empty();
}

moved catalogue::move(const std::string& name, const std::string& to, bool replace,
                      std::vector<std::string>& dropped) {
  transaction whole(*this, dropped);
  auto outcome = moved::yes;
  if (!find(name)) outcome = moved::absent;
  else if (name != to && !replace && find(to)) outcome = moved::occupied;
  if (outcome == moved::yes && name != to) {
    {
      statement s(*this, "SELECT object FROM image WHERE name = ?");
      s.bind(to);
      while (s.step()) dropped.push_back(s.text(0));
    }
    statement(*this, "DELETE FROM image WHERE name = ?").bind(to).step();
    statement(*this, "UPDATE image SET name = ? WHERE name = ?").bind(to).bind(name).step();
  }
  whole.commit();
  return outcome;
}

}  // namespace ckpt::server
