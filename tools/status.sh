#!/usr/bin/env bash
# Finds the first broken link between cameras and viewers: -h lists the options.
set -euo pipefail
# shellcheck source=tools/lib/command.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/command.sh"
run_command ei-status 2 "" "$@"
