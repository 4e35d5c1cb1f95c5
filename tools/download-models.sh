#!/usr/bin/env bash
# Calls the console command ei-download-models: of the repository's .venv, else of PATH. -h lists the options.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
command="$here/.venv/bin/ei-download-models"
if [[ ! -x "$command" ]]; then
    command="$(command -v ei-download-models)" || {
        echo "error: ei-download-models is not installed: run 'make install' in $here, or pip install 'elastic-inference[inference]'" >&2
        exit 1
    }
fi
exec "$command" "$@"
