"""RTSP cameras as a process of their own, so that a test that is busy holds up none of them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.support.rtsp_plain import encode, rtsp_camera

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 4


class CameraSite:
    """Serves one moving image to any number of clients, each path a camera.

    `connected` notes when (the clock's time) clients began to watch each camera.
    """

    def __init__(self, fps: int = 10, host: str = "127.0.0.1", *, key_frame_s: int = 1, size: str = "160x120") -> None:
        """`key_frame_s`: seconds from one key frame to the next."""
        self._host = host
        self._arguments = [str(fps), host, str(key_frame_s), size]
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.connected: dict[str, list[float]] = {}

    def url(self, name: str) -> str:
        """The address of one camera."""
        return f"rtsp://{self._host}:{self._port}/{name}"

    def reconnected_s(self, names: Iterable[str], since: float) -> float:
        """How long it took until the last of these cameras was connected again. Those that another worker had connected
        to before do not count."""
        first = [[at for at in self.connected[name] if at > since] for name in names]
        return max(min(times) for times in first if times) - since

    def __enter__(self) -> CameraSite:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.camera_site", *self._arguments],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=REPOSITORY,
            text=True,
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._thread.join(10)

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                at, name = line.split()
                self.connected.setdefault(name, []).append(float(at))


def serve(fps: int, host: str, key_frame_s: int, size: str) -> None:
    """The process: serves until it is killed."""

    def tell(url: str) -> None:
        print(f"{time.time()} {url.rstrip('/').rpartition('/')[2]}\n", end="", flush=True)

    with rtsp_camera(encode(SECONDS, fps, key_frame_s * fps, size), fps, on_play=tell, host=host) as port:
        print(port, flush=True)
        while True:
            time.sleep(60)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
