#!/usr/bin/env bash
# Writes Kubernetes manifests from the templates in kubernetes/: `tools/gen-k8s-yaml.sh -h`. Needs Python 3.11 only.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
command -v "$python" >/dev/null || { echo "gen-k8s-yaml: $python is missing: install Python 3.11 or newer" >&2; exit 2; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || { echo "gen-k8s-yaml: $("$python" --version) is too old: Python 3.11 or newer is needed (PYTHON=…)" >&2; exit 2; }
PYTHONPATH=$here/apps${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1 exec "$python" -m elastic_inference.commands.manifests.main "$@"
