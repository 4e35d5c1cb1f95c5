#!/usr/bin/env bash
# One would guess: FFmpeg's option correct_ts_overflow (on by default) keeps the time stamps of MPEG-TS rising over each
# wrap of their 33 bits, or at least that they jump back when the camera's clock wraps.
# What happens (PyAV 18.1.0 with FFmpeg 8.1, November 2026): it corrects one wrap. The reference is the first time stamp
# less a minute, and is not moved. So the wrap of the camera's clock passes unseen, and pts jumps back by 26.5 hours
# once the stream has been open for that long, whatever the clock says then, and again after each further 26.5 hours.
# A test with a clock just before the wrap shows nothing, and a restart of the reader hides it for another day.
# Whoever schedules or orders by pts has to continue it over a jump of about -2^33 ticks, at any moment.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0
"$folder/venv/bin/python" - "$folder/clip.ts" <<'PYTHON'
import sys
from fractions import Fraction

import av

CLOCK, STEP, WRAP = Fraction(1, 90000), 1800 * 90000, 2**33  # a frame every half hour keeps the file small
START = 20 * 3600 * 90000  # the camera's clock when the stream begins: it wraps 6.5 hours later


def mux(output, packet, number):
    packet.pts = packet.dts = START + number * STEP  # the muxer writes the lower 33 bits
    packet.time_base = CLOCK
    output.mux(packet)


with av.open(sys.argv[1], "w") as output:
    stream = output.add_stream("mpeg2video", rate=25, options={"g": "1"})  # key frames only, so that none is reordered
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    packets = [packet for _ in range(160) for packet in stream.encode(av.VideoFrame(64, 64, "yuv420p"))]
    for number, packet in enumerate(packets + stream.encode(None)):
        mux(output, packet, number)


def jumps(options):
    """(hours since the start, hours of the jump) of each time stamp that is lower than the one before."""
    with av.open(sys.argv[1], options=options) as video:
        times = [packet.pts for packet in video.demux(video=0) if packet.pts is not None]
    return [
        (number / 2, round((times[number] - times[number - 1] - STEP) / 90000 / 3600, 1))
        for number in range(1, len(times))
        if times[number] < times[number - 1]
    ]


print("PyAV", av.__version__, "libavformat", ".".join(map(str, av.library_versions["libavformat"])))
corrected, raw = jumps({}), jumps({"correct_ts_overflow": "0"})
print(f"2^33 ticks are {WRAP / 90000 / 3600:.1f} h; the clock wraps 6.5 h after the start")
print("corrected:", "; ".join(f"after {at} h by {by} h" for at, by in corrected))
print("not corrected:", "; ".join(f"after {at} h by {by} h" for at, by in raw))
assert [at for at, _ in raw] == [7.0, 33.5, 60.0], "the clip does not wrap as intended: it shows nothing"
assert corrected, "pts rises over all wraps now: the behaviour has changed"
assert {by for _, by in corrected} == {-26.5}
assert all(26 <= at % 26.5 or at % 26.5 <= 0.5 for at, _ in corrected), "it jumps at other moments now"
print("as described: one wrap is corrected, then pts jumps back every 26.5 h after the start")
PYTHON
