#!/usr/bin/env bash
# Why do I see nothing? See `tools/status.sh -h`.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
if [[ -x $here/.venv/bin/ei-status ]]; then
    exec "$here/.venv/bin/ei-status" "$@"
elif command -v ei-status >/dev/null; then
    exec ei-status "$@"
fi
echo "error: the package is not installed: run 'make install' in $here" >&2
exit 2
