// SPDX-License-Identifier: MIT
//
// The byte protocol of old clients: one byte of operation (0 save, 1 restore, 2 access, 3 remove), the
// length of the name as 32 bits with the highest byte first, the name; the reply is one byte, 0 or 1 for
// failure; then the image until the connection is closed. It cannot say that an upload is whole: what
// comes is kept only when it verifies as a whole ckpt image.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <string>

namespace ckpt::server {

class server;
/// `operation` has been read already.
void serve_legacy(server& s, boost::asio::ip::tcp::socket socket, unsigned char operation,
                  const std::string& peer);

}  // namespace ckpt::server
