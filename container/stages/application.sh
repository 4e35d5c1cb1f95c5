#!/bin/sh
# Installs the project itself into ROOT/opt/ei, without a package index.
# Runs in the build stage after packages.sh, whose pip it uses.     Usage: application.sh SOURCE ROOT
set -eu
source=$1
root=${2:?}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_ROOT_USER_ACTION=ignore
/tmp/pip/bin/pip install -q --no-cache-dir --no-deps --only-binary :all: --require-hashes -r /locks/build.txt
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
site=$root/opt/ei/lib/python$version/site-packages
/tmp/pip/bin/pip install -q --no-cache-dir --no-deps --no-index --no-build-isolation --target "$site" "$source"
mkdir -p "$root/opt/ei/bin"
for script in "$site"/bin/ei-*; do
    sed '1s|^#!.*|#!/opt/ei/bin/python|' "$script" >"$root/opt/ei/bin/${script##*/}"
    chmod 755 "$root/opt/ei/bin/${script##*/}"
done
rm -rf "${site:?}/bin"
