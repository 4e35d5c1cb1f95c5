"""Decodes the packets of one video stream: one thread, deinterlaced, without damaged frames.

Called by `container`. Independent of files and networks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import av
import av.filter

from elastic_inference.adapters.source.colours import HDR
from elastic_inference.adapters.source.source_facts import squeezed
from elastic_inference.base.log import Throttle
from elastic_inference.domain.errors import SourceError

log = logging.getLogger(__name__)

# A frame rate outside this range is a container's clock rate, not a frame rate.
MIN_FPS, MAX_FPS = 0.01, 1000.0
# Sources are reopened often: each message about one is logged at most once a minute.
_SAID = Throttle()
# What does not change while a source runs, and needs no action.
_SAID_ONCE = Throttle(interval_s=86400.0, max_keys=1000)


class Decoder:
    """One stream's decoder. Feed it packets in order; it returns the frames that each packet completes."""

    def __init__(
        self, stream: av.VideoStream, what: str, max_pixels: int, error: type[SourceError] = SourceError
    ) -> None:
        """`what` names the source in errors, which are of the class `error`. FFmpeg must have a decoder for the stream.

        Raises it if the stream says that its images have far more than `max_pixels`.
        """
        context = stream.codec_context
        # FFmpeg delays its output by one frame for each additional decoding thread.
        context.thread_count = 1
        context.options = {**context.options, **pixel_limit(max_pixels)}
        self._max_pixels = max_pixels
        self._error = error
        self._stream = stream
        self._what = what
        self._filter: Deinterlacer | None = None
        self.deinterlaces = False  # whether the stream has turned out to be interlaced
        self._decoded = self._skips = False
        self.damaged = 0
        if stream.width * stream.height > most_pixels(max_pixels):
            raise self._too_large(f"of {stream.width}x{stream.height}")

    def decode(self, packet: av.Packet[av.VideoStream] | None, may_skip: bool = False) -> list[av.VideoFrame]:
        """The frames that `packet` completes; None flushes the decoder at the end of the stream.

        A packet that cannot be decoded is skipped and counted in `damaged`, and so is a frame that FFmpeg marks as
        damaged: it would show grey or torn areas. Before the first key frame of a live stream neither counts.
        With `may_skip` there is no frame if no other one refers to it.
        Raises the error for images that are too large, before FFmpeg takes memory for them.
        """
        context = self._stream.codec_context
        if may_skip is not self._skips:
            self._skips = may_skip
            context.skip_frame = "NONREF" if may_skip else "DEFAULT"
        try:
            frames = context.decode(packet)
        except av.error.EOFError:
            frames = []
        except av.error.ArgumentError as error:
            if not self._decoded and packet is not None and self._stream.width == 0:
                # Of some codecs only the decoder knows the size.
                raise self._too_large(f"of more than {self._max_pixels} pixels, or damaged ones") from None
            self._skip(str(error))
            return []
        except av.FFmpegError as error:
            self._skip(str(error))
            return []
        found: list[av.VideoFrame] = []
        for frame in frames:
            if frame.is_corrupt:
                self._skip("the frame is damaged")
                continue
            if not self._decoded:
                self._decoded = True
                self._note_hdr(frame)
                self._note_squeezed()
            if self._filter is None and not frame.interlaced_frame:
                # Nearly always. Python's calls cost more between two large images than elsewhere.
                found.append(frame)
            else:
                found += self._deinterlace(frame)
        if packet is None and self._filter is not None:
            found += self._filter.flush()
        return found

    def decode_alone(self, packet: av.Packet[av.VideoStream]) -> list[av.VideoFrame]:
        """The frame of a key packet, at once; the decoder then waits for the next key packet."""
        # A decoder that reorders frames would hold it back until others follow.
        found = self.decode(packet) + self.decode(None)
        self._stream.codec_context.flush_buffers()
        return found

    def _deinterlace(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        if self._filter is not None and not self._filter.takes(frame):
            yield from self._filter.flush()
            self._filter, self.deinterlaces = None, False
        if self._filter is None:
            if not frame.interlaced_frame:
                yield frame
                return
            self._filter, self.deinterlaces = Deinterlacer(frame), True
            if _SAID.allow((self._what, "interlaced")):
                log.info("%s is interlaced (%dx%d): deinterlacing", self._what, frame.width, frame.height)
        yield from self._filter.push(frame)

    def _note_hdr(self, frame: av.VideoFrame) -> None:
        hdr = HDR.get(int(frame.color_trc))
        if hdr is not None and _SAID_ONCE.allow((self._what, "hdr")):
            log.warning(
                "%s is HDR (%s), which is not mapped here: its images look pale. SDR would look right", self._what, hdr
            )

    def _note_squeezed(self) -> None:
        found = squeezed(self._stream.width, self._stream.height, self._stream.sample_aspect_ratio)
        if found is not None and _SAID_ONCE.allow((self._what, "squeezed")):
            log.warning("%s %s", self._what, found)

    def _too_large(self, found: str) -> SourceError:
        return self._error(
            f"{self._what} has images {found}: at most {self._max_pixels} pixels are accepted (MAX_FRAME_PIXELS)."
        )

    def _skip(self, why: str) -> None:
        if not self._decoded:
            return
        self.damaged += 1
        if _SAID.allow((self._what, "damaged")):
            log.warning("%s: a frame can't be decoded, skipped: %s", self._what, why)


def pixel_limit(max_pixels: int) -> dict[str, str]:
    """FFmpeg's option for decoders: a few kilobytes of video can have images that take gigabytes."""
    return {"max_pixels": str(most_pixels(max_pixels))}


def most_pixels(max_pixels: int) -> int:
    """The size of an image as FFmpeg decodes it, if it is shown with `max_pixels`."""
    # Codecs fill images up to whole blocks. The encoder looks at the exact size.
    return max_pixels + max_pixels // 8 + 65536


class Deinterlacer:
    """FFmpeg's `bwdif`, one frame out for each frame in; progressive frames pass through. Delays by one frame."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._kind = (frame.width, frame.height, frame.format.name)
        self._graph = av.filter.Graph()
        # By default FFmpeg starts a thread for each processor of the host.
        self._graph.threads = 1
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        sink = self._graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        self._graph.configure()

    def takes(self, frame: av.VideoFrame) -> bool:
        """Whether the frame has the size and format that this filter was made for."""
        return (frame.width, frame.height, frame.format.name) == self._kind

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        self._graph.push(frame)
        yield from self._pull()

    def flush(self) -> Iterator[av.VideoFrame]:
        self._graph.push(None)
        yield from self._pull()

    def _pull(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if isinstance(frame, av.VideoFrame):
                yield frame
