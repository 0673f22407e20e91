# Sourced by the bash `suite` scripts: where a suite lives, where its cache is, and when it is installed anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
suite=$(basename "$here")
cache=${OTTLA_COMPAT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ottla-compat}/$suite

# needs COMMAND WHAT-TO-DO: stops with a clear word where a tool is missing.
needs() {
  command -v "$1" >/dev/null && return
  echo "$suite: $1 is missing: $2" >&2
  exit 1
}

# install_once FILE…: runs `install` unless the cache was last filled from the same files (the pinned dependencies).
install_once() {
  local stamp
  stamp=$(cd "$here" && sha256sum -- "$@")
  [[ -f $cache/stamp && $(<"$cache/stamp") == "$stamp" ]] && return
  rm -rf "$cache"
  mkdir -p "$cache"
  install >&2
  echo "$stamp" >"$cache/stamp"
}

# installed_or_stop: every command but setup needs what setup installs.
installed_or_stop() {
  [[ -f $cache/stamp ]] && return
  echo "$suite: not installed in $cache: run $here/suite setup" >&2
  exit 1
}
