#!/usr/bin/env bash
# Expected: libswscale is FFmpeg's fast way from one YCbCr matrix and range to another (BT.709 limited to the
# BT.601 full range of JPEG), and PyAV's VideoFrame.reformat, which calls it, is the way to use it.
# Seen (PyAV 18.1.0 with FFmpeg 8.1, November 2026): swscale goes through RGB for that; libavfilter's
# `colorspace` has code for YCbCr to YCbCr and needs a ninth of the CPU time (0.8 against 7.2 ms at 1920x1080), with a
# smaller error. But it takes that way only if primaries and transfer are the same on both sides, so both must be named,
# and it refuses odd sizes. Also: reformat() starts a thread for each processor unless threads=1, and so does
# av.filter.Graph, whose `threads` must be set before the first filter is added.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import os
import statistics
import time

import av
import av.filter
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

WIDTH, HEIGHT = 1920, 1080
OPTIONS = "ispace=bt709:irange=tv:iprimaries=bt709:itrc=bt709:space=bt470bg:range=pc:primaries=bt709:trc=bt709"


def graph(width, height):
    made = av.filter.Graph()
    made.threads = 1
    source = made.add("buffer", video_size=f"{width}x{height}", pix_fmt="yuv420p", time_base="1/25",
                      colorspace="1", range="1")
    recolour, sink = made.add("colorspace", OPTIONS), made.add("buffersink")
    source.link_to(recolour)
    recolour.link_to(sink)
    made.configure()
    return made


patches = np.random.default_rng(1).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
pixels = np.repeat(np.repeat(patches, 8, 0), 8, 1)
frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
)
recolour, scaler = graph(WIDTH, HEIGHT), VideoReformatter()


def by_filter():
    recolour.vpush(frame)
    return recolour.vpull()


def by_scaler():
    return scaler.reformat(
        frame, format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG, threads=1
    )


def worst(shown):
    rgb = shown.reformat(format="rgb24", src_colorspace=Colorspace.ITU601, src_color_range=ColorRange.JPEG, threads=1)
    return int(np.abs(rgb.to_ndarray()[4::8, 4::8].astype(int) - patches).max())


print("PyAV", av.__version__, "libavfilter", ".".join(map(str, av.library_versions["libavfilter"])))
spent = {by_filter: [], by_scaler: []}
for _ in range(15):
    for way in spent:
        began = time.process_time()
        way()
        spent[way].append(time.process_time() - began)
filtered, scaled = (1000 * statistics.median(each) for each in spent.values())
print(f"CPU a frame at {WIDTH}x{HEIGHT}: filter {filtered:.2f} ms, swscale {scaled:.2f} ms")
print(f"largest error: filter {worst(by_filter())}, swscale {worst(by_scaler())} of 255 levels")
assert filtered * 3 < scaled, "swscale is no longer much slower: the behaviour has changed"
assert worst(by_filter()) <= 8

try:
    odd = graph(WIDTH - 1, HEIGHT - 1)
    odd.vpush(av.VideoFrame(WIDTH - 1, HEIGHT - 1, "yuv420p"))
    odd.vpull()
    raise AssertionError("odd sizes work now: the behaviour has changed")
except av.FFmpegError as error:
    print("odd size:", type(error).__name__)

if (os.cpu_count() or 1) > 1:
    before = len(os.listdir("/proc/self/task"))
    kept = VideoReformatter()
    kept.reformat(frame, 640, 360)
    print("threads that reformat() without threads=1 starts:", len(os.listdir("/proc/self/task")) - before)
    assert len(os.listdir("/proc/self/task")) > before, "reformat() starts no threads now: the behaviour has changed"
print("as described")
PYTHON
