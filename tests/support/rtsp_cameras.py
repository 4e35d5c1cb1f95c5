"""Many RTSP cameras on loopback: GStreamer's server, which sends video that was encoded before, over and over.

It costs little, so benchmarks can run it beside what they measure. As a module it runs under Debian's
`/usr/bin/python3` (`rtsp_server` names the packages); `RtspCameras` starts it as a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.rtsp_plain import access_units
from tests.support.rtsp_server import REPOSITORY, SYSTEM_PYTHON, gst_server, run_server

_LAUNCH = (
    "( appsrc name=src is-live=true format=time do-timestamp=true max-bytes=0"
    " caps=video/x-h264,stream-format=byte-stream,alignment=au ! rtph264pay name=pay0 pt=96 )"
)


class RtspCameras:
    """One server process. `video` is raw H.264 (one slice a frame) and its rate, by name."""

    def __init__(self, port: int, folder: Path, video: Mapping[str, tuple[bytes, float]], cameras: int) -> None:
        """Each video is served by this many cameras, each of which begins at its first frame for each client."""
        self._port = port
        self._arguments = [str(port), str(cameras)]
        for name, (data, fps) in video.items():
            path = folder / f"{name}.h264"
            path.write_bytes(data)
            self._arguments += [name, str(path), str(fps)]
        self._process: subprocess.Popen[str] | None = None

    def url(self, name: str, camera: int) -> str:
        """Where one camera is."""
        return f"rtsp://127.0.0.1:{self._port}/{name}/{camera}"

    def __enter__(self) -> RtspCameras:
        command = [SYSTEM_PYTHON, "-m", "tests.support.rtsp_cameras", *self._arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        assert self._process.stdout is not None
        if (line := self._process.stdout.readline()).strip() != "ready":
            self.__exit__()
            raise RuntimeError(f"the RTSP server did not start: {line!r}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()


class _Feed:
    """Sends frames to one open camera, from the first one on, until it is closed."""

    def __init__(self, libraries: tuple[Any, Any], source: Any, frames: list[bytes], fps: float) -> None:
        self._glib, self._gst = libraries
        self._source, self._frames, self._fps = source, frames, fps
        self._number = 0
        self._began = time.monotonic()
        self._send()

    def _send(self) -> bool:
        frame = self._gst.Buffer.new_wrapped(self._frames[self._number % len(self._frames)])
        if self._source.emit("push-buffer", frame) == self._gst.FlowReturn.OK:
            self._number += 1
            due_s = self._began + self._number / self._fps - time.monotonic()
            self._glib.timeout_add(max(1, round(due_s * 1000)), self._send)
        return False


def serve(port: str, cameras: str, *video: str) -> None:
    """The process: serves until it is killed."""
    server = gst_server(port)
    from gi.repository import GLib, Gst, GstRtspServer

    def opened(_factory: Any, media: Any, frames: list[bytes], fps: float) -> None:
        source = media.get_element().get_by_name("src")
        GLib.idle_add(lambda: bool(_Feed((GLib, Gst), source, frames, fps)) and False)

    for name, path, fps in zip(video[::3], video[1::3], video[2::3], strict=True):
        frames = [b"\0\0\0\1" + b"\0\0\0\1".join(unit) for unit in access_units(Path(path).read_bytes())]
        for camera in range(int(cameras)):
            factory = GstRtspServer.RTSPMediaFactory.new()
            factory.set_launch(_LAUNCH)
            factory.connect("media-configure", opened, frames, float(fps))
            server.get_mount_points().add_factory(f"/{name}/{camera}", factory)
    run_server(server)


if __name__ == "__main__":
    serve(*sys.argv[1:])
