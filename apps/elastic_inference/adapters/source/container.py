"""An open container or network stream: packets in, decoded frames or whole JPEGs out, with media times.

Called by `file`, `network`, `http` and `usb`. Independent of the queue.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, cast

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer

from elastic_inference.adapters.source.colours import HDR, colours
from elastic_inference.adapters.source.decoder import MAX_FPS, MIN_FPS, Decoder, most_pixels, pixel_limit
from elastic_inference.adapters.source.ffmpeg_memory import bound_blocks
from elastic_inference.adapters.source.input_errors import CONVERT_FILE, SET_CODEC, no_video, source_error
from elastic_inference.adapters.source.media_clock import MAX_STEP_S
from elastic_inference.adapters.source.resting import Resting
from elastic_inference.adapters.source.source_facts import SourceFacts, squeezed
from elastic_inference.adapters.source.thinning import Thinning
from elastic_inference.adapters.source.video_turn import VideoTurn
from elastic_inference.base.log import Throttle
from elastic_inference.domain.errors import SourceError, SourceFatalError
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_PIXELS

log = logging.getLogger(__name__)

# FFmpeg decodes any .txt file as ANSI art, which is never what the user meant.
_TEXT_CODECS = frozenset({"ansi", "xbin", "bintext", "idf"})
DEFAULT_FPS = 25.0
# MPEG-TS: what comes with another number after the sender was set up anew belongs to the stream that is read.
_ONE_STREAM = {"merge_pmt_versions": "1"}
# Decoders hold back 16 frames at most: so many packets and key frames without a frame are of another codec.
_UNDECODED_PACKETS, _UNDECODED_KEYS, _UNDECODED_S = 40, 3, 3.0
_SAID = Throttle()
# FFmpeg's log level holds for the whole process.
_SUMMARY_LOCK = threading.Lock()


class Container:
    """One open input with a video stream. Not thread-safe."""

    def __init__(
        self,
        url: str | IO[bytes],
        what: str,
        *,
        format_name: str | None = None,
        options: Mapping[str, str] | None = None,
        timeout_s: tuple[float, float] | None = None,
        raw_jpeg: bool = False,
        fatal: bool = False,
        decode_device: str = "none",
        name_codec: Callable[[], str | None] = lambda: None,
        max_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
    ) -> None:
        """`what` names the source in errors; `timeout_s` are the time-outs of opening and of one read.

        With `raw_jpeg`, the packets of an MJPEG stream are returned undecoded. With `fatal`, errors are
        SourceFatalError, else SourceError. `decode_device` names hardware that decodes, such as `cuda`; software
        decodes where it fails. `name_codec` is asked for the name of a codec that FFmpeg does not know. Video of more
        than `max_pixels` an image is refused.
        """
        self._what = what
        self._stall_s = timeout_s[1] if timeout_s is not None else 0.0
        self._name_codec = name_codec
        self._fatal = fatal
        bound_blocks(most_pixels(max_pixels))
        # FFmpeg decodes some frames while it opens a source.
        options = {**(options or {}), **pixel_limit(max_pixels), **_ONE_STREAM}
        self._input = self._open(url, format_name, options, timeout_s, decode_device)
        try:
            self.stream = self._video_stream()
            self.decoder: Decoder | None = None
            if not (raw_jpeg and self.codec == "mjpeg"):
                kind = SourceFatalError if fatal else SourceError
                self.decoder = Decoder(self.stream, what, max_pixels, kind)
                self._report_hardware(decode_device)
        except SourceError:
            self._input.close()
            raise
        # As two numbers: each look at those of a fraction is a call.
        base = self.stream.time_base
        self._time_base = None if base is None else (base.numerator, base.denominator)
        self._is_avi = self._input.format.name == "avi"
        self._index = self.stream.index
        # Of a live input every stream is read: PyAV's time-out counts one packet, whichever stream it belongs to.
        self._packets = self._input.demux(*(() if self._stall_s else (self.stream,)))
        self._frames: deque[av.VideoFrame | bytes] = deque()
        self._packet_time_s: float | None = None
        self._turn = VideoTurn()
        self.turn = 1  # EXIF's orientation of the frame that was last read
        self._ended = False
        self._resting: Resting[av.Packet[av.VideoStream]] | None = None
        self._on_skip: Callable[[], None] = _nothing
        self._thinning: Thinning | None = None
        self._undecoded = _Undecoded()
        self._key_seen: tuple[float | None, float] | None = None  # its time stamp, and when it came
        self.key_interval_s: float | None = None  # between the last two key frames

    @property
    def codec(self) -> str:
        """FFmpeg's name of the stream's codec, such as `h264`; not that of its decoder, such as `libdav1d`."""
        return str(self.stream.codec_context.codec.canonical_name)

    @property
    def fps(self) -> float | None:
        """The stream's mean frame rate, None if it states none that makes sense."""
        for rate in (self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate):
            if rate and MIN_FPS <= float(rate) <= MAX_FPS:
                return float(rate)
        return None

    def read(self, on_data: Callable[[], None]) -> av.VideoFrame | bytes | None:
        """The next frame, or JPEG packet of a raw stream; None at the end. Raises SourceError."""
        while not self._frames and not self._ended:
            packet = self._next_packet()
            if packet is None or packet.size == 0:
                self._ended = True
                if self.decoder is not None:
                    self._frames.extend(self._decode(None, self.decoder))
                break
            on_data()
            if packet.is_keyframe:
                self._note_key_frame(packet)
            if self.decoder is None:
                self._frames.append(bytes(packet))
                self._packet_time_s = None if packet.pts is None else float(packet.pts * packet.time_base)
            elif self.decoder.deinterlaces:
                self._frames.extend(self.decoder.decode(packet))
            elif self._resting is None:
                self._frames.extend(self._decode(packet, self.decoder))
            else:
                self._read_resting(packet, self.decoder, self._resting)
            if not self._frames and not self._fatal and self._undecoded.add(packet.is_keyframe):
                raise SourceError(
                    f"{self._what} sends video that can't be decoded as {self.codec}: its format may have changed."
                )
        if self._undecoded.packets:
            self._undecoded = _Undecoded()
        if not self._frames:
            return None
        frame = self._frames.popleft()
        if not isinstance(frame, bytes):
            # Also of frames that nobody wants: a key frame among them may say how to turn those that follow.
            self.turn = self._turn.orientation(frame)
        return frame

    def _next_packet(self) -> av.Packet[av.VideoStream] | None:
        """The next packet of the video; an empty one or None at the end. Raises SourceError."""
        began = time.monotonic()
        while True:
            try:
                packet = next(self._packets, None)
            except (av.error.ExitError, TimeoutError):
                raise self.silent() from None
            except (av.FFmpegError, OSError) as error:
                raise source_error(self._what, error, self._fatal) from None
            if packet is None or packet.stream_index == self._index:
                return cast("av.Packet[av.VideoStream] | None", packet)
            if packet.size and time.monotonic() - began >= self._stall_s:
                raise SourceError(
                    f"{self._what} has sent no video for {self._stall_s:g} s, only {packet.stream.type}: restart it if "
                    "this continues."
                )

    def silent(self) -> SourceError:
        """The error for a source that sends nothing."""
        # FFmpeg does not tell a camera that sends nothing from one whose frame never ends.
        return SourceError(
            f"{self._what} has sent no complete frame for {self._stall_s:g} s: is it still switched on and reachable? "
            "If it does send data, check the format of its stream."
        )

    def rest(self, quiet: bool, on_skip: Callable[[], None]) -> None:
        """While `quiet`, only key frames are decoded, until the packets between them grow. Any thread may call it.

        `on_skip` is called for each packet that is skipped, in the thread that reads.
        """
        if self._resting is None:
            self._on_skip = on_skip
            self._resting = Resting()
        self._resting.asked = quiet

    def thin(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        """Frames that are not wanted and to which no other refers are not decoded, unless the stream may rest.

        `wants` and `on_skip`: see `Thinning`. Both are called in the thread that reads.
        """
        self._thinning = Thinning(wants, on_skip)

    @property
    def rests(self) -> bool:
        """Whether only key frames are decoded now."""
        return self._resting is not None and self._resting.rests

    def _decode(self, packet: av.Packet[av.VideoStream] | None, decoder: Decoder) -> list[av.VideoFrame]:
        if (thinning := self._thinning) is None:
            return decoder.decode(packet)
        may_skip = False
        if packet is not None and packet.pts is not None and (base := self._time_base) is not None:
            may_skip = thinning.may_skip(packet.pts * base[0] / base[1])
        frames = decoder.decode(packet, may_skip)
        for frame in frames:
            thinning.came(self.time_s(frame))
        if packet is None:
            thinning.ended()
        return frames

    def _read_resting(
        self, packet: av.Packet[av.VideoStream], decoder: Decoder, resting: Resting[av.Packet[av.VideoStream]]
    ) -> None:
        if packet.is_keyframe:
            alone = resting.key(packet, self.stream.width * self.stream.height)
            self._frames.extend(decoder.decode_alone(packet) if alone else decoder.decode(packet))
            return
        packets = resting.between(packet)
        if packets is None:
            self._on_skip()
            return
        for each in packets[:-1]:
            # The frames before are too old to be shown; the decoder needs them.
            decoder.decode(each)
        self._frames.extend(decoder.decode(packets[-1]))

    def facts(self, transport: str | None = None) -> SourceFacts:
        """What the stream states, and what reading has shown by now."""
        context, width, height = self.stream.codec_context, self.stream.width, self.stream.height
        pixels = context.format
        shown = None
        if pixels is not None and not pixels.is_rgb:
            shown = str(colours(pixels.name, width, height, context.colorspace, context.color_range))
        return SourceFacts(
            transport=transport,
            container=self._input.format.name,
            codec=self.codec,
            profile=str(context.profile) if context.profile else None,
            width=width,
            height=height,
            fps=self.fps,
            pixel_format=None if pixels is None else pixels.name,
            colours=shown,
            hdr=HDR.get(int(context.color_trc)),
            squeezed=None if self.decoder is None else squeezed(width, height, self.stream.sample_aspect_ratio),
            key_frame_s=self.key_interval_s,
            interlaced=None if self.decoder is None else self.decoder.deinterlaces,
        )

    def _note_key_frame(self, packet: av.Packet[av.VideoStream]) -> None:
        stamp = packet.dts if packet.dts is not None else packet.pts
        stamp_s = None if stamp is None or packet.time_base is None else float(stamp * packet.time_base)
        before, self._key_seen = self._key_seen, (stamp_s, time.monotonic())
        if before is None:
            return
        step_s = 0.0 if stamp_s is None or before[0] is None else stamp_s - before[0]
        if 0 < step_s <= MAX_STEP_S:
            self.key_interval_s = step_s
        elif self._stall_s:  # a camera whose clock stands still, or jumps
            self.key_interval_s = self._key_seen[1] - before[1]

    def time_s(self, frame: av.VideoFrame | bytes) -> float | None:
        """The frame's own time stamp in seconds, None if it has none."""
        if isinstance(frame, bytes):
            return self._packet_time_s
        # AVI stores no presentation times, and FFmpeg's guesses go back and forth with B frames; decoding times rise.
        stamp = frame.dts if self._is_avi else frame.pts
        base = self._time_base
        if self.decoder is not None and self.decoder.deinterlaces and (filtered := frame.time_base):
            # A filter has a time base of its own. Reading one makes a fraction, each time.
            base = filtered.numerator, filtered.denominator
        if stamp is None or base is None:
            return None
        # Not as a product of fractions, which takes several times as long.
        return stamp * base[0] / base[1]

    def close(self) -> None:
        """Closes the input."""
        self._frames.clear()
        self._input.close()

    def _open(
        self,
        url: str | IO[bytes],
        format_name: str | None,
        options: dict[str, str],
        timeout_s: tuple[float, float] | None,
        decode_device: str,
    ) -> InputContainer:
        accelerator = hardware(decode_device)
        began = time.monotonic()
        for hwaccel in (accelerator, None) if accelerator is not None else (None,):
            try:
                return av.open(
                    url,
                    "r",
                    format=format_name,
                    options=options,
                    timeout=timeout_s,
                    metadata_errors="replace",
                    hwaccel=hwaccel,
                )
            except (av.FFmpegError, OSError, ValueError) as error:
                if hwaccel is None:
                    silent = timeout_s is not None and time.monotonic() - began >= 0.9 * min(timeout_s)
                    # FFmpeg's RTSP client reports a missing answer as invalid data, one to PLAY as missing rights.
                    unanswered = (av.error.InvalidDataError, PermissionError) if timeout_s is not None else ()
                    if isinstance(error, unanswered):
                        if silent:
                            raise source_error(self._what, TimeoutError(), self._fatal) from None
                        if isinstance(error, PermissionError):
                            raise source_error(self._what, ConnectionError(), self._fatal) from None
                    raise source_error(self._what, error, self._fatal) from None
        raise AssertionError("not reached")

    def _report_hardware(self, device: str) -> None:
        context = self.stream.codec_context
        if device != "none" and not context.is_hwaccel and _SAID.allow((self._what, "hardware")):
            log.warning("%s: VIDEO_DECODE_DEVICE=%s can't decode it: decoding in software", self._what, device)

    def _video_stream(self) -> av.VideoStream:
        kind = SourceFatalError if self._fatal else SourceError
        # To FFmpeg, a cover image is a video stream of one frame.
        streams = [each for each in self._input.streams.video if not _is_cover(each)]
        if not streams:
            others = sorted({each.type for each in self._input.streams if each.type != "video"})
            raise no_video(self._what, others, self._fatal)
        known = [each for each in streams if each.codec_context is not None]
        if not known:
            codec = _codec_of(self._input, streams[0].index, self._name_codec)
            advice = CONVERT_FILE if self._fatal else SET_CODEC
            raise kind(f"{self._what} has {codec}, which can't be decoded here: {advice}")
        best = max(known, key=lambda each: each.width * each.height)
        if best.codec_context.name in _TEXT_CODECS:
            raise kind(f"{self._what} is text, not a video.")
        return best


class _Undecoded:
    """Packets since the last frame."""

    def __init__(self) -> None:
        self.packets = self._keys = 0
        self._began = time.monotonic()

    def add(self, is_key: bool) -> bool:
        """Counts a packet; returns whether they are more than any decoder holds back."""
        self.packets += 1
        self._keys += is_key
        many = self.packets >= _UNDECODED_PACKETS and self._keys >= _UNDECODED_KEYS
        return many and time.monotonic() - self._began >= _UNDECODED_S


def _nothing() -> None:
    """Ignores a skipped packet."""


def _codec_of(opened: InputContainer, index: int, name_codec: Callable[[], str | None]) -> str:
    """A codec that FFmpeg cannot decode: its name, its four characters in the file, or what the source calls it."""
    # PyAV keeps neither; FFmpeg's summary of the file has both, and is written as log lines.
    with _SUMMARY_LOCK:
        # Discards lines about other cameras, which may contain logins.
        logging.getLogger("libav").setLevel(logging.CRITICAL + 1)
        av.logging.set_level(av.logging.INFO)
        try:
            summary: str = opened.dumps_format()  # type: ignore[attr-defined]  # missing in PyAV's stubs
        finally:
            av.logging.set_level(None)
    found = re.search(rf"Stream #0:{index}\b[^\n]*?: Video: ([\w-]+)(?: \(([\w. -]{{1,16}}) / 0x)?", summary)
    name, tag = found.groups() if found else ("none", None)
    if name != "none":
        return f"the codec {name}"
    told = tag.strip() if tag else name_codec()
    return f'the codec "{told}"' if told else "a codec without a known name"


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def hardware(device: str) -> HWAccel | None:
    """FFmpeg's hardware decoder for `device` (`auto`: the first that works), None for software."""
    known = hwdevices_available()
    wanted = ("cuda", "vaapi", "qsv", "drm") if device == "auto" else (device,)
    for each in wanted:
        if each not in known:
            continue
        try:
            return HWAccel(each, allow_software_fallback=True)
        except (av.FFmpegError, ValueError, RuntimeError, NotImplementedError):
            continue
    return None
