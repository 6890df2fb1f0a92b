# Sourced by start, test and bench: finds Python, makes .venv, installs what is missing. Expects $extra ("" or "[dev]").
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf '%s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"; return
    fi
  done
  fail "The workbench needs Python 3.11 or newer; none was found on the PATH. Install it, or name it with PYTHON=/path/to/python."
}

set_up() {
  local stamp wanted python free
  if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    free=$(df -Pm . | awk 'NR==2 {print $4}')
    [ "$free" -ge 4000 ] || fail "Only ${free} MB of disk space is free here; the installation needs 4000 MB."
    echo "Making .venv with $("$python" --version)"
    "$python" -m venv .venv || fail "The virtual environment could not be made. On Debian: apt-get install python3-venv."
  fi
  stamp=.venv/.installed"${extra//[\[\]]/-}"
  wanted=$(cat pyproject.toml constraints.txt | .venv/bin/python -c 'import hashlib,sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    echo "Installing the packages (some minutes the first time)"
    .venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$extra" \
      || fail "The packages could not be installed. Is the package registry reachable? pip's message is above; run this again when it is."
    echo "$wanted" > "$stamp"
  fi
}

install_debian() { # package names
  local sudo=""
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  command -v apt-get >/dev/null 2>&1 || fail "Please install: $*"
  echo "Installing $*"
  $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$@" >/dev/null \
    || fail "Could not install: $*. Install them by hand and run this again."
}

find_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome || true; }

set_up_browser() {
  [ -n "${WORKBENCH_CHROMIUM:-$(find_chromium)}" ] || install_debian chromium fonts-noto-core
  export WORKBENCH_CHROMIUM="${WORKBENCH_CHROMIUM:-$(find_chromium)}"
}
