#!/usr/bin/env bash
# Shows and changes the model that the pods of an inference type run. See `tools/model.sh -h`.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
if [[ -x $here/.venv/bin/ei-model ]]; then
    exec "$here/.venv/bin/ei-model" "$@"
elif command -v ei-model >/dev/null; then
    exec ei-model "$@"
fi
echo "error: the package is not installed: run 'make install' in $here" >&2
exit 2
