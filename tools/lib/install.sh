# Shared by tools/install-*.sh: options, a look at the cluster, fetch or take the manifest, show or apply it.
# Sourced, with `name`, `version`, `url` and `usage` set.

dry_run="" manifest="" kubectl_args=()

die() { echo "$name: $*" >&2; exit "${status:-1}"; }
wrong() { status=2 die "$* (see -h)"; }
say() { echo "$name: $*" >&2; }

read_options() {
    while [[ $# -gt 0 ]]; do
        case $1 in
        -h | --help) usage; exit 0 ;;
        --dry-run) dry_run=1 ;;
        --manifest)
            [[ -n ${2:-} ]] || wrong "--manifest needs a file"
            manifest=$2
            shift
            ;;
        *) own_option "$@" || wrong "unknown argument '$1'" ;;
        esac
        shift
    done
    [[ -z $manifest || -r $manifest ]] || wrong "--manifest $manifest: there is no such file that can be read"
}

check_cluster() {
    command -v kubectl >/dev/null || die "kubectl is not installed"
    local found
    found=$(kubectl version -o json --request-timeout=10s 2>/dev/null) \
        || die "the cluster does not answer: does KUBECONFIG or the current context name one (kubectl cluster-info)?"
    server=$(sed -n '/serverVersion/,/}/s/.*"minor": "\([0-9]*\).*/\1/p' <<<"$found")
    [[ ${server:-0} -ge 33 ]] || say "warning: Kubernetes 1.${server:-?}: 1.33 to 1.36 were tried"
    kubectl auth can-i create clusterroles -q >/dev/null 2>&1 || die "this user may not make cluster roles: an administrator has to"
}

fetch() { # file: the manifest, from --manifest or the project's release
    if [[ -n $manifest ]]; then
        cp "$manifest" "$1"
    else
        say "fetching $url"
        curl -fsSL --retry 2 --max-time 120 -o "$1" "$url" \
            || die "$url can't be fetched: take it to this machine by other means and give it with --manifest FILE"
    fi
    grep -q '^kind:' "$1" || die "${manifest:-$url} holds no Kubernetes objects"
}
