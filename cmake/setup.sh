#!/usr/bin/env bash
# Installs the Debian packages that a build needs: cmake/setup.sh [clang] [tidy]
# Says nothing and takes milliseconds when all of them are there.
set -euo pipefail

packages=(g++ cmake ninja-build pkg-config python3 libabsl-dev libfmt-dev libspdlog-dev nlohmann-json3-dev
          libgtest-dev libgmock-dev libsqlite3-dev libhiredis-dev libssl-dev openssl redis-server
          libcurl4-openssl-dev libvalijson-dev python3-venv)
for extra in "$@"; do
  case $extra in
    # The runtimes of the sanitizers and of libFuzzer, the symbolizer for their stacks, and a fast linker.
    clang) packages+=(clang-19 libclang-rt-19-dev llvm-19 lld-19) ;;
    tidy) packages+=(clang-tidy-19) ;;
    *) echo "setup: unknown extra '$extra' (clang, tidy)" >&2; exit 2 ;;
  esac
done

# The linker of some cells; from Debian 13 on a package of its own.
(($(. /etc/os-release 2>/dev/null && [[ ${ID:-} == debian ]] && echo "${VERSION_ID:-0}" || echo 0) >= 13)) && packages+=(binutils-gold)

if ! command -v dpkg-query >/dev/null; then
  echo "setup: not a Debian system; going on, with what is installed. Needed: ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
    missing+=("$package")
done
((${#missing[@]})) || exit 0

echo "setup: installing ${missing[*]}"
sudo=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || {
    echo "setup: neither root nor sudo. Have an administrator run:" >&2
    echo "  apt-get install ${missing[*]}" >&2
    exit 1
  }
  sudo=(sudo)
fi
apt() {
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 \
    -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 "$@"
}
apt update && apt install --no-install-recommends -y "${missing[@]}" >/dev/null || {
  echo "setup: apt-get could not install: ${missing[*]}" >&2
  echo "setup: its message is above; the packages are those of Debian 12, main section" >&2
  exit 1
}
