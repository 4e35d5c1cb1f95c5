"""A real RTSP server on loopback: GStreamer's, with a moving test image in H.264 or MJPEG.

As a program it runs under Debian's `/usr/bin/python3` (packages python3-gi, gir1.2-gst-rtsp-server-1.0,
gstreamer1.0-plugins-{base,good,bad,ugly}); `RtspServer` starts it as a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.freezable import Freezable

SYSTEM_PYTHON = "/usr/bin/python3"
REPOSITORY = Path(__file__).resolve().parents[2]
ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96",
    "jpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}


def available() -> bool:
    """Whether GStreamer's RTSP server is installed here."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, check=False).returncode == 0


class RtspServer(Freezable):
    """One server process, serving `/stream` at `port`; `start` it again after `kill`."""

    def __init__(
        self, port: int, *, fps: int = 15, codec: str = "h264", user: str = "", password: str = "", transport: str = ""
    ) -> None:
        """`transport` is `tcp` or `udp`, the only one that clients may use; any by default."""
        self.port = port
        self.url = f"rtsp://127.0.0.1:{port}/stream"
        self._arguments = [str(port), str(fps), codec]
        self._environ = {**os.environ, "RTSP_USER": user, "RTSP_PASSWORD": password, "RTSP_TRANSPORT": transport}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> RtspServer:
        """Starts the process and waits until it listens."""
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, "-m", "tests.support.rtsp_server", *self._arguments],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=self._environ,
            cwd=REPOSITORY,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.strip() != "ready":
            self.kill()
            raise AssertionError(f"the RTSP server did not start: {line!r}")
        return self

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def __enter__(self) -> RtspServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


def gst_server(port: str) -> Any:
    """GStreamer's server, which `run_server` starts; only in a process of its own."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    return server


def run_server(server: Any) -> None:
    """Serves until the process is killed; says on standard output when it is ready."""
    from gi.repository import GLib

    if server.attach(None) == 0:
        sys.exit("the port is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


def serve(port: str, fps: str, codec: str) -> None:
    """The process: serves until it is killed."""
    server = gst_server(port)
    from gi.repository import Gst, GstRtspServer

    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(
        f"( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate={fps}/1"
        f" ! {ENCODERS[codec]} )"
    )
    factory.set_shared(True)
    if transport := os.environ.get("RTSP_TRANSPORT"):
        from gi.repository import GstRtsp

        factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP if transport == "tcp" else GstRtsp.RTSPLowerTrans.UDP)
    user, password = os.environ.get("RTSP_USER", ""), os.environ.get("RTSP_PASSWORD", "")
    if user:
        auth = GstRtspServer.RTSPAuth.new()
        token = GstRtspServer.RTSPToken.new()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.new_from_string("viewer,media.factory.access=true,media.factory.construct=true")[0]
            if isinstance(Gst.Structure.new_from_string("viewer"), tuple)
            else Gst.Structure.new_from_string("viewer,media.factory.access=true,media.factory.construct=true")
        )
    server.get_mount_points().add_factory("/stream", factory)
    run_server(server)


if __name__ == "__main__":
    serve(*sys.argv[1:])
