# Shared by tools/run-*.sh: each starts one service, from the virtual environment or, with a registry, from its image.
# Source it, set the service's variables, then call `run_service`. Settings travel by environment, never by argv, so
# that no password shows in a list of processes.
#
#   EI_ENGINE       docker or podman (default: the first of them that is there)
#   EI_ENGINE_ARGS  further arguments of `<engine> run`, split at blanks
#   EI_TAG          tag of the images (default: the project's version, as container/build.sh)

RUN_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
RUN_ENGINE_ARGS=() # what a script adds for its own service: a device, a mounted file

# Ends the script with one line on standard error and code 2.
run_die() {
    echo "error: $*" >&2
    exit 2
}

# run_port OPTION VALUE: VALUE must be a TCP port.
run_port() {
    [[ "$2" =~ ^[0-9]{1,5}$ ]] && ((10#$2 >= 1 && 10#$2 <= 65535)) || run_die "$1 $2: expected a port, 1 to 65535"
}

# run_redis PREFIX ADDRESS PORT: ADDRESS is a host or a whole URL (redis://…). Exports PREFIX_HOST and PREFIX_PORT or
# PREFIX_URL; PREFIX is QUEUE or BROKER. An inherited URL gives way.
run_redis() {
    unset "$1_URL" "$1_HOST" "$1_PORT"
    if [[ "$2" == *://* ]]; then
        export "$1_URL=$2"
    else
        [[ -n "$2" && "$2" != *[[:space:]/]* ]] || run_die "'$2' is no address: expected a host name, an IP address or redis://…"
        export "$1_HOST=$2" "$1_PORT=$3"
    fi
}

# run_refuse_http HOST PORT: ends the script where a web server answers: 31002 is the dashboard, 31003 the queue.
# A port that does not answer is no reason to stop, the service tries again by itself.
run_refuse_http() {
    local line
    [[ "$1" != *://* ]] || return 0
    # To Redis this is a GET with an argument too many, which it refuses.
    # shellcheck disable=SC2016  # the inner shell expands them
    line="$(timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET / HTTP/1.0\r\n\r\n" >&3 && IFS= read -r -t 4 line <&3; printf "%s" "${line:0:40}"' "$1" "$2" 2>/dev/null | tr -d '\0')" || true
    if [[ "$line" == HTTP/* ]]; then
        run_die "port $2 at $1 answers HTTP: 31002 is the dashboard, the frame queue is port 31003 (give -p 31003)"
    fi
}

# run_mount WHAT SOURCE TARGET: adds a read-only mount to RUN_ENGINE_ARGS. A comma would end the source for the engine.
run_mount() {
    [[ "$2$3" != *,* ]] || run_die "$1 $2: a path with a comma can't be mounted, rename it or link to it from another folder"
    RUN_ENGINE_ARGS+=(--mount "type=bind,source=$2,target=$3,readonly")
}

# run_login PREFIX USER: exports PREFIX_USERNAME; the password is PREFIX_PASSWORD, PREFIX_PASSWORD_FILE or asked for.
run_login() {
    local password="$1_PASSWORD" file="$1_PASSWORD_FILE" answer=""
    [[ -n "$2" ]] || return 0
    export "$1_USERNAME=$2"
    [[ -z "${!password:-}" && -z "${!file:-}" ]] || return 0
    [[ -t 0 ]] || run_die "-u $2 needs a password: set $password or $file, or run this in a terminal to be asked"
    IFS= read -rs -p "Password of $2: " answer
    echo >&2
    [[ -n "$answer" ]] || run_die "-u $2 needs a password, none was given"
    export "$password=$answer"
}

run_engine() {
    local engine
    for engine in ${EI_ENGINE:-docker podman}; do
        command -v "$engine" >/dev/null || continue
        # a docker client without its engine is of no use
        [[ -n "${EI_ENGINE:-}" || $engine != docker ]] || docker info >/dev/null 2>&1 || continue
        echo "$engine" && return
    done
    run_die "-y needs ${EI_ENGINE:-docker or podman}, not found"
}

run_version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$RUN_ROOT/apps/elastic_inference/__init__.py"
}

# run_service COMMAND IMAGE REGISTRY VARIABLE…: becomes the service. REGISTRY empty: COMMAND (ei-…) of the virtual
# environment; else the container REGISTRY/IMAGE, which gets the VARIABLEs that are set, and the common ones.
run_service() {
    local command="$1" image="$2" registry="$3" engine name file
    shift 3
    if [[ -z "$registry" ]]; then
        [[ -x "$RUN_ROOT/.venv/bin/$command" ]] || run_die "$command is not installed: run 'make install' in $RUN_ROOT first"
        exec "$RUN_ROOT/.venv/bin/$command"
    fi
    engine="$(run_engine)" || exit 2
    export METRICS_PORT="${METRICS_PORT:-0}" # on the host's network several services share its ports
    local arguments=(run --rm --network host)
    for name in QUEUE BROKER; do
        # The file may be unreadable for the container's user: its content goes by environment.
        file="${name}_PASSWORD_FILE"
        if [[ -n "${!file:-}" ]]; then
            [[ -r "${!file}" ]] || run_die "$file=${!file}: expected a readable file"
            export "${name}_PASSWORD=$(<"${!file}")"
        fi
        for file in URL HOST PORT USERNAME PASSWORD; do set -- "$@" "${name}_$file"; done
    done
    for name in "$@" METRICS_HOST METRICS_PORT METRICS_WINDOW_S LOG_LEVEL LOG_FORMAT; do
        [[ -z "${!name:-}" ]] || arguments+=(-e "$name")
    done
    # shellcheck disable=SC2206  # split at blanks on purpose
    arguments+=("${RUN_ENGINE_ARGS[@]}" ${EI_ENGINE_ARGS:-})
    exec "$engine" "${arguments[@]}" "${registry%/}/$image:${EI_TAG:-$(run_version)}"
}
