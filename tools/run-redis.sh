#!/usr/bin/env bash
# Starts the server of the frame queue and the stream broker, for one machine.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-redis.sh [-p PORT] [-b ADDRESS] [-m MB] [-a FILE | -u FILE] [-y REGISTRY|IMAGE] [-h]

  -p PORT      port to listen on (default: 31003)
  -b ADDRESS   address to listen on (default: 127.0.0.1; all of them when users must log in)
  -m MB        memory at most (default: 512)
  -a FILE      lock the server with the users of this ACL file
  -u FILE      lock it with the users camera, worker, viewer, scaler and admin; FILE has a line user=password for
               each, and is made with random passwords where it is missing
  -y REGISTRY  run an image instead of the embedded Valkey: a registry (REGISTRY/valkey/valkey:8.1) or a whole name
               with its tag (docker.io/valkey/valkey:8.1, or any Redis from 7)
  -h           this text

Nothing is kept on disk: frames are worth nothing after seconds. MAX_FRAME_BYTES in the environment says how large a
frame may be (4194304); give the services the same.
TEXT
}

arguments=() image=""
while getopts ":p:b:m:a:u:y:h" option; do
    case "$option" in
    p) run_port -p "$OPTARG" && arguments+=(-p "$OPTARG") ;;
    b | m | a | u) arguments+=("-$option" "$OPTARG") ;;
    y) image="$OPTARG" ;;
    h) usage && exit 0 ;;
    :) run_die "-$OPTARG needs a value (-h shows the options)" ;;
    *) run_die "-$OPTARG is unknown (-h shows the options)" ;;
    esac
done
shift $((OPTIND - 1))
(($# == 0)) || run_die "'$1' is not an option (-h shows them)"

python="$RUN_ROOT/.venv/bin/python"
[[ -x "$python" ]] || run_die "nothing is installed: run 'make install' in $RUN_ROOT first"
[[ -n "$image" ]] || exec "$python" -m elastic_inference.commands.embedded_valkey_main "${arguments[@]}"

[[ "${image##*/}" == *:* ]] && [[ "$image" == */* ]] && [[ ! "${image##*/}" =~ ^[^:]+:[0-9]+$ || "$image" == */*/* ]] ||
    image="${image%/}/valkey/valkey:8.1"
listed="$("$python" -m elastic_inference.commands.embedded_valkey_main "${arguments[@]}" --print-settings)" || exit 2
settings=()
while IFS= read -r setting; do
    if [[ ${#settings[@]} -gt 0 && "${settings[-1]}" == --aclfile ]]; then
        run_mount --aclfile "$setting" /users.acl
        setting=/users.acl
    fi
    settings+=("$setting")
done <<<"$listed"
engine="$(run_engine)" || exit 2
server=valkey-server
[[ "$image" == *valkey* ]] || server=redis-server
# shellcheck disable=SC2206  # split at blanks on purpose
exec "$engine" run --rm --network host "${RUN_ENGINE_ARGS[@]}" ${EI_ENGINE_ARGS:-} "$image" "$server" "${settings[@]}"
