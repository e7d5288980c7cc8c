// SPDX-License-Identifier: MIT
//
// Walks over the records of one type in metadata that has been validated: what cannot be decoded is
// passed over.
#pragma once

#include "ckpt/format/record.hpp"

namespace ckpt::format {

/// Calls visit(const Record&, bytes tail) for every record of that type, in order.
/// Context: any, no libc
template <class Record, class Visitor>
void for_each(bytes metadata, Visitor&& visit) {
  record_cursor cursor(metadata);
  while (!cursor.done()) {
    const auto view = cursor.next();
    if (!view.ok()) return;
    if (view->type != Record::record) continue;
    const auto record = wire::decode<Record>(view->fixed);
    if (record.ok()) visit(*record, view->tail);
  }
}

/// The first record of that type; all fields zero when there is none.
/// Context: any, no libc
template <class Record>
[[nodiscard]] Record first(bytes metadata) {
  Record found{};
  bool have = false;
  for_each<Record>(metadata, [&](const Record& r, bytes) {
    if (!have) found = r;
    have = true;
  });
  return found;
}

}  // namespace ckpt::format
