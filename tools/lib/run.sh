# shellcheck shell=bash
# Shared by tools/run-*.sh: each starts one service, from the virtual environment or, with a registry, from its image.
# Source it, call `run_options` and the checks, then `run_service`. Settings travel in the environment, never in argv,
# so that no password shows in the list of processes.
#
#   EI_ENGINE       docker or podman (default: the first that is installed and works)
#   EI_ENGINE_ARGS  additional arguments of `<engine> run`, split at spaces
#   EI_TAG          tag of the images (default: the project's version, as in container/build.sh)

RUN_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
RUN_ENGINE_ARGS=() # what a script adds for its own service: a device, a mounted file
# shellcheck source=tools/lib/variables.sh
source "$RUN_ROOT/tools/lib/variables.sh"

# Ends the script with one line on standard error and code 2.
run_die() {
    echo "error: $*" >&2
    exit 2
}

# run_options TABLE ARGUMENT…: reads the script's options. TABLE has entries letter=name: a name in lower case is a
# variable of the script, one in upper case a setting, which is exported unless the value is empty. -h calls `usage`.
run_options() {
    local table="$1" letters=":h" letter entry name OPTIND=1 OPTARG
    shift
    for entry in $table; do letters+="${entry%%=*}:"; done
    while getopts "$letters" letter; do
        case "$letter" in
        h) usage && exit 0 ;;
        :) run_die "-$OPTARG needs a value (-h shows the options)" ;;
        \?) run_die "-$OPTARG is unknown (-h shows the options)" ;;
        esac
        for entry in $table; do [[ "${entry%%=*}" != "$letter" ]] || name="${entry#*=}"; done
        if [[ "$name" != [A-Z]* ]]; then
            printf -v "$name" %s "$OPTARG"
        elif [[ -n "$OPTARG" ]]; then
            export "$name=$OPTARG"
        fi
    done
    shift $((OPTIND - 1))
    (($# == 0)) || run_die "'$1' is not an option (-h shows the options)"
}

# run_port OPTION VALUE: VALUE must be a TCP port.
run_port() {
    { [[ "$2" =~ ^[0-9]{1,5}$ ]] && ((10#$2 >= 1 && 10#$2 <= 65535)); } || run_die "$1 $2: expected a port, 1 to 65535"
}

# run_listen OPTION NAME VALUE: exports the port to listen on; 0 takes a free one, an empty value changes nothing.
run_listen() {
    [[ -n "$3" ]] || return 0
    [[ "$3" == 0 ]] || run_port "$1" "$3"
    export "$2=$3"
}

# run_queue ADDRESS PORT USER: the frame queue's Redis. It is the broker's too, unless BROKER_* says otherwise.
run_queue() {
    run_port -p "$2"
    run_redis QUEUE "$1" "$2"
    run_login QUEUE "$3"
}

# run_redis PREFIX ADDRESS PORT: ADDRESS is a host or a whole URL (redis://…). Exports PREFIX_HOST and PREFIX_PORT or
# PREFIX_URL; PREFIX is QUEUE or BROKER. An inherited address is replaced.
run_redis() {
    unset "$1_URL" "$1_HOST" "$1_PORT"
    if [[ "$2" == *://* ]]; then
        export "$1_URL=$2"
    else
        [[ -n "$2" && "$2" != *[[:space:]/]* ]] \
            || run_die "'$2' is not an address: expected a host name, an IP address or redis://…"
        export "$1_HOST=$2" "$1_PORT=$3"
        run_refuse_http "$2" "$3"
    fi
}

# run_refuse_http HOST PORT: ends the script if a web server answers, since the two node ports are easily mixed up.
# If nothing answers it continues: the service retries automatically.
run_refuse_http() {
    local line
    # To Redis this is a GET with one argument too many, which it refuses.
    # shellcheck disable=SC2016  # the inner shell expands them
    line="$(timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET / HTTP/1.0\r\n\r\n" >&3 &&
        IFS= read -r -t 4 line <&3; printf "%s" "${line:0:40}"' "$1" "$2" 2>/dev/null | tr -d '\0')" || true
    if [[ "$line" == HTTP/* ]]; then
        run_die "port $2 at $1 answers HTTP: $RUN_DASHBOARD_PORT is the dashboard," \
            "the frame queue is port $RUN_QUEUE_PORT (give -p $RUN_QUEUE_PORT)"
    fi
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

# run_stream_name SUFFIX: the name of a container's stream, if none is set, comes from the host that it runs on.
run_stream_name() {
    export STREAM_NAME="${STREAM_NAME:-$(hostname | tr -c 'A-Za-z0-9._\n-' _)-$1}"
}

# run_mount NAME SOURCE TARGET [rw]: adds a mount, read-only by default, to RUN_ENGINE_ARGS.
run_mount() {
    local mount="type=bind,source=$2,target=$3"
    # The engine would cut the path at a comma.
    [[ "$2$3" != *,* ]] \
        || run_die "$1 $2: a path with a comma can't be mounted, rename it or link to it from another folder"
    [[ "${4:-}" == rw ]] || mount+=",readonly"
    # Queue and broker often share a file, and no engine mounts two files in one place.
    [[ " ${RUN_ENGINE_ARGS[*]} " == *" $mount "* ]] || RUN_ENGINE_ARGS+=(--mount "$mount")
}

# run_file NAME USE [FOLDER]: brings the file or folder that the setting NAME holds into the container.
#   secret  the content is passed in the environment: the container's user may not read the file
#   read    it is mounted read-only, in FOLDER or else at its own path
#   model   as read, and the files beside it too: a model's description and weights
#   write   the folder is mounted, and may be written to
#   beside  the folder that the file is in is mounted, and may be written to: the service replaces the file
run_file() {
    local name="$1" use="$2" folder="${3:-}" given="${!1}" plain="${1%_FILE}" path mode=""
    if [[ "$use" == beside ]]; then
        path="$(realpath -- "$(dirname -- "$given")")" && [[ -d "$path" ]] \
            || run_die "$name=$given: expected a file in a folder that exists"
        run_mount "$name" "$path" "$path" rw
        export "$name=$path/$(basename -- "$given")"
        return
    fi
    if [[ "$use" == write ]]; then
        [[ -d "$given" && -w "$given" ]] || run_die "$name=$given: expected a writable folder"
        mode=rw
    else
        [[ -e "$given" && -r "$given" ]] || run_die "$name=$given: expected a readable file or folder"
    fi
    if [[ "$use" == secret ]]; then
        [[ -n "${!plain:-}" ]] || export "$plain=$(<"$given")"
        unset "$name"
        return
    fi
    path="$(realpath -- "$given")"
    if [[ -z "$folder" ]]; then
        run_mount "$name" "$path" "$path" "$mode"
        export "$name=$path"
    elif [[ "$use" != model ]]; then
        run_mount "$name" "$path" "$folder/$(basename -- "$given")"
        export "$name=$folder/$(basename -- "$given")"
    elif [[ -d "$path" ]]; then
        run_mount "$name" "$path" "$folder"
        export "$name=$folder"
    else
        run_mount "$name" "$(dirname -- "$path")" "$folder"
        export "$name=$folder/$(basename -- "$path")"
    fi
}

run_engine() {
    local engine
    for engine in ${EI_ENGINE:-docker podman}; do
        command -v "$engine" >/dev/null || continue
        # a docker client is useless without its daemon
        [[ -n "${EI_ENGINE:-}" || $engine != docker ]] || docker info >/dev/null 2>&1 || continue
        echo "$engine" && return
    done
    run_die "-y needs ${EI_ENGINE:-docker or podman}, not found"
}

run_version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$RUN_ROOT/apps/elastic_inference/__init__.py"
}

# run_service COMMAND IMAGE REGISTRY [NAME…]: becomes the service. If REGISTRY is empty, that is COMMAND (ei-…) of the
# virtual environment; else the container REGISTRY/IMAGE, which gets those of COMMAND's settings that are set, with
# their files, and each variable NAME. An image whose own command differs is started with COMMAND.
run_service() {
    local command="$1" image="$2" registry="$3" engine entry name use folder arguments passed=()
    shift 3
    if [[ -z "$registry" ]]; then
        [[ -x "$RUN_ROOT/.venv/bin/$command" ]] \
            || run_die "$command is not installed: run 'make install' in $RUN_ROOT first"
        exec "$RUN_ROOT/.venv/bin/$command"
    fi
    engine="$(run_engine)" || exit 2
    export METRICS_PORT="${METRICS_PORT:-0}" # on the host's network several services share its ports
    for entry in ${RUN_VARIABLES[$command]} "$@"; do
        IFS=: read -r name use folder <<<"$entry"
        if [[ "$name" == *=* ]]; then
            use="${name#*=}" name="${name%%=*}"
            [[ -z "${!name:-}" || -n "${!use:-}" ]] || export "$use=${!name}"
            continue
        fi
        [[ -n "${!name:-}" ]] || continue
        [[ -z "$use" ]] || run_file "$name" "$use" "$folder"
        [[ "$use" != secret ]] || name="${name%_FILE}"
        passed+=("$name")
    done
    arguments=(run --rm --network host)
    for name in "${passed[@]}"; do arguments+=(-e "$name"); done
    [[ "$command" == "$image" ]] || arguments+=(--entrypoint "$command")
    # shellcheck disable=SC2206  # split at spaces on purpose
    arguments+=("${RUN_ENGINE_ARGS[@]}" ${EI_ENGINE_ARGS:-})
    exec "$engine" "${arguments[@]}" "${registry%/}/$image:${EI_TAG:-$(run_version)}"
}
