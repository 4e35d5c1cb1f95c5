#!/bin/sh
# Installs the locked packages of one service into the virtual environment ROOT/opt/ei, and removes files that no
# service uses at run time. Runs in the build stage after system-root.sh.
# Usage: packages.sh LOCK ROOT
set -eu
lock=$1
root=$2
python3 -m venv /tmp/pip
python3 -m venv --without-pip "$root/opt/ei"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_ROOT_USER_ACTION=ignore
/tmp/pip/bin/pip --python "$root/opt/ei/bin/python" install -q --no-cache-dir --no-deps --only-binary :all: \
    --require-hashes -r "$lock"

site=$(echo "$root"/opt/ei/lib/python3*/site-packages)
triplet=$(cd /usr/lib && ls -d -- *-linux-gnu)
if [ -d "$site/opencv_python_headless.libs" ] || [ -d "$site/av" ]; then
    apt-get install -qq --no-install-recommends binutils >/dev/null
fi
# OpenCV's wheel holds an OpenBLAS of 38 MB for 16 functions; Debian's LAPACK has them in 8 MB. It also holds FFmpeg and
# what that needs, 30 MB, and cannot be loaded without; but OpenCV reads no video in our services.
if [ -d "$site/opencv_python_headless.libs" ]; then
    cd "$site/opencv_python_headless.libs"
    for library in libopenblas*; do ln -sf "/usr/lib/$triplet/lapack/liblapack.so.3" "$library"; done
    rm -f libgfortran-* libquadmath-*
    python3 "$(dirname "$0")/stub_libraries.py" "$site"/cv2/cv2*.so . libavcodec libavformat libavutil libswscale
fi
# PyAV's wheel contains symbols, 21 of its 27 MB
if [ -d "$site/av" ]; then
    find "$site/av" -name '*.so' -exec strip --strip-unneeded {} +
fi
# Pillow's codecs of AVIF and WebP, colour profiles, and windows: it only draws, and simplejpeg reads and writes JPEG
if [ -d "$site/PIL" ]; then
    rm -f "$site"/PIL/_avif.* "$site"/PIL/_webp.* "$site"/PIL/_imagingcms.* "$site"/PIL/_imagingtk.*
    (cd "$site/pillow.libs" && rm -f libavif-* libwebp* libsharpyuv-* liblcms2-*)
fi
# tests, compiler helpers, headers, type stubs
cd "$site"
find . -type d \( -name tests -o -name test -o -name include \) -path './numpy/*' -prune -exec rm -rf {} +
rm -rf numpy/f2py numpy/distutils cv2/data openvino/include openvino/cmake
# OpenVINO's readers of models that exist only inside a PyTorch or JAX process: no file has such a model
rm -rf openvino/frontend/pytorch openvino/libs/libopenvino_pytorch_frontend*
rm -rf openvino/frontend/jax openvino/libs/libopenvino_jax_frontend*
# … and those of formats that INFER_MODEL does not take, OpenVINO's interface for C, and its converter
rm -rf openvino/frontend/paddle openvino/libs/libopenvino_paddle_frontend* openvino/libs/libopenvino_gguf_frontend*
rm -rf openvino/libs/libopenvino_c.so* openvino/tools
find . \( -name '*.pyi' -o -name '*.a' -o -name '*.lib' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete
find "$root/opt/ei/bin" -type f ! -name 'python*' -delete
