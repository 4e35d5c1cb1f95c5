#!/usr/bin/env bash
# Makes or updates the Python environment of the project: python-environment.sh FOLDER PYTHON LOCK MARK...
# Called by `make install` and `make demo`, which look at the marks, files in FOLDER. An interrupted installation leaves
# a folder that pip cannot repair, so it is removed and created again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
venv="$1" python="$2" lock="$3"
# The marks: the installation succeeded. `intact`: pip itself failed, and left the environment usable.
marks=("${@:4}") intact="$venv/.intact"

# Two installations at once would remove each other's files. A pip whose parent was killed holds the lock as well.
if command -v flock >/dev/null; then
    exec 9>"$venv.lock"
    flock --nonblock 9 || { echo "another installation into $venv is running, waiting for it" && flock 9; }
fi
if [[ -d "$venv" && ! -e "$intact" ]] && ! compgen -G "$venv/.installed*" >/dev/null; then
    echo "the installation into $venv was interrupted: starting again"
    rm -rf "$venv"
fi
interrupted=""
trap 'interrupted=1' INT TERM HUP
if [[ -d "$venv" ]]; then
    rm -f "$venv"/.installed* "$intact"
else
    echo "installing into $venv (a few minutes the first time)"
    "$python" -m venv "$venv"
fi
# On all cores, which pip cannot. What cannot be compiled is said when somebody imports it. A third of all code is
# left out: tests of libraries, what few commands import or nobody, and what mypy has as binaries.
compile() {
    local left_out='/(tests|mypy|mypyc|pygments|rich|cyclonedx|pip|pip_api|setuptools|valkey|f2py)/'
    "$venv/bin/python" -m compileall -q -j 0 -x "$left_out" "$venv/lib" >/dev/null || true
}

pip=("$venv/bin/python" -m pip install --disable-pip-version-check -q)
if "${pip[@]}" --no-compile --progress-bar on --require-hashes -r "$lock" \
    && compile \
    && "${pip[@]}" --no-deps --require-hashes -r container/locks/model-api.txt \
    && "${pip[@]}" --no-deps --no-build-isolation -e . \
    && [[ -z "$interrupted" ]]; then
    touch "${marks[@]/#/$venv/}"
    exit 0
fi
[[ -n "$interrupted" ]] || touch "$intact"
exit 1
