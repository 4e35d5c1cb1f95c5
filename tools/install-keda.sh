#!/usr/bin/env bash
# Installs KEDA, which kubernetes/scale/keda/ needs. `tools/install-keda.sh -h`
set -euo pipefail
name=install-keda version=2.21.0
url=https://github.com/kedacore/keda/releases/download/v$version/keda-$version.yaml
usage() {
    cat <<TEXT
usage: tools/install-keda.sh [--manifest FILE] [--force] [--dry-run] [-h]

Installs KEDA $version into the namespace keda of the cluster that kubectl talks to, and labels that namespace so that
the suite's NetworkPolicies let it ask for the length of the queues (elastic-inference/scaler=allowed). If KEDA
$version answers already, only that label is set. Another version, or one that Helm manages, is not touched.

  --manifest FILE   use this file instead of the project's release (without internet access, or a checked file):
                    $url
  --force           replace the KEDA that is in the namespace keda
  --dry-run         print what would be applied, to standard output, and change nothing
  -h                this text
TEXT
}
force=""
own_option() { [[ $1 == --force ]] && force=1; }
# shellcheck source=tools/lib/install.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/install.sh"
read_options "$@"

api=external.metrics.k8s.io
let_in=(kubectl label namespace keda elastic-inference/scaler=allowed --overwrite)

# Ends the script if the KEDA in the cluster is to stay.
look_at_existing() {
    local label='.metadata.labels.app\.kubernetes\.io' found there by
    found=$(kubectl -n keda get deployment keda-operator --ignore-not-found \
        -o "jsonpath={$label/version}|{$label/managed-by}") \
        || die "cannot find out whether KEDA is installed"
    [[ -n $found ]] || return 0
    there=${found%|*} by=${found#*|}
    if [[ $there == "$version" ]] && api_answers "$api"; then
        say "KEDA $version is installed and answers: nothing to apply"
        if [[ -n $dry_run ]]; then echo "# ${let_in[*]}"; else "${let_in[@]}"; fi
        exit 0
    fi
    if [[ $there == "$version" && $by != Helm ]]; then
        say "KEDA $version is installed but does not answer: applying it again"
        return
    fi
    die "the namespace keda has KEDA ${there:-of an unknown version}${by:+, managed by $by}." \
        "To use that one: ${let_in[*]}. To replace it with $version: --force"
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
check_cluster
owner=$(api_server "$api")
[[ -z $owner || $owner == keda/* ]] \
    || die "$owner serves external metrics already, and a cluster has one such server: remove it, or use hpa-ratio"
[[ -n $force ]] || look_at_existing
fetch "$folder/keda.yaml"
if [[ -n $dry_run ]]; then
    cat "$folder/keda.yaml"
    echo "# ${let_in[*]}"
    exit 0
fi
# its definitions are too long for the annotation of a client-side apply
kubectl apply --server-side ${force:+--force-conflicts} -f "$folder/keda.yaml" \
    || die "kubectl could not apply all of it; if it names conflicts with what another tool applied," \
        "--force overrides them"
"${let_in[@]}"
deployments=$(kubectl -n keda get deployment -o name)
for part in keda-operator metrics-apiserver; do
    [[ $deployments == *"$part"* ]] \
        || die "the namespace keda has no deployment $part now: ${manifest:-$url} is not all of KEDA"
done
for part in keda-operator keda-metrics-apiserver keda-admission; do
    deployment=$(grep -m1 "/$part" <<<"$deployments" || true)
    [[ -z $deployment ]] || kubectl -n keda rollout status "$deployment" --timeout=180s \
        || die "$deployment does not become Ready: kubectl -n keda describe deployment/${deployment#*/}"
done
say "done: tools/gen-k8s-yaml.sh -f kubernetes/scale/keda -r REGISTRY --set NAMESPACE=… is next"
