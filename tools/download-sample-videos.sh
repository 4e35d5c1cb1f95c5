#!/usr/bin/env bash
# Downloads the sample clips: -h lists the options.
set -euo pipefail
# shellcheck source=tools/lib/command.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/command.sh"
run_command ei-download-sample-videos 1 ", or pip install 'elastic-inference[inference]'" "$@"
