#!/usr/bin/env bash
# Starts the Redis server of the frame queue and the stream broker, for one machine.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-redis.sh [-p PORT] [-b ADDRESS] [-m MB] [-a FILE | -u FILE] [-y REGISTRY|IMAGE] [-h]

  -p PORT      port to listen on (default: $RUN_QUEUE_PORT)
  -b ADDRESS   address to listen on (default: 127.0.0.1; all of them when users must log in)
  -m MB        maximum of memory (default: 512)
  -a FILE      lock the server with the users of this ACL file
  -u FILE      lock it with the users camera, worker, viewer, scaler, reader and admin; FILE has a line
               user=password for each, and is written with random passwords if it is missing
  -y REGISTRY  run an image instead of the embedded Valkey: a registry (REGISTRY/valkey/valkey:8.1) or a whole name
               with its tag (docker.io/valkey/valkey:8.1, or any Redis from 7)
  -h           this text

Nothing is kept on disk: frames are worthless after seconds. MAX_FRAME_BYTES in the environment is the size of the
largest frame ($RUN_MAX_FRAME_BYTES); give the services the same value.
TEXT
}

port="" bind="" memory="" acl="" users="" image=""
run_options "p=port b=bind m=memory a=acl u=users y=image" "$@"
[[ -z "$port" ]] || run_port -p "$port"
arguments=()
[[ -z "$port" ]] || arguments+=(-p "$port")
[[ -z "$bind" ]] || arguments+=(-b "$bind")
[[ -z "$memory" ]] || arguments+=(-m "$memory")
[[ -z "$acl" ]] || arguments+=(-a "$acl")
[[ -z "$users" ]] || arguments+=(-u "$users")

python="$RUN_ROOT/.venv/bin/python"
[[ -x "$python" ]] || run_die "nothing is installed: run 'make install' in $RUN_ROOT first"
[[ -n "$image" ]] || exec "$python" -m elastic_inference.commands.embedded_valkey_main "${arguments[@]}"

[[ "${image##*/}" == *:* ]] && [[ "$image" == */* ]] && [[ ! "${image##*/}" =~ ^[^:]+:[0-9]+$ || "$image" == */*/* ]] \
    || image="${image%/}/valkey/valkey:8.1"
listed="$("$python" -m elastic_inference.commands.embedded_valkey_main "${arguments[@]}" --print-settings)" || exit 2
settings=()
while IFS= read -r setting; do
    if [[ ${#settings[@]} -gt 0 && "${settings[-1]}" == --aclfile ]]; then
        run_mount --aclfile "$setting" /users.acl
        setting=/users.acl
    fi
    settings+=("$setting")
done <<<"$listed"
# Only Valkey 9 and later have this setting; apps/elastic_inference/base/redis_server.py says why it is needed.
[[ ! "${image##*/}" =~ ^valkey:(9|[1-9][0-9])([.-]|$) ]] || settings+=(--min-string-size-avoid-copy-reply 0)
engine="$(run_engine)" || exit 2
server=valkey-server
[[ "$image" == *valkey* ]] || server=redis-server
# shellcheck disable=SC2086  # split at spaces on purpose
exec "$engine" run --rm --network host "${RUN_ENGINE_ARGS[@]}" ${EI_ENGINE_ARGS:-} "$image" "$server" "${settings[@]}"
