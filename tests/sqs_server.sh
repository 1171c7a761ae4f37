#!/usr/bin/env bash
# Runs sqs_server.py in a Python environment, build/sqs-venv, which it makes when it is not there:
#   tests/sqs_server.sh [--install-only | --socket PATH]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$here")/build
venv=$build/sqs-venv
stamp=$venv/$(sha256sum "$here/sqs_requirements.txt" | cut -c1-16)
if [[ ! -f $stamp ]]; then
  mkdir -p "$build"
  exec 9>"$build/sqs-venv.lock"
  flock 9  # several tests may start at once
  if [[ ! -f $stamp ]]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" --quiet --disable-pip-version-check install \
      --requirement "$here/sqs_requirements.txt" >&2
    touch "$stamp"
  fi
  flock -u 9
  exec 9>&-
fi
[[ ${1:-} == --install-only ]] || exec "$venv/bin/python" "$here/sqs_server.py" "$@"
