#!/usr/bin/env bash
# Installs metrics-server, which hpa-cpu and `kubectl top` need. `tools/install-metrics-server.sh -h`
set -euo pipefail
name=install-metrics-server version=v0.9.0
url=https://github.com/kubernetes-sigs/metrics-server/releases/download/$version/components.yaml
usage() {
    cat <<TEXT
usage: tools/install-metrics-server.sh [--manifest FILE] [--kubelet-insecure-tls] [--dry-run] [-h]

Installs metrics-server $version into kube-system of the cluster that kubectl talks to.

  --manifest FILE          use this file instead of the project's release (without internet access):
                           $url
  --kubelet-insecure-tls   for clusters whose kubelets have self-signed certificates (minikube, kind, kubeadm
                           without serverTLSBootstrap)
  --dry-run                print what would be applied, to standard output, and change nothing
  -h                       this text
TEXT
}
insecure=""
own_option() { [[ $1 == --kubelet-insecure-tls ]] && insecure=1; }
# shellcheck source=tools/lib/install.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/install.sh"
read_options "$@"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
check_cluster
owner=$(api_server metrics.k8s.io)
if [[ -n $owner ]]; then
    if api_answers metrics.k8s.io; then
        say "the cluster has resource metrics already (kubectl top nodes): nothing to do"
        exit 0
    fi
    [[ $owner == kube-system/metrics-server ]] \
        || die "$owner serves resource metrics but does not answer, and a cluster has one such server:" \
            "repair or remove it"
    say "resource metrics are registered but do not answer: applying again"
fi
fetch "$folder/components.yaml"
if [[ -n $insecure ]]; then
    sed -i '/^ *- --kubelet-use-node-status-port/{p;s/--kubelet-use-node-status-port.*/--kubelet-insecure-tls/}' \
        "$folder/components.yaml"
    grep -q -- --kubelet-insecure-tls "$folder/components.yaml" \
        || die "the manifest has no list of arguments to which --kubelet-insecure-tls can be added"
fi
if [[ -n $dry_run ]]; then
    cat "$folder/components.yaml"
    exit 0
fi
kubectl apply -f "$folder/components.yaml"
kubectl -n kube-system rollout status deployment/metrics-server --timeout=180s \
    || die "metrics-server does not become Ready: kubectl -n kube-system logs deployment/metrics-server" \
        "(for an x509 error, give --kubelet-insecure-tls)"
say "done: kubectl top nodes shows figures within a minute"
