#!/usr/bin/env bash
# Runs Python tests for `make test`: python-tests.sh side-by-side WORKERS, python-tests.sh alone, python-tests.sh load
# [PYTEST-OPTION...], python-tests.sh sinks [PYTEST-OPTION...]. What has failed runs once more, with nothing beside it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
pytest=.venv/bin/pytest
unit_log=build/unit-tests.log

# A machine that is busy with other things can make a test late. So what has failed (exit code 1) runs once more, with
# nothing beside it, and is named. A fault fails again. No test runs if none is known to have failed.
once_more() { # exit-code command...
    (($1 == 1)) || return "$1"
    echo "SECOND TRY, with nothing beside them, of those that have just failed:"
    "${@:2}" --last-failed --last-failed-no-failures none --maxfail 3 -v
}

# Unit tests compute. The others wait four fifths of the time, so unit tests run beside them, in one process: for a
# second one, to read all files once more takes a tenth of the CPU time of all unit tests. The slow files come first
# (tests/conftest.py), so that short ones fill the end. The tests of a file stay together, since they share services.
# Two runs cannot share pytest's cache, which keeps what has failed.
side_by_side() { # workers
    local marks=(-m 'not alone and not load') order=(--dist loadfile --no-loadscope-reorder) others unit
    local other_tests=("$pytest" "${marks[@]}" tests/e2e tests/integration)
    local unit_tests=("$pytest" "${marks[@]}" tests/unit -o cache_dir=.pytest_cache/unit)
    mkdir -p build
    "${unit_tests[@]}" >"$unit_log" 2>&1 &
    # Each worker reads all files. On a fresh clone each would also compile all: one reader does that before.
    [[ -d tests/integration/__pycache__ ]] || "${other_tests[@]}" --collect-only -qq >/dev/null
    "${other_tests[@]}" -n "$1" "${order[@]}"
    others=$?
    wait $!
    unit=$?
    cat "$unit_log"
    once_more "$others" "${other_tests[@]}"
    others=$?
    once_more "$unit" "${unit_tests[@]}" && ((others == 0))
}

# Only the files that hold such tests: to read all files takes as long as some of these tests. Two files at once, since
# these tests use a fifth of two cores.
alone() {
    local files
    mapfile -t files < <(grep -rl --include='test_*.py' mark.alone tests/e2e tests/integration tests/unit)
    "$pytest" -m 'alone and not load' -n 2 --dist loadfile "${files[@]}"
    once_more $? "$pytest" -m 'alone and not load'
}

load() { # pytest-option...
    "$pytest" -m load "$@"
    once_more $? "$pytest" -m load
}

sinks() { # pytest-option...
    "$pytest" tests/sinks "$@"
    once_more $? "$pytest" tests/sinks
}

case $1 in
side-by-side) side_by_side "$2" ;;
alone) alone ;;
load) load "${@:2}" ;;
sinks) sinks "${@:2}" ;;
esac
