# SPDX-License-Identifier: MIT
#
# What the two commands share. Sourced by bash, with the working directory at the root of the source.

# Whoever starts a script may leave descriptors open in it (make, CI runners). They would be
# inherited by every program under test, and ckpt rightly refuses a pipe it knows nothing of.
close_inherited_descriptors() {
  local path fd
  for path in /proc/$$/fd/*; do
    fd=${path##*/}
    [ "$fd" -gt 2 ] || continue
    # bash reads this script through a descriptor of its own, which no program inherits.
    [ "$(readlink "$path")" = "$(readlink -f "$0")" ] && continue
    eval "exec $fd>&-"
  done
}

# Installs those of the named Debian packages that are missing; needs neither root nor a network
# when none is.
need_packages() {
  local name missing=()
  if ! command -v dpkg-query >/dev/null; then
    echo "$0: this is not Debian; make sure that you have: $*" >&2
    return
  fi
  for name in "$@"; do
    case $(dpkg-query -W -f='${Status}' "$name" 2>/dev/null) in
      *" ok installed") ;;
      *) missing+=("$name") ;;
    esac
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    echo "$0: missing packages; as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  echo "== installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -y -q --no-install-recommends "${missing[@]}"
}

packages_to_build=(cmake ninja-build gcc g++ libboost-dev libxxhash-dev librange-v3-dev
  nlohmann-json3-dev libdw-dev libboost-program-options-dev libsqlite3-dev libssl-dev liblz4-dev
  libzstd-dev scdoc)
