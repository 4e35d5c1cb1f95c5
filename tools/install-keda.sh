#!/usr/bin/env bash
# Installs KEDA, which kubernetes/scale/keda/ needs. `tools/install-keda.sh -h`
set -euo pipefail
name=install-keda version=2.21.0
url=https://github.com/kedacore/keda/releases/download/v$version/keda-$version.yaml
usage() {
    cat <<TEXT
usage: tools/install-keda.sh [--manifest FILE] [--dry-run] [-h]

Installs KEDA $version into the namespace keda of the cluster that kubectl talks to, and labels that namespace so that
the suite's NetworkPolicies let it ask for the length of the queues (elastic-inference/scaler=allowed).

  --manifest FILE   take this file instead of the project's release (an air-gapped site):
                    $url
  --dry-run         print what would be applied, to standard output, and change nothing
  -h                this text
TEXT
}
own_option() { return 1; }
source "$(dirname "${BASH_SOURCE[0]}")/lib/install.sh"
read_options "$@"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
check_cluster
if [[ -z $dry_run ]] && owner=$(kubectl get apiservice v1beta1.external.metrics.k8s.io -o 'jsonpath={.spec.service.namespace}/{.spec.service.name}' 2>/dev/null); then
    [[ $owner == keda/* ]] || die "$owner serves external metrics already, and a cluster has one such server: remove it, or use hpa-ratio"
fi
fetch "$folder/keda.yaml"
if [[ -n $dry_run ]]; then
    cat "$folder/keda.yaml"
    echo "# kubectl label namespace keda elastic-inference/scaler=allowed --overwrite"
    exit 0
fi
# its definitions are longer than a client-side apply can note down
kubectl apply --server-side --force-conflicts -f "$folder/keda.yaml"
kubectl label namespace keda elastic-inference/scaler=allowed --overwrite
for part in keda-operator keda-metrics-apiserver keda-admission; do
    deployment=$(kubectl -n keda get deployment -o name | grep -m1 "/$part" || true)
    [[ -z $deployment ]] || kubectl -n keda rollout status "$deployment" --timeout=180s \
        || die "$deployment does not get Ready: kubectl -n keda describe ${deployment#*/}"
done
say "done: tools/gen-k8s-yaml.sh -f kubernetes/scale/keda -r REGISTRY --set NAMESPACE=… is next"
