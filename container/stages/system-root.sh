#!/bin/sh
# Copies Python and the few system libraries that a service needs into a folder that becomes the image's root.
# Runs in the build stage. The image holds nothing else: no package manager, no compiler, no Perl. `sh` stays, for
# troubleshooting. doc/adr/0010-images-from-a-minimal-root.md gives the reasons and the figures.
# Usage: system-root.sh ROOT [DEBIAN PACKAGE...]     additional packages; their dependencies are installed too
set -eu
root=$1
shift

base_packages="base-files dash libc6 libgcc-s1 libstdc++6 zlib1g libbz2-1.0 liblzma5 libssl3t64 libexpat1 libffi8
    libuuid1 libzstd1 netbase media-types tzdata libpython3-stdlib libpython3.13-minimal libpython3.13-stdlib
    python3-minimal python3 python3.13-minimal python3.13"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # the list is split on purpose
apt-get install -qq --no-install-recommends $base_packages ca-certificates python3-venv >/dev/null
dpkg-query -W -f '${Package}\n' | sort >/tmp/before
[ $# -eq 0 ] || apt-get install -qq --no-install-recommends "$@" >/dev/null
further=$(dpkg-query -W -f '${Package}\n' | sort | comm -13 /tmp/before -)

triplet=$(cd /usr/lib && ls -d -- *-linux-gnu)
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
mkdir -p "$root/var/lib/dpkg/status.d" "$root/etc/ssl/certs"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
for package in $base_packages $further; do
    # a container needs no documentation, translations, character sets or package scripts
    dpkg -L "$package" | sort -u | while read -r path; do
        case $path in
        /usr/share/doc/*/copyright) ;;
        /usr/share/doc/* | /usr/share/man/* | /usr/share/locale/* | /usr/share/info/*) continue ;;
        /usr/share/lintian/* | /usr/share/bug/* | /usr/share/python3/* | /usr/share/applications/*) continue ;;
        /usr/share/bash-completion/* | */gconv/* | */engines-3/*) continue ;;
        */pydoc_data/* | */idlelib/* | */ensurepip/* | */turtle.py | */_pyrepl/*) continue ;;
        /usr/lib/python3*/test/*) continue ;;
        */dejavu/DejaVuSans.ttf) ;; # the only font of the labels
        */dejavu/* | *.pyc) continue ;;
        esac
        # /usr is merged: follow its links, so that every file is copied once, below /usr
        case $path in /bin/* | /sbin/* | /lib/* | /lib64/*) path=/usr$path ;; esac
        if [ -L "$path" ] || [ -f "$path" ]; then
            mkdir -p "$root${path%/*}"
            cp -dp "$path" "$root$path"
        fi
    done
    # vulnerability scanners read the list of packages here
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
done
for library in blas lapack; do # Debian finds these two through its alternatives, which are not copied
    [ ! -d "$root/usr/lib/$triplet/$library" ] \
        || ln -sf "$library/lib$library.so.3" "$root/usr/lib/$triplet/lib$library.so.3"
done
[ -e "$root/usr/bin/sh" ] || ln -s dash "$root/usr/bin/sh"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

mkdir -p "$root/tmp" "$root/run" "$root/proc" "$root/sys" "$root/dev"
chmod 1777 "$root/tmp"
echo 'root:x:0:0:root:/:/usr/sbin/nologin
ei:x:10001:10001:elastic inference:/tmp:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'root:x:0:
video:x:44:
ei:x:10001:' >"$root/etc/group"
echo 'passwd: files
group: files
hosts: files dns' >"$root/etc/nsswitch.conf"
# the standard library compiled, without its sources: 11 MB less, and nothing is compiled at start
python3 -m compileall -q -b "$root/usr/lib/python3.13"
find "$root/usr/lib/python3.13" -name '*.py' -delete
ldconfig -r "$root"
