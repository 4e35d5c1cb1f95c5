#!/usr/bin/env bash
# Runs Python tests for `make test`: python-tests.sh side-by-side WORKERS, python-tests.sh alone, python-tests.sh load
# [PYTEST-OPTION...]. What has failed runs once more, with nothing beside it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
pytest=.venv/bin/pytest

# A machine that is busy with other things can make a test late. So what has failed (exit code 1) runs once more, with
# nothing beside it, and is named. A fault fails again. No test runs if none is known to have failed.
once_more() { # exit-code command...
    (($1 == 1)) || return "$1"
    echo "SECOND TRY, with nothing beside them, of those that have just failed:"
    "${@:2}" --last-failed --last-failed-no-failures none --maxfail 3 -v
}

# The slow files first, so that short ones fill the end. The tests of a file stay together, since they share services.
# Each worker reads all files. On a fresh clone each would also compile all: two readers do that before.
side_by_side() { # workers
    local tests=("$pytest" -m 'not alone and not load' tests/e2e tests/integration tests/unit)
    [[ -d tests/unit/__pycache__ ]] || printf '%s\n' tests/integration tests/unit \
        | xargs -P 2 -I{} "$pytest" --collect-only -qq {} >/dev/null
    "${tests[@]}" -n "$1" --dist loadfile --no-loadscope-reorder
    once_more $? "${tests[@]}"
}

# Only the files that hold such tests: to read all files takes as long as some of these tests.
alone() {
    local files
    mapfile -t files < <(grep -rl --include='test_*.py' mark.alone tests/e2e tests/integration tests/unit)
    "$pytest" -m 'alone and not load' "${files[@]}"
    once_more $? "$pytest" -m 'alone and not load'
}

load() { # pytest-option...
    "$pytest" -m load "$@"
    once_more $? "$pytest" -m load
}

case $1 in
side-by-side) side_by_side "$2" ;;
alone) alone ;;
load) load "${@:2}" ;;
esac
