#!/usr/bin/env bash
# Runs sqs_server.py in a Python environment, build/sqs-venv, which it makes when it is not there:
#   tests/sqs_server.sh [--install-only | --socket PATH]
set -euo pipefail
source "$(dirname "$0")/packages.sh"
requirements=$root/tests/sqs_requirements.txt
venv=$build/sqs-venv

bring "$venv" "$(<"$requirements")" make_venv "$venv" "$requirements"
[[ ${1:-} == --install-only ]] || exec "$venv/bin/python" "$root/tests/sqs_server.py" "$@"
