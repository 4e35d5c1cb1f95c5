"""Opens a source, watches it for a few seconds, and reports its properties and what it would cost.

Called by `commands.camera_probe`; any flow may call it too. A probe takes a thread and a connection of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.adapters.source.camera import camera_label, open_camera
from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.adapters.source.decoder import MAX_FPS
from elastic_inference.adapters.source.file import FileSource
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder, mean_grey
from elastic_inference.adapters.source.source_facts import SourceFacts
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.base.url import hide_password, url_credentials, with_login
from elastic_inference.domain.errors import InvalidFrameError, SettingError, SourceError
from elastic_inference.domain.probe_report import ProbeReport

WATCH_S = 3.0
LIMIT_S = 30.0
# A call that hangs, such as the look-up of a name, is given up this long after the limit.
HANG_S = 0.5
# Below this mean grey level of 255 an image counts as black.
DARK = 10
# After a lost packet or a reconnect, frames are missing until the next key frame.
FAR_APART_S = 5.0
# A shorter watch says nothing about them.
FEW_S = 2.0


def _ignore_image(_jpeg: bytes) -> None:
    """Ignores the first frame."""


def probe_camera(
    url: str,
    *,
    user: str | None = None,
    password: str | None = None,
    transport: str = "auto",
    certificate: str | None = None,
    fps: float = 15.0,
    watch_s: float = WATCH_S,
    limit_s: float = LIMIT_S,
    rules: AddressRules | None = None,
    on_image: Callable[[bytes], None] = _ignore_image,
) -> ProbeReport:
    """Probes the camera at `url`: an address as in the setting CAMERA, but never a file.

    `user` and `password` replace a login in the URL. `certificate` is what to trust: a PEM file, or
    `sha256:<fingerprint>`. `fps` is the cap that the camera would get. Raises SettingError for arguments that are not
    accepted, else SourceError, each with one sentence without secrets; at the latest after `limit_s`. `rules` say
    where it may be; `on_image` gets the first frame as a JPEG.
    """
    if not url.strip():
        # `load` would take the default, a USB camera.
        raise SettingError("CAMERA", url, "expected a camera's address")
    trust = "CAMERA_FINGERPRINT" if certificate and certificate.startswith("sha256:") else "CAMERA_CA_FILE"
    settings = load(
        CameraSettings,
        {
            "CAMERA": url if user is None or "://" not in url else with_login(url, user, password or ""),
            "CAMERA_TRANSPORT": transport,
            "CAMERA_FPS": f"{fps:g}",
            **({trust: certificate} if certificate else {}),
        },
    )
    return probe_settings(settings, watch_s, limit_s, rules, on_image)


def probe_settings(
    settings: CameraSettings,
    watch_s: float = WATCH_S,
    limit_s: float = LIMIT_S,
    rules: AddressRules | None = None,
    on_image: Callable[[bytes], None] = _ignore_image,
) -> ProbeReport:
    """Like `probe_camera`, for a camera that is named by settings."""
    probe = _Probe(hide_password(settings.camera), watch_s, limit_s, on_image)
    probe.login = url_credentials(settings.camera)[0] is not None
    probe.cap_fps = settings.camera_fps
    return probe.run(lambda: open_camera(settings, rules), camera_label(settings.camera))


def probe_file(
    path: Path,
    watch_s: float = WATCH_S,
    limit_s: float = LIMIT_S,
    on_image: Callable[[bytes], None] = _ignore_image,
) -> ProbeReport:
    """Like `probe_camera`, for a video file, which is read at full speed."""
    return _Probe(str(path), watch_s, limit_s, on_image).run(lambda: FileSource(path), f"The video {path}")


class _Probe:
    """One probe. A library may hang and cannot be interrupted, so a thread does the work, and can be abandoned."""

    def __init__(self, shown: str, watch_s: float, limit_s: float, on_image: Callable[[bytes], None]) -> None:
        self._on_image = on_image
        self.login = False
        self.cap_fps: float | None = None  # None for a file
        self._shown = shown
        self._watch_s = watch_s
        self._limit_s = limit_s
        self._deadline = time.monotonic() + limit_s
        self._report: ProbeReport | None = None
        self._error: BaseException | None = None

    def run(self, open_source: Callable[[], Source], what: str) -> ProbeReport:
        thread = threading.Thread(target=self._work, args=(open_source, what), name="probe", daemon=True)
        thread.start()
        # The work ends by itself at the deadline, unless a call hangs.
        thread.join(self._limit_s + HANG_S)
        if self._error is not None:
            raise self._error
        if self._report is None:
            raise SourceError(f"{what} did not deliver a frame within {self._limit_s:g} s.")
        return self._report

    def _work(self, open_source: Callable[[], Source], what: str) -> None:
        try:
            source = open_source()
            try:
                self._report = self._watch(source, what)
            finally:
                source.close()
        except BaseException as error:  # noqa: BLE001  top of the thread: `run` raises it
            self._error = error

    def _watch(self, source: Source, what: str) -> ProbeReport:
        seen = _Seen(time.monotonic())
        encoder, used_s = JpegEncoder(), time.thread_time()
        end = self._deadline
        while seen.frames == 0 or time.monotonic() < end:
            if time.monotonic() >= self._deadline:
                why = f": {seen.unusable}" if seen.unusable else "."
                raise SourceError(f"{what} did not deliver a usable frame within {self._limit_s:g} s{why}")
            source.grab(_ignore)
            try:
                captured = source.retrieve()
                data, width, height = encoder.encode(captured)
                if seen.frames == 0:
                    seen.brightness = mean_grey(data)
                    seen.size, seen.jpeg_bytes = (width, height), len(data)
                    seen.passes_through = captured.jpeg is not None
                    seen.first = time.monotonic()
                    self._on_image(data)
                    end = min(seen.first + self._watch_s, self._deadline)
                    # The first frame includes the cost of what is set up once.
                    seen.cpu_s, used_s = time.thread_time() - used_s, time.thread_time()
                seen.frames += 1
                seen.last = time.monotonic()
            except (InvalidFrameError, ValueError) as error:
                seen.unusable = error
        if seen.frames > 1:
            seen.cpu_s = (time.thread_time() - used_s) / (seen.frames - 1)
        return self._made(source.facts(), seen)

    def _made(self, facts: SourceFacts, seen: _Seen) -> ProbeReport:
        fps = None
        if self.cap_fps is not None and seen.frames > 1:
            fps = (seen.frames - 1) / max(seen.last - seen.first, 0.001)
        return ProbeReport(
            camera=self._shown,
            transport=facts.transport,
            container=facts.container,
            codec=facts.codec,
            profile=facts.profile,
            width=seen.size[0],
            height=seen.size[1],
            fps=fps,
            stated_fps=facts.fps,
            key_frame_s=facts.key_frame_s,
            interlaced=facts.interlaced,
            pixel_format=facts.pixel_format,
            colours=facts.colours,
            open_s=seen.opened - (self._deadline - self._limit_s),
            first_frame_s=seen.first - seen.opened,
            login=self.login,
            brightness=seen.brightness,
            passes_through=seen.passes_through,
            jpeg_bytes=seen.jpeg_bytes,
            cpu_ms=seen.cpu_s * 1000,
            used_fps=min(fps or facts.fps or 0.0, self.cap_fps or MAX_FPS),
            warnings=tuple(_warnings(facts, seen, live=self.cap_fps is not None)),
        )


@dataclass(slots=True)
class _Seen:
    """What the frames have shown; times are monotonic."""

    opened: float
    first: float = 0.0
    last: float = 0.0
    unusable: InvalidFrameError | ValueError | None = None
    frames: int = 0
    cpu_s: float = 0.0
    # Of the first frame.
    size: tuple[int, int] = (0, 0)
    jpeg_bytes: int = 0
    brightness: float = 0.0
    passes_through: bool = False


def _warnings(facts: SourceFacts, seen: _Seen, *, live: bool) -> list[str]:
    found = []
    if seen.brightness < DARK:
        found.append("The first frame is almost black: is the lens covered, or the place dark?")
    if facts.key_frame_s is not None and facts.key_frame_s > FAR_APART_S:
        found.append(
            f"Key frames are {facts.key_frame_s:.2g} s apart: after a reconnect no frame is shown for that long. "
            "Set a shorter key-frame interval in the camera."
        )
    elif facts.key_frame_s is None and live and not seen.passes_through and seen.last - seen.first >= FEW_S:
        found.append(
            f"Key frames are more than {int(seen.last - seen.first)} s apart: only one came. After a reconnect no "
            "frame is shown until the next one. Set a shorter key-frame interval in the camera."
        )
    if facts.interlaced:
        found.append("The video is interlaced: it is deinterlaced here, which costs CPU.")
    if facts.hdr is not None:
        found.append(
            f"The video is HDR ({facts.hdr}), which is not mapped here: its images look pale. SDR would look right."
        )
    if facts.squeezed is not None:
        found.append(f"The video {facts.squeezed}.")
    if seen.unusable is not None:
        found.append(f"Some frames can't be used: {seen.unusable}")
    return found


def _ignore() -> None:
    """Ignores the data."""
