#!/usr/bin/env bash
# Updates container/locks/*.txt from setup.py: every package of the images and of the development environment, pinned
# with the hashes of all its files, for Python 3.11 and later on every platform; also
# the fuzzers' packages.
# Usage: tools/update-locks.sh [-h]       Needs Python 3.11 and the package index that pip is set up for.
set -euo pipefail

case ${1:-} in
-h | --help)
    sed -n '2,4p' "$0" | sed 's/^# \{0,1\}//'
    exit 0
    ;;
'') ;;
*)
    echo "update-locks: unknown argument '$1' (see -h)" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv
lock() { # name argument...
    local name=$1
    shift
    echo "container/locks/$name.txt"
    write "container/locks/$name.txt" setup.py "$@"
}
write() { # file origin argument...
    local file=$1 origin=$2
    shift 2
    {
        echo "# Written by tools/update-locks.sh from $origin."
        "$folder/venv/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
            --no-annotate --upgrade "$@"
    } >"$folder/lock.txt"
    mv "$folder/lock.txt" "$file"
}
mkdir -p container/locks
for extra in camera file inference websocket gateway events; do lock "$extra" setup.py --extra "$extra"; done
echo 'setuptools>=80' >"$folder/build.in"
lock build "$folder/build.in"
# it requires OpenCV 4 but works with 5: installed without its dependencies, which the inference service has
echo 'openvino-model-api>=0.4.7' >"$folder/model-api.in"
lock model-api --no-deps "$folder/model-api.in"
# tools/gen-k8s-yaml.sh installs these without the rest of the package
grep -hoE '"(jinja2|pydantic|pyyaml)>=[0-9.]+"' setup.py | tr -d '"' | sort -u >"$folder/manifests.in"
lock manifests "$folder/manifests.in"
lock dev setup.py --extra all --extra dev
# what the services need, in the versions of the tests
lock demo "$folder/build.in" setup.py --extra all --constraint container/locks/dev.txt
echo tests/fuzz/requirements.txt
write tests/fuzz/requirements.txt tests/fuzz/requirements.in tests/fuzz/requirements.in
