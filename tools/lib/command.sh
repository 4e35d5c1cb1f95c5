# shellcheck shell=bash
# Shared by tools/*.sh that only call a console command: run_command COMMAND CODE HINT ARGUMENT… becomes the COMMAND of
# the repository's .venv, else of PATH. If it is not installed, CODE is the exit code, and HINT names another way to
# run it.
run_command() {
    local command="$1" code="$2" hint="$3" root
    shift 3
    root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)"
    [[ ! -x "$root/.venv/bin/$command" ]] || exec "$root/.venv/bin/$command" "$@"
    ! command -v "$command" >/dev/null || exec "$command" "$@"
    echo "error: $command is not installed: run 'make install' in $root$hint" >&2
    exit "$code"
}
