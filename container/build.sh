#!/usr/bin/env bash
# Builds, publishes or saves the images. `container/build.sh -h` says how.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: container/build.sh -r REGISTRY [-a ACTION] [-c COMPONENT] [-g TAG] [-e ENGINE] [-p PLATFORMS] [-m MODELS]
                          [-v CLIPS] [-h]

  -r REGISTRY   registry and path of the images: localhost:5000, registry.example.org/team, …
  -a ACTION     build, publish (what was built), save (one archive per image into container/save/), all (build and
                publish; the default)
  -c COMPONENT  css (camera stream), fss (file stream), ois (inference), wss (websocket server), gws (gateway),
                evs (events), all (the default)
  -g TAG        tag of the images (default: the project's version)
  -e ENGINE     docker, podman or buildah (default: the first that is installed and works)
  -p PLATFORMS  such as linux/amd64,linux/arm64 (default: this machine's)
  -m MODELS     models of the inference image: a folder, whose files are used unchanged, the URL of a mirror, or none
                (default: tools/download-models.sh fetches them)
  -v CLIPS      sample clips of the file stream image: a folder or none (default: tools/download-sample-videos.sh)
  -h            this text

Environment: BASE_IMAGE (docker.io/library/debian:trixie-slim, a tag that moves; NAME@sha256:… does not);
EI_ENGINE_ARGS, additional arguments of the engine's build; EI_PUSH_ARGS, of its push; EXTRA_PACKAGES, additional
Debian packages of the inference image, such as drivers. http_proxy, https_proxy, no_proxy, PIP_INDEX_URL and
NPM_CONFIG_REGISTRY are passed on if they are set.
TEXT
}

die() {
    echo "build: $*" >&2
    exit "${status:-1}"
}
wrong() { status=2 die "$* (see -h)"; }
say() { echo "build: $*"; }

registry="" action=all component=all tag="" engine="" platforms="" models="" clips=""
while getopts ":r:a:c:g:e:p:m:v:h" option; do
    case $option in
    r) registry=$OPTARG ;;
    a) action=$OPTARG ;;
    c) component=$OPTARG ;;
    g) tag=$OPTARG ;;
    e) engine=$OPTARG ;;
    p) platforms=$OPTARG ;;
    m) models=$OPTARG ;;
    v) clips=$OPTARG ;;
    h)
        usage
        exit 0
        ;;
    :) wrong "-$OPTARG needs a value" ;;
    *) wrong "unknown option -$OPTARG" ;;
    esac
done
shift $((OPTIND - 1))
[[ $# -eq 0 ]] || wrong "unexpected argument '$1'"

[[ -n $registry ]] || wrong "-r REGISTRY is required, for instance -r localhost:5000"
[[ $registry != *://* ]] || wrong "-r $registry: expected a registry without http://, such as localhost:5000"
registry=${registry%/}
[[ $registry =~ ^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9._/-]+)?$ ]] \
    || wrong "-r $registry: expected host[:port][/path] in lower case"
[[ $action =~ ^(build|publish|save|all)$ ]] || wrong "-a $action: expected build, publish, save or all"
case $component in
css) images=(ei-camera-stream-service) ;;
fss) images=(ei-file-stream-service) ;;
ois) images=(ei-inference-service) ;;
wss) images=(ei-websocket-server) ;;
gws) images=(ei-gateway-server) ;;
evs) images=(ei-event-service) ;;
all) images=(ei-{camera-stream,file-stream,inference}-service ei-websocket-server ei-gateway-server ei-event-service) ;;
*) wrong "-c $component: expected css, fss, ois, wss, gws, evs or all" ;;
esac

case $models in
'' | none | http://* | https://*) ;;
*)
    [[ -d $models ]] || wrong "-m $models: expected a folder, a URL or none"
    models=$(realpath -- "$models")
    ;;
esac
case $clips in
'' | none) ;;
*)
    [[ -d $clips ]] || wrong "-v $clips: expected a folder or none"
    clips=$(realpath -- "$clips")
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# each build collects the content of the images here again
inputs="$PWD/build/models $PWD/build/videos"
for folder in "$models" "$clips"; do
    [[ " $inputs " != *" $folder "* ]] \
        || wrong "$folder is emptied by each build: give the folder that its files came from"
done
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' apps/elastic_inference/__init__.py)
tag=${tag:-$version}
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] || wrong "-g $tag: expected letters, digits, '.', '_' and '-'"
[[ $tag != latest ]] || wrong "-g latest: a tag that moves can't be rolled back; give a version"
[[ -z $platforms || $platforms =~ ^[a-z0-9]+/[a-z0-9/]+(,[a-z0-9]+/[a-z0-9/]+)*$ ]] \
    || wrong "-p $platforms: expected a list such as linux/amd64,linux/arm64"
answers() { # engine: it is installed and works
    case $1 in
    docker) docker info >/dev/null 2>&1 ;;
    *) "$1" --version >/dev/null 2>&1 ;;
    esac
}
case $engine in
docker | podman | buildah)
    command -v "$engine" >/dev/null || die "$engine is not installed"
    answers "$engine" || die "$engine does not answer: is its daemon running, and may this user talk to it?"
    ;;
'')
    for candidate in docker podman buildah; do
        command -v "$candidate" >/dev/null || continue
        if answers "$candidate"; then
            engine=$candidate
            break
        fi
        say "$candidate does not answer, trying the next engine"
    done
    [[ -n $engine ]] || die "no engine found: install docker, podman or buildah"
    ;;
*) wrong "-e $engine: expected docker, podman or buildah" ;;
esac

read -r -a engine_args <<<"${EI_ENGINE_ARGS:-}"
read -r -a push_args <<<"${EI_PUSH_ARGS:-}"
if [[ $engine != docker && $registry =~ ^(localhost|127\.0\.0\.1)(:|/|$) ]]; then
    push_args+=(--tls-verify=false) # docker does so automatically for loopback
fi
revision=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
build_args=(
    --build-arg "BASE_IMAGE=${BASE_IMAGE:-docker.io/library/debian:trixie-slim}"
    --build-arg "VERSION=$tag"
    --build-arg "REVISION=$revision"
    --build-arg "CREATED=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
)
for name in http_proxy https_proxy no_proxy PIP_INDEX_URL NPM_CONFIG_REGISTRY; do
    [[ -z ${!name:-} ]] || build_args+=(--build-arg "$name=${!name}")
done
[[ $platforms == *,* ]] && several=1 || several=""
logs=build/logs
digests=build/digests.txt pinned=""
sboms=build/sbom
save=container/save

have_downloads() { # completes .venv, whose commands fetch models and clips, if it is missing or incomplete
    ! compgen -G ".venv/.installed*" >/dev/null || return 0
    [[ -d .venv ]] || ! command -v ei-download-models >/dev/null || return 0
    say "running 'make install' for the commands that fetch models and clips (a few minutes, once)"
    make --no-print-directory install \
        || die "'make install' failed (see above), so no model or clip can be fetched:" \
            "fix it, or give -m and -v a folder or none"
}

is_model() { [[ $1 == *.xml || $1 == *.onnx || $1 == *.tflite || $1 == *.pb ]]; }
list_models() { # the models in build/models, without their weights
    local file
    while IFS= read -r file; do
        ! is_model "$file" || echo "$file"
    done < <(find build/models -type f -size +0 -printf '%P\n' | sort)
}

# The folders of the images' models and clips are fresh for each build; downloads are kept beside them.
fetch_models() {
    local file known=apps/elastic_inference/adapters/catalogue/catalogue.yaml kept=build/downloads/models
    rm -rf build/models
    mkdir -p build/models "$kept"
    case $models in
    none)
        touch build/models/.none # gen-k8s-yaml.sh reads the image's models from this folder
        say "the inference image gets no models"
        return
        ;;
    http://* | https://*)
        tools/download-models.sh --defaults --mirror "$models" -o "$kept" \
            || die "the models can't be fetched from $models"
        ;;
    '')
        tools/download-models.sh --defaults -o "$kept" || {
            say "warning: some models could not be fetched; their types get an embedded model, or are left out"
            tools/download-models.sh --embedded -o "$kept" || say "warning: the embedded models could not be fetched"
        }
        ;;
    *)
        cp -rL "$models"/. build/models/
        while IFS= read -r -d '' file; do
            is_model "$file" || [[ $file == *.bin ]] || continue
            grep -q "$(sha384sum "$file" | cut -d' ' -f1)\|$(sha256sum "$file" | cut -d' ' -f1)" "$known" \
                || say "warning: ${file#build/models/} differs from the catalogue's file (its checksum); it is used"
        done < <(find build/models -type f -print0 | sort -z)
        tools/download-models.sh --embedded -o build/models || say "warning: the embedded models could not be fetched"
        ;;
    esac
    if [[ -z $models || $models == http* ]]; then
        cp -r "$kept"/. build/models/
        find build/models -name '*.part' -delete # partial downloads, which the next build resumes
    fi
    [[ -n $(list_models) ]] \
        || die "there is not a single model for the inference image: check the network," \
            "give -m a folder or a mirror, or -m none"
}

fetch_clips() {
    rm -rf build/videos
    mkdir -p build/videos build/downloads/videos
    case $clips in
    none) touch build/videos/.none ;;
    '')
        tools/download-sample-videos.sh -o build/downloads/videos \
            || say "warning: the sample clips could not be fetched"
        cp -r build/downloads/videos/. build/videos/
        find build/videos -name '*.part' -delete
        ;;
    *) cp -rL "$clips"/. build/videos/ ;;
    esac
}

report() { # image log: the reason of the failure
    tail -n 15 "$2" >&2
    case $2 in
    *.publish.log)
        if grep -qiE 'unauthorized|denied|authentication required|no basic auth' "$2"; then
            die "$1: the registry refused it: log in first with '$engine login ${registry%%/*}'"
        elif grep -qiE 'connection refused|no such host|i/o timeout|server gave HTTP response' "$2"; then
            die "$1: the registry is unreachable (is $registry correct, and is it running?); full log: $2"
        fi
        ;;
    *.build.log)
        if grep -qiE 'connection refused|no such host|i/o timeout|name resolution|temporary failure' "$2"; then
            die "$1: the build cannot reach something that it needs" \
                "(the base image, Debian's packages, PyPI or npm: see above); full log: $2"
        fi
        ;;
    esac
    die "$1 failed; full log: $2"
}

run() { # image log command...
    local image=$1 log=$2
    shift 2
    "$@" >"$log" 2>&1 || report "$image" "$log"
}

set_arguments() { # name: the arguments of every build of this image, in `arguments`
    arguments=(-f "container/$1.Dockerfile" "${build_args[@]}")
    [[ $1 != ei-inference-service || -z ${EXTRA_PACKAGES:-} ]] \
        || arguments+=(--build-arg "EXTRA_PACKAGES=$EXTRA_PACKAGES")
}

build_one() { # name reference log
    local command=("$engine" build) arguments
    set_arguments "$1"
    [[ $engine == docker ]] || arguments+=(--format docker) # OCI's format has no HEALTHCHECK
    if [[ -n $platforms ]]; then
        arguments+=(--platform "$platforms")
        [[ $engine != docker ]] || command=(docker buildx build)
        # one platform becomes one of docker's images; several stay in the builder's cache until they are pushed
        [[ $engine != docker || -n $several ]] || arguments+=(--load)
    fi
    if [[ -n $several && $engine != docker ]]; then
        "$engine" manifest rm "$2" >/dev/null 2>&1 || true
        arguments+=(--manifest "$2")
    else
        arguments+=(-t "$2")
    fi
    run "$1" "$3" "${command[@]}" "${engine_args[@]}" "${arguments[@]}" .
}

publish_one() { # name reference log
    local arguments digest_file=$logs/$1.digest
    set_arguments "$1"
    rm -f "$digest_file"
    if [[ -n $several && $engine == docker ]]; then
        run "$1" "$3" docker buildx build "${engine_args[@]}" "${arguments[@]}" \
            --platform "$platforms" -t "$2" "${push_args[@]}" --metadata-file "$digest_file" --push .
    elif [[ -n $several ]]; then
        run "$1" "$3" "$engine" manifest push --all --digestfile "$digest_file" "${push_args[@]}" "$2" "docker://$2"
    elif [[ $engine == docker ]]; then
        run "$1" "$3" docker push "${push_args[@]}" "$2"
        cp "$3" "$digest_file" # docker prints it
    else
        run "$1" "$3" "$engine" push --digestfile "$digest_file" "${push_args[@]}" "$2"
    fi
    keep_digest "$2" "$digest_file"
}

keep_sbom() { # name reference: a copy of the bill of materials in the image; several platforms have one each
    local container
    [[ -z $several && $engine != buildah ]] || return 0
    container=$("$engine" create "$2" 2>/dev/null) && [[ -n $container ]] || return 0
    mkdir -p "$sboms"
    "$engine" cp "$container:/var/lib/db/sbom/$1.cdx.json" "$sboms/$1-$tag.cdx.json" >/dev/null 2>&1 \
        || say "warning: the bill of materials of $2 could not be copied"
    "$engine" rm "$container" >/dev/null 2>&1 || true
}

keep_digest() { # reference file: the registry's digest of what was published, for gen-k8s-yaml.sh --digests
    local digest
    digest=$(sed -nE 's/.*(containerimage\.digest": *"|digest: |^)(sha256:\w{64}).*/\2/p' "$2" 2>/dev/null | tail -n 1)
    if [[ -z $digest ]]; then
        say "warning: $engine reports no digest of $1, so gen-k8s-yaml.sh --digests cannot use it"
        return
    fi
    touch "$digests"
    sed -i "\\|^$1 |d" "$digests"
    echo "$1 $digest" >>"$digests"
    pinned=1
}

save_one() { # name reference log
    local archive=$save/$1-$tag.tar arguments
    set_arguments "$1"
    rm -f "$archive"
    if [[ -n $several && $engine == docker ]]; then
        run "$1" "$3" docker buildx build "${engine_args[@]}" "${arguments[@]}" \
            --platform "$platforms" -t "$2" --output "type=oci,dest=$archive" .
    elif [[ -n $several ]]; then
        run "$1" "$3" "$engine" manifest push --all "$2" "oci-archive:$archive:$2"
    else
        case $engine in
        docker) run "$1" "$3" docker save -o "$archive" "$2" ;;
        podman) run "$1" "$3" podman save --format docker-archive -o "$archive" "$2" ;;
        buildah) run "$1" "$3" buildah push "$2" "docker-archive:$archive:$2" ;;
        esac
    fi
}

is_here() { # reference
    case $engine in
    buildah) buildah inspect --type image "$1" >/dev/null 2>&1 ;;
    *) "$engine" image inspect "$1" >/dev/null 2>&1 ;;
    esac
}

size_of() { # reference: megabytes unpacked
    local bytes
    case $engine in
    buildah) buildah images --format '{{.Size}}' "$1" 2>/dev/null || echo unknown ;; # it has no size in bytes
    *)
        bytes=$("$engine" image inspect --format '{{.Size}}' "$1" 2>/dev/null) || bytes=0
        echo "$(((${bytes:-0} + 500000) / 1000000)) MB"
        ;;
    esac
}

mkdir -p "$logs"
if [[ $action == build || $action == all ]]; then
    if [[ " ${images[*]} " == *" ei-inference-service "* && $models != none ]] \
        || [[ " ${images[*]} " == *" ei-file-stream-service "* && -z $clips ]]; then
        have_downloads
    fi
    [[ " ${images[*]} " != *" ei-inference-service "* ]] || fetch_models
    [[ " ${images[*]} " != *" ei-file-stream-service "* ]] || fetch_clips
fi
count=${#images[@]}
number=0
summary=()
[[ $action != save ]] || mkdir -p "$save"
for name in "${images[@]}"; do
    number=$((number + 1))
    reference=$registry/$name:$tag
    started=$SECONDS
    done_words=()
    if [[ $action == build || $action == all ]]; then
        say "[$number/$count] $name: building with $engine"
        build_one "$name" "$reference" "$logs/$name.build.log"
        keep_sbom "$name" "$reference"
        done_words+=(built)
    fi
    if [[ $action == publish || $action == save ]] && [[ -z $several ]]; then
        is_here "$reference" || die "$reference is not on this machine: build it first (-a build)"
    fi
    if [[ $action == publish || $action == all ]]; then
        say "[$number/$count] $name: publishing to $registry"
        publish_one "$name" "$reference" "$logs/$name.publish.log"
        done_words+=(published)
    elif [[ $action == save ]]; then
        say "[$number/$count] $name: saving to $save/$name-$tag.tar"
        save_one "$name" "$reference" "$logs/$name.save.log"
        done_words+=("saved in $save/")
    fi
    [[ -n $several ]] && size="$platforms" || size=$(size_of "$reference")
    summary+=("$(printf '  %-70s %10s  %4d s  %s' "$reference" "$size" $((SECONDS - started)) "$(
        IFS=,
        echo "${done_words[*]}"
    )")")
done
echo
printf '%s\n' "  image                                                                    unpacked" "${summary[@]}"
if [[ " ${images[*]} " == *" ei-inference-service "* && $action != publish && $action != save ]]; then
    inside=$(list_models | tr '\n' ' ')
    echo "  models in the inference image: ${inside:-none}"
fi
[[ $action == p* || $action == save || ! -d $sboms ]] || echo "  bills of materials: $sboms, and in each image"
[[ -z $pinned ]] || echo "  digests: $digests (tools/gen-k8s-yaml.sh --digests $digests pins the images by them)"
