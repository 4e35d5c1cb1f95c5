#!/usr/bin/env bash
# One would guess: FFmpeg's demuxer of MJPEG over HTTP ends an image without a Content-Length at the boundary that the
# server has announced; at worst with the option strict_mime_boundary, whose help says so.
# What happens (PyAV 18.1.0 with FFmpeg 8.1, November 2026): it ends the image at any \r\n-- in it, with and without the
# option. These four bytes occur by chance in compressed data, once in 4 GiB: once in an hour at 10 Mbit/s. The image
# is cut off there, the rest is read as a part's header, and the stream ends with InvalidDataError, as if the camera had
# sent nonsense; after a reconnection all is well for another hour. With a Content-Length the same images pass.
# Also: all time stamps are 1/25 s apart, whatever the camera's rate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.3.5 pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
from PIL import Image

IMAGES, ODD = 8, 3  # the fourth image has the four bytes
PIXELS = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)


def jpeg(comment):
    buffer = io.BytesIO()
    # A comment, so that the image is easy to make; to the demuxer it is as good a place as the compressed data.
    Image.fromarray(PIXELS).save(buffer, "JPEG", quality=80, comment=comment)
    return buffer.getvalue()


class Camera(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(IMAGES):
            image = jpeg(b"\r\n--" if number == ODD and self.path != "/plain" else b"    ")
            length = b"Content-Length: %d\r\n" % len(image) if self.path == "/length" else b""
            try:
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + image + b"\r\n")
            except OSError:
                return
            time.sleep(0.2)
        try:
            self.wfile.write(b"--frame--\r\n")
        except OSError:
            return

    def log_message(self, *_):
        pass


def read(url, options):
    """(sizes of the packets, their times in seconds, the error that ended the stream)"""
    sizes, times = [], []
    try:
        with av.open(url, options=options, timeout=20) as video:
            for packet in video.demux(video=0):
                if packet.size:
                    sizes.append(packet.size)
                    times.append(round(float(packet.pts * packet.time_base), 2))
    except av.FFmpegError as error:
        return sizes, times, type(error).__name__
    return sizes, times, "no error"


server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
whole = len(jpeg(b"    "))
print("PyAV", av.__version__, "libavformat", ".".join(map(str, av.library_versions["libavformat"])))
print(f"each image has {whole} bytes and comes every 0.2 s")
for path in ("/plain", "/length", "/odd"):
    for options in ({}, {"strict_mime_boundary": "1"}):
        sizes, times, end = read(f"http://127.0.0.1:{server.server_port}{path}", options)
        print(f"{path[1:]}, {options or 'default'}: {sizes} at {times}, then {end}")
        assert times == [round(number / 25, 2) for number in range(len(times))], "the time stamps follow the camera now"
        if path == "/odd":
            assert sizes[:ODD] == [whole] * ODD and sizes[ODD:][:1] != [whole], "the odd image passes now"
            assert end == "InvalidDataError" and len(sizes) <= ODD + 1, "the stream goes on now"
        else:
            assert sizes == [whole] * IMAGES
server.shutdown()
print("as described: the stream ends at four bytes of an image")
PYTHON
