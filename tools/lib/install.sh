# shellcheck shell=bash disable=SC2034,SC2154  # variables of the script that sources it, and for it
# Shared by tools/install-*.sh: options, checks of the cluster, and the manifest.
# Sourced, with `name`, `version`, `url`, `usage` and `own_option` set.

dry_run="" manifest=""

die() {
    echo "$name: $*" >&2
    exit "${status:-1}"
}
wrong() { status=2 die "$* (see -h)"; }
say() { echo "$name: $*" >&2; }

read_options() {
    while [[ $# -gt 0 ]]; do
        case $1 in
        -h | --help)
            usage
            echo
            echo "The release is pinned by its version, not by a checksum. To check it, compare the file's sha256sum"
            echo "with the digest that the release's page shows, and give it with --manifest."
            exit 0
            ;;
        --dry-run) dry_run=1 ;;
        --manifest | --manifest=*)
            [[ $1 == *=* ]] || { set -- "$1=${2:-}" "${@:3}"; }
            manifest=${1#*=}
            [[ -n $manifest ]] || wrong "--manifest needs a file"
            ;;
        *) own_option "$@" || wrong "unknown argument '$1'" ;;
        esac
        shift
    done
    # not -f, since <(…) of a shell is a pipe
    [[ -z $manifest || (-r $manifest && ! -d $manifest) ]] \
        || wrong "--manifest $manifest: expected a file that can be read"
}

check_cluster() {
    command -v kubectl >/dev/null || die "kubectl is not installed"
    local found
    found=$(kubectl version -o json --request-timeout=10s 2>/dev/null) \
        || die "the cluster does not answer: does KUBECONFIG or the current context name one (kubectl cluster-info)?"
    server=$(sed -n '/serverVersion/,/}/s/.*"minor": "\([0-9]*\).*/\1/p' <<<"$found")
    [[ ${server:-0} -ge 33 ]] || say "warning: Kubernetes 1.${server:-?}: tested with 1.33 to 1.36"
    kubectl auth can-i create clusterroles -q >/dev/null 2>&1 \
        || die "this user may not create cluster roles: ask an administrator"
}

api_server() { # group: namespace/name of the service that answers for v1beta1 of this API; nothing without one
    kubectl get apiservice "v1beta1.$1" --ignore-not-found \
        -o 'jsonpath={.spec.service.namespace}/{.spec.service.name}' \
        || die "cannot find out who serves $1"
}

api_answers() { # group
    kubectl get --raw "/apis/$1/v1beta1" >/dev/null 2>&1
}

fetch() { # file: the manifest, from --manifest or the project's release
    if [[ -n $manifest ]]; then
        cp "$manifest" "$1"
    else
        say "fetching $url"
        curl -fsSL --retry 2 --max-time 120 -o "$1" "$url" \
            || die "cannot download $url: copy the file to this machine and give it with --manifest FILE"
    fi
    grep -q '^kind:' "$1" || die "${manifest:-$url} contains no Kubernetes objects"
}
