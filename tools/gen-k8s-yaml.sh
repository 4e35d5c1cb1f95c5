#!/usr/bin/env bash
# Writes Kubernetes manifests from the templates in kubernetes/: `tools/gen-k8s-yaml.sh -h`. It needs Python 3.11 with
# venv. It runs in .venv if `make install` created one. Otherwise it installs the few packages that it needs into
# build/, once and pinned. If that is interrupted, the next run starts it again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lock=$here/container/locks/manifests.txt

fail() {
    echo "gen-k8s-yaml: $*" >&2
    exit 2
}

has_packages() { # python
    "$1" -c 'import jinja2, yaml; from pydantic import TypeAdapter' 2>/dev/null
}

check_python() { # python
    command -v "$1" >/dev/null || fail "$1 is missing: install Python 3.11 or newer"
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || fail "$("$1" --version) is too old: Python 3.11 or newer is needed (PYTHON=…)"
}

install_packages() { # python folder
    local making=$2.$$ log=$2.log old
    { mkdir -p "$here/build" && : >"$log"; } 2>/dev/null \
        || fail "$here/build cannot be written: its Python packages go there"
    echo "gen-k8s-yaml: installing its Python packages into ${2#"$here"/} (once)" >&2
    for old in "$here"/build/gen-k8s-yaml-*; do # those of another version, and of a run that was interrupted
        [ "$old" = "$log" ] || kill -0 "${old##*.}" 2>/dev/null || rm -rf "$old"
    done
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$making'" EXIT
    "$1" -m venv "$making" >"$log" 2>&1 \
        || fail "$1 cannot make a virtual environment: install its venv module (Debian, Ubuntu: python3-venv)"
    "$making/bin/python" -m pip install --disable-pip-version-check --no-input --retries 1 --timeout 20 \
        --require-hashes -r "$lock" >"$log" 2>&1 \
        || fail "cannot install its Python packages: PyPI, or the mirror that pip is set up for," \
            "must be reachable once" \
            "(${log#"$here"/}: $(grep -i '^error' "$log" | tail -n 1))"
    # only a complete environment gets its final name
    has_packages "$2/bin/python" || mv "$making" "$2"
    rm -rf "$log" "$making"
}

python=${PYTHON:-$here/.venv/bin/python}
[ -z "${PYTHON:-}" ] || check_python "$python"
if ! has_packages "$python"; then
    python=${PYTHON:-python3}
    check_python "$python"
    own=$here/build/gen-k8s-yaml-$(cksum <"$lock" | cut -d ' ' -f 1)
    has_packages "$own/bin/python" || install_packages "$python" "$own"
    python=$own/bin/python
fi
export PYTHONPATH=$here/apps${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1
exec "$python" -m elastic_inference.commands.manifests.main "$@"
