#!/usr/bin/env bash
# One would guess: a stream whose codec FFmpeg cannot decode still tells PyAV which codec it is, by `stream.name` or
# `stream.codec_tag` (both are in PyAV's type stubs).
# What happens (PyAV 18.1.0 with FFmpeg 8.1, November 2026): both raise AttributeError, since they are passed on to a
# codec context that is None; and container.dumps_format(), which prints what `ffprobe` prints, returns an empty text.
# It is put together from FFmpeg's log lines, and PyAV switches logging off by default. After
# av.logging.set_level(av.logging.INFO) it names the codec, and the four characters of one that nobody knows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import av

path = Path(sys.argv[1]) / "clip.mp4"
with av.open(str(path), "w") as output:
    stream = output.add_stream("libx264", rate=5, options={"x264-params": "log-level=none"})
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    output.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
    output.mux(stream.encode(None))
known = path.read_bytes()
print("PyAV", av.__version__)
for tag, name in ((b"evc1", "evc"), (b"xyzw", "xyzw")):
    path.write_bytes(known.replace(b"avc1\0", tag + b"\0").replace(b"avcC", b"free"))
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        missing = [each for each in ("name", "codec_tag") if not hasattr(stream, each)]
        silent = video.dumps_format()
        av.logging.set_level(av.logging.INFO)
        told = next(line for line in video.dumps_format().splitlines() if "Video:" in line)
        av.logging.set_level(None)
    print(f"{tag.decode()}: no {', '.join(missing)}; dumps_format {silent!r}, with logging: {told.strip()}")
    assert stream.codec_context is None, "FFmpeg decodes it now: the clip shows nothing"
    assert missing == ["name", "codec_tag"], "PyAV knows the codec now: the behaviour has changed"
    assert silent == "", "dumps_format() needs no logging now: the behaviour has changed"
    assert name in told, "FFmpeg no longer names the codec"
print("as described")
PYTHON
