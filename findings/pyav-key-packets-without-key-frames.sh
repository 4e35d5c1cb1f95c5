#!/usr/bin/env bash
# One would guess: what PyAV calls a key frame in a packet (Packet.is_keyframe) is one for the decoder too, so that
# skip_frame = "NONKEY" decodes these packets and skips the others.
# What happens (PyAV 18.1.0 with FFmpeg 8.1, November 2026): H.264 with periodic intra refresh (a column of intra blocks
# that wanders through the picture; cameras that keep their bit rate even use it) has one true key frame, the first. Its
# packets are marked as key frames at each recovery point, by FFmpeg's parser and in MP4, MKV and MPEG-TS alike. But the
# decoder takes none of them for one: with NONKEY nothing comes after the first frame, without an error, and after a
# seek or a late join nothing comes at all. Frame.key_frame is False for all of them when everything is decoded.
# A watchdog that looks at packets sees a healthy stream of key frames.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import av
import numpy as np

FRAMES, EVERY = 60, 20


def clip(path, refresh):
    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    with av.open(path, "w") as output:
        parameters = f"intra-refresh={refresh}:keyint={EVERY}:scenecut=0:bframes=0:log-level=none"
        stream = output.add_stream("libx264", rate=10, options={"x264-params": parameters})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(FRAMES):
            image = np.roll(noise, number * 3, 1)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        output.mux(stream.encode(None))


def decoded(path, skip, start_s=0):
    with av.open(path) as video:
        stream = video.streams.video[0]
        stream.codec_context.skip_frame = skip
        if start_s:
            video.seek(int(start_s * 1_000_000))
        return list(video.decode(stream))


print("PyAV", av.__version__, "libavcodec", ".".join(map(str, av.library_versions["libavcodec"])))
for refresh in (0, 1):
    for kind in ("mp4", "mkv", "ts"):
        path = f"{sys.argv[1]}/{refresh}.{kind}"
        clip(path, refresh)
        with av.open(path) as video:
            packets = [number for number, packet in enumerate(video.demux(video=0)) if packet.is_keyframe]
        frames = [number for number, frame in enumerate(decoded(path, "DEFAULT")) if frame.key_frame]
        alone, joined = len(decoded(path, "NONKEY")), len(decoded(path, "NONKEY", 3))
        print(f"intra refresh {refresh}, {kind}: key packets {packets}, key frames {frames}, NONKEY gives {alone}, "
              f"from 3 s on {joined}")
        assert packets == [0, EVERY, 2 * EVERY], "other packets are marked now: the behaviour has changed"
        if refresh:
            assert frames == [0] and (alone, joined) == (1, 0), "recovery points count as key frames now"
        else:
            assert frames == packets and alone == 3 and joined > 0
print("as described: packets are marked as key frames, and the decoder skips them")
PYTHON
