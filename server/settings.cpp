// SPDX-License-Identifier: MIT
#include "settings.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/program_options.hpp>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include "ckpt/base/text.hpp"

namespace ckpt::server {
namespace {

namespace po = boost::program_options;

[[noreturn]] void usage(const std::string& why) {
  std::fprintf(stderr, "ckptsrv: %s (see ckptsrv --help)\n", why.c_str());
  std::exit(2);
}

/// 4096, 64K, 10M, 20G, 1T.
u64 size_of(const std::string& text) {
  std::string_view digits = text;
  unsigned shift = 0;
  if (!digits.empty()) {
    const auto letter = std::string_view("KMGT").find(digits.back());
    if (letter != std::string_view::npos) {
      shift = 10 * (static_cast<unsigned>(letter) + 1);
      digits.remove_suffix(1);
    }
  }
  const auto number = parse_number(digits);
  if (!number.ok() || *number == 0 || *number > (~u64{0} >> 1 >> shift))
    usage("--max-size " + text + " means nothing (a number of bytes, or with K, M, G, T behind it)");
  return *number << shift;
}

unsigned number_of(const po::variables_map& values, const char* name, unsigned least, unsigned most) {
  const auto& text = values[name].as<std::string>();
  const auto number = parse_number(text);
  if (!number.ok() || *number < least || *number > most)
    usage("--" + std::string(name) + " " + text + " means nothing (a number from " + std::to_string(least) +
          " to " + std::to_string(most) + ")");
  return static_cast<unsigned>(*number);
}

std::string state_directory() {
  // An empty or relative variable counts as none (XDG Base Directory Specification).
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/')
    return std::string(state) + "/ckptsrv";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return std::string(home) + "/.local/state/ckptsrv";
  usage("there is neither XDG_STATE_HOME nor HOME; say where the images go (-d DIR)");
}

bool is_loopback(const std::string& bind) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(bind, error);
  return error ? bind == "localhost" : address.is_loopback();
}

}  // namespace

settings read_settings(int argc, char** argv) {
  settings s;
  po::options_description known("Options");
  const auto text = [](std::string* to) { return po::value<std::string>(to)->value_name("ARG"); };
  std::string port, size;
  known.add_options()
      ("port,p", po::value<std::string>()->default_value("10301")->value_name("PORT"), "the port; 0 for any that is free")
      ("directory,d", text(&s.directory), "where the images are (default: $XDG_STATE_HOME/ckptsrv)")
      ("bind", text(&s.bind), "the address or host name to listen at (default: 127.0.0.1)")
      ("token-file", text(&s.token_file), "who may come: a token a line, with read behind it if it may only read")
      ("insecure", "listen beyond this machine without a token")
      ("cert", text(&s.certificate), "speak TLS: the certificate chain, PEM")
      ("key", text(&s.key), "its private key, PEM (default: in the file of --cert)")
      ("keep", po::value<std::string>()->default_value("1")->value_name("N"), "how many versions of a name are kept")
      ("max-size", po::value<std::string>()->default_value("1T")->value_name("BYTES"), "the largest image that is taken")
      ("max-connections", po::value<std::string>()->default_value("16384")->value_name("N"), "how many at once")
      ("max-uploads", po::value<std::string>()->default_value("256")->value_name("N"), "how many at once")
      ("timeout", po::value<std::string>()->default_value("30")->value_name("SECONDS"), "how long a client may say nothing")
      ("grace", po::value<std::string>()->default_value("30")->value_name("SECONDS"), "what uploads have to end after SIGTERM")
      ("only-images", "keep nothing but whole ckpt images")
      ("legacy", "speak the byte protocol of old clients as well; on loopback only")
      ("verbose,v", "say what is done")
      ("quiet,q", "say nothing once it runs")
      ("help,h", "this text")
      ("version,V", "the version");
  po::variables_map values;
  try {
    po::store(po::command_line_parser(argc, argv).options(known).positional({}).run(), values);
    po::notify(values);
  } catch (const po::error& error) {
    usage(error.what());
  }
  if (values.count("help") != 0) {
    std::cout << "usage: ckptsrv [OPTION]...\n"
                 "Keeps checkpoint images for cssrv:// and cssrvs:// names; speaks HTTP/1.1.\n\n"
              << known << "\nMore: ckptsrv(1).\n";
    std::exit(std::cout.flush() ? 0 : 1);
  }
  if (values.count("version") != 0) {
    std::puts("ckptsrv " CKPT_VERSION);
    std::exit(0);
  }
  s.port = static_cast<unsigned short>(number_of(values, "port", 0, 65535));
  s.keep = number_of(values, "keep", 1, 1'000'000);
  s.max_size = size_of(values["max-size"].as<std::string>());
  s.max_connections = number_of(values, "max-connections", 1, 1'000'000);
  s.max_uploads = number_of(values, "max-uploads", 1, 100'000);
  s.timeout = number_of(values, "timeout", 1, 86'400);
  s.grace = number_of(values, "grace", 0, 86'400);
  s.insecure = values.count("insecure") != 0;
  s.legacy = values.count("legacy") != 0;
  s.only_images = values.count("only-images") != 0;
  s.verbose = values.count("verbose") != 0;
  s.quiet = values.count("quiet") != 0;
  if (values.count("directory") == 0) s.directory = state_directory();
  if (s.directory.empty()) usage("the directory's name is empty");
  if (!s.key.empty() && s.certificate.empty()) usage("--key needs --cert");
  if (s.key.empty()) s.key = s.certificate;
  const bool loopback = is_loopback(s.bind);
  if (!loopback && s.token_file.empty() && !s.insecure)
    usage("at " + s.bind + " everybody who reaches it could read and replace images; give it a "
          "--token-file, or say --insecure");
  if (s.legacy && (!loopback || !s.token_file.empty() || !s.certificate.empty()))
    usage("--legacy knows neither tokens nor TLS and works on loopback only");
  return s;
}

}  // namespace ckpt::server
