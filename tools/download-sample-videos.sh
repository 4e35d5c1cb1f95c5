#!/usr/bin/env bash
# Calls the console command ei-download-sample-videos: of the repository's .venv, else of PATH. -h lists the options.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
command="$here/.venv/bin/ei-download-sample-videos"
if [[ ! -x "$command" ]]; then
    command="$(command -v ei-download-sample-videos)" || {
        echo "error: ei-download-sample-videos is not installed: run 'make install' in $here, or pip install 'elastic-inference[inference]'" >&2
        exit 1
    }
fi
exec "$command" "$@"
