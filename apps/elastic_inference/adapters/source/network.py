"""Network cameras that FFmpeg (PyAV) connects to itself: RTSP, RTMP, UDP, RTP and HLS.

Called by `camera`. Other HTTP streams come through `http_stream`, which has logins and certificates of its own.
"""

from __future__ import annotations

import functools
import logging
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from elastic_inference.adapters.source.codec_names import sdp_codec, sdp_media
from elastic_inference.adapters.source.container import Container
from elastic_inference.adapters.source.forwarder import Forwarder
from elastic_inference.adapters.source.guarded import RtspGuard, RtspPeer
from elastic_inference.adapters.source.hls_proxy import HlsProxy
from elastic_inference.adapters.source.input_errors import UNKNOWN_NAME, no_video, source_error
from elastic_inference.adapters.source.live_frames import LiveContainer, LiveFrames
from elastic_inference.adapters.source.rtmp import RTMP_PORTS, RtmpAnswers, rtmp_application
from elastic_inference.adapters.source.rtsp_login import RtspLogin, ffmpeg_can_answer
from elastic_inference.adapters.source.rtsp_question import RTSP_PORT, RTSPS_PORT, ask
from elastic_inference.adapters.source.source_facts import SourceFacts
from elastic_inference.adapters.source.tls_trust import Trust
from elastic_inference.adapters.source.unfinished import Unfinished
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.log import Throttle
from elastic_inference.base.settings.producer import CameraSettings
from elastic_inference.base.url import hide_password, in_brackets, url_credentials
from elastic_inference.domain.camera_choices import LISTENING
from elastic_inference.domain.errors import SourceError
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_PIXELS

log = logging.getLogger(__name__)

RTSP_SCHEMES = ("rtsp", "rtsps")
# What a stream of each scheme may open: a playlist or a description must not lead FFmpeg to files or other services.
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsp,rtp,tcp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "udp": "udp",
    "rtp": "rtp,udp,rtcp",
    "srt": "srt",
    **dict.fromkeys(("http", "https"), "hls,http,tcp,crypto"),
}
# No reordering or probing for longer than a second, so that frames are not delayed.
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay", "max_delay": "500000", "analyzeduration": "1000000"}
# For the answers until the first frame; a longer time-out of a read counts here too.
OPEN_S = 10.0
_TAKEN_DOWN_AFTER_S = 0.5
_SAID = Throttle()
_REDIRECTS = "redirects to another address, which is not followed."


def open_source(settings: CameraSettings, rules: AddressRules | None = None) -> NetworkSource:
    """Opens the camera named by `CAMERA`, where `rules` allow it. Raises SourceError."""
    return NetworkSource(
        settings.camera,
        settings.source_stall_s,
        settings.camera_transport,
        settings.camera_trust,
        decode_device=settings.video_decode_device,
        rules=rules,
        max_pixels=settings.max_frame_pixels,
    )


class NetworkSource(LiveContainer):
    """An open network stream, decoded. Frames have the size that the camera sends, which may change."""

    def __init__(
        self,
        url: str,
        stall_s: float,
        transport: str = "auto",
        certificate: str | None = None,
        *,
        decode_device: str = "none",
        rules: AddressRules | None = None,
        max_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
    ) -> None:
        """Connects; a read without data for `stall_s` fails. Raises SourceError without the login.

        `transport` is `tcp`, `udp` or `auto`: UDP only if an RTSP camera refuses TCP. `certificate` is trusted for TLS:
        a PEM file, or `sha256:<fingerprint>` (only rtsps). With `rules`, it connects only to addresses that
        they allow.
        """
        self._url = url
        self._what = f"The camera {hide_password(url)}"
        self._scheme = urlsplit(url).scheme.lower()
        self._stall_s = stall_s
        self._certificate = certificate
        self._decode_device = decode_device
        self._max_pixels = max_pixels
        self._transport = ""
        self._rules = rules
        self._forwarder: Forwarder | HlsProxy | None = None
        self._guard: RtspGuard | None = None
        self._interrupted = False
        self._rtmp = RtmpAnswers()
        try:
            self._container = self._open(url, transport)
        except SourceError as error:
            refused = self._refused()
            self._close_forwarder()
            raise (SourceError(refused) if refused else self._explained(error)) from None
        playlist = self._scheme in ("http", "https")
        self._frames = LiveFrames(self._container, f"{self._what} has ended its stream.", may_be_recorded=playlist)

    def grab(self, on_data: Callable[[], None]) -> float | None:
        """Blocks until the next frame arrives. Raises SourceError at the end, or `stall_s` without data."""
        if isinstance(self._forwarder, Forwarder):
            on_data = self._forwarder.unfinished.resetting(on_data)
        elif self._forwarder is not None:
            on_data = self._forwarder.resetting(on_data)
        try:
            return self._frames.grab(on_data)
        except SourceError as error:
            refused = self._refused()
            if self._interrupted and not refused:
                raise self._container.silent() from None
            raise (SourceError(refused) if refused else error) from None

    def facts(self) -> SourceFacts:
        """See `Source`."""
        return self._container.facts(self._transport)

    def interrupt(self) -> None:
        """Ends a blocked `grab` where the connection passes through here; safe to call from any thread.

        FFmpeg's own connections are not thread-safe: there, only a time-out ends it.
        """
        if self._forwarder is not None:
            self._interrupted = True
            self._forwarder.close()

    def close(self) -> None:
        """Closes the connection."""
        self._container.close()
        self._close_forwarder()

    def _explained(self, error: SourceError) -> SourceError:
        """The error, or a better one if it is about a login or a name."""
        if refusal := self._rtmp.refusal(has_login=url_credentials(self._url)[0] is not None):
            return SourceError(f"{self._what} {refusal}")
        if "(Input/output error)" in str(error) and self._rules is None and _is_unknown(self._url):
            return SourceError(f"{self._what} {UNKNOWN_NAME}")
        if self._scheme in LISTENING and "(Address already in use)" in str(error):
            return SourceError(
                f"{self._what} can't be read: another program of this machine already listens on its port."
            )
        if self._scheme in LISTENING and "in time" in str(error):
            return SourceError(
                f"{self._what} is an address at which this machine listens, and nothing has arrived in {OPEN_S:g} s: "
                "does the camera send to it, and does the firewall let it in?"
            )
        if self._scheme not in RTSP_SCHEMES:
            return error
        if "(401)" not in str(error):
            return (self._without_video() if _may_be_transport(error) else None) or error
        if url_credentials(self._url)[0] is None:
            return SourceError(f"{self._what} asks for a login (401): expected rtsp://user:password@host/…")
        login = self._forwarder.login if isinstance(self._forwarder, Forwarder) else None
        if login is not None and login.missing is not None:
            return SourceError(f"{self._what} can't be logged in to: {login.missing}.")
        return error

    def _without_video(self) -> SourceError | None:
        """The error for a camera that offers no video; None if it does, or does not answer."""
        answer = ask(self._url, self._stall_s, self._certificate, self._rules)
        found = sdp_media(answer.description) if answer is not None else []
        return no_video(self._what, found) if found and "video" not in found else None

    def _needs_login(self) -> bool:
        """Whether the camera asks for a login that FFmpeg does not know."""
        if url_credentials(self._url)[0] is None:
            return False
        answer = ask(self._url, self._stall_s, rules=self._rules, login=False)
        return answer is not None and answer.status == 401 and not ffmpeg_can_answer(answer.challenges)

    def _close_forwarder(self) -> None:
        if self._forwarder is not None:
            self._forwarder.close()

    def _forward(self, url: str, default_port: int, udp_from: str | None = None) -> str:
        """Connects to the camera, with TLS where the scheme says so. Returns the URL at which FFmpeg finds it.

        `udp_from` is the address that was checked, where the video comes from it by UDP.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or default_port
        address = udp_from or (host if self._rules is None else self._rules.resolve(host))

        def dial() -> socket.socket:
            if self._scheme.endswith("s"):
                trust = Trust(hide_password(url), self._certificate)
                return trust.connect(host, port, self._stall_s, address)
            return socket.create_connection((address, port), self._stall_s)

        try:
            connection = dial()
        except OSError as error:
            raise source_error(self._what, error) from None
        if self._rules is not None and self._scheme in RTSP_SCHEMES:
            self._guard = RtspGuard(video_elsewhere=udp_from is not None)
        allows = None if self._guard is None else self._guard.allows
        again = None
        if self._scheme in RTMP_PORTS:
            allows, again = self._rtmp.allows, dial
        self._forwarder = Forwarder(connection, 2 * self._stall_s + 10, allows, again)
        local, scheme = f"127.0.0.1:{self._forwarder.port}", self._scheme.removesuffix("s")
        user, password = url_credentials(url)
        self._forwarder.unfinished = Unfinished(self._what)
        if user is None or self._scheme not in RTSP_SCHEMES:
            return with_host(url, local, scheme)
        self._forwarder.login = RtspLogin(user, password or "", local, parts.netloc.rpartition("@")[2])
        return urlunsplit(parts._replace(scheme=scheme, netloc=local))

    def _pinned(self, url: str) -> str:
        """The URL, with its host name replaced by the address that the rules have checked."""
        if self._rules is None:
            return url
        parts = urlsplit(url)
        address = in_brackets(self._rules.resolve(parts.hostname or ""))
        return with_host(url, f"{address}:{parts.port}" if parts.port else address)

    def _refused(self) -> str:
        """Why the forwarder or proxy refused a connection; empty if it did not."""
        if isinstance(self._forwarder, HlsProxy):
            return self._forwarder.refused
        if self._forwarder is not None and self._forwarder.unfinished.too_much:
            return self._forwarder.unfinished.error
        return f"{self._what} {self._guard.refusal}" if self._guard is not None and self._guard.refusal else ""

    def _open(self, url: str, transport: str) -> Container:
        if self._scheme not in RTSP_SCHEMES:
            self._transport = self._scheme.upper()
            if self._scheme in ("http", "https"):
                trust = Trust(hide_password(url), self._certificate)
                self._forwarder = proxy = HlsProxy(self._what, trust, self._rules)
                return self._connect(proxy.plain(url), {"http_proxy": proxy.url})
            if self._scheme in RTMP_PORTS:
                local = self._forward(url, RTMP_PORTS[self._scheme])
                return self._connect(local, {"rtmp_tcurl": rtmp_application(url)})
            return self._connect(self._pinned(url), {})
        if self._scheme == "rtsps":
            # FFmpeg can't check fingerprints, and checks certificates only if told to.
            self._transport = "RTSPS over TCP"
            return self._connect(self._forward(url, RTSPS_PORT), {"rtsp_transport": "tcp"})
        self._transport = f"{self._scheme.upper()} over {'UDP' if transport == 'udp' else 'TCP'}"
        needs_login = self._needs_login()
        if transport == "udp":
            if needs_login:
                raise SourceError(f"{self._what} asks for a login that needs TCP: set CAMERA_TRANSPORT to tcp.")
            return self._connect_by_udp(url)
        try:
            forward = needs_login or self._rules is not None
            return self._connect(self._forward(url, RTSP_PORT) if forward else url, {"rtsp_transport": "tcp"})
        except SourceError as refused:
            if transport == "tcp" or needs_login or not _may_be_transport(refused) or self._refused():
                raise
            try:
                container = self._connect_by_udp(url)
            except SourceError:
                raise refused from None
            self._transport = f"{self._scheme.upper()} over UDP"
            if _SAID.allow((self._what, "udp")):
                log.info("%s refuses RTSP over TCP: using UDP", self._what)
            return container

    def _connect_by_udp(self, url: str) -> Container:
        address = None if self._rules is None else self._rules.resolve(urlsplit(url).hostname or "")
        if address is not None and ":" not in address:
            way = functools.partial(self._forward_by_udp, url, address)
        else:
            way = functools.partial(self._pinned, url)
            # FFmpeg takes the address family of the video from this connection, and loopback here has IPv4. So
            # FFmpeg connects to an IPv6 camera directly; the camera is checked for a redirect first.
            answer = None if address is None else ask(self._url, self._stall_s, self._certificate, self._rules)
            if answer is not None and 300 <= answer.status < 400:
                raise SourceError(f"{self._what} {_REDIRECTS}")
        try:
            return self._connect(way(), {"rtsp_transport": "udp"})
        except SourceError as error:
            if "(HTTP 5xx)" not in str(error):
                raise
        # GStreamer's server answers 503 while it takes down what the refused request had set up.
        time.sleep(_TAKEN_DOWN_AFTER_S)
        return self._connect(way(), {"rtsp_transport": "udp"})

    def _forward_by_udp(self, url: str, address: str) -> str:
        """Connects to the camera for all but the video, which comes straight from it."""
        self._close_forwarder()
        local = self._forward(url, RTSP_PORT, address)
        if isinstance(self._forwarder, Forwarder):
            self._forwarder.rewrite = RtspPeer(address).rewrite
        return local

    def _connect(self, url: str, options: dict[str, str]) -> Container:
        options = {**_LOW_DELAY, **options, "protocol_whitelist": _PROTOCOLS[self._scheme]}
        if self._scheme in RTSP_SCHEMES:
            options["timeout"] = str(round(self._stall_s * 1e6))
            # A camera that refuses its sound or metadata would fail as a whole.
            options["allowed_media_types"] = "video"
        try:
            return Container(
                url,
                self._what,
                options=options,
                timeout_s=(max(OPEN_S, self._stall_s), self._stall_s),
                decode_device=self._decode_device,
                raw_jpeg=True,
                name_codec=self._named_codec,
                max_pixels=self._max_pixels,
            )
        except SourceError as error:
            if self._scheme == "rtp" and "that FFmpeg knows" in str(error):
                raise SourceError(
                    f"{self._what} sends RTP whose codec only a description (SDP) would tell: use its RTSP address, "
                    "or let it send MPEG-TS over RTP."
                ) from None
            raise

    def _named_codec(self) -> str | None:
        if self._scheme not in RTSP_SCHEMES:
            return None
        answer = ask(self._url, self._stall_s, self._certificate, self._rules)
        return sdp_codec(answer.description) if answer is not None else None


def with_host(url: str, authority: str, scheme: str | None = None) -> str:
    """`url` with another host and port; its login stays."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(scheme=scheme or parts.scheme, netloc=f"{login}{at}{authority}"))


def _is_unknown(url: str) -> bool:
    """Whether its host's name has no address, which is an input error like any other to FFmpeg."""
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except socket.gaierror:
        return True
    except (OSError, UnicodeError):
        pass
    return False


def _may_be_transport(error: SourceError) -> bool:
    """Whether another transport may help: no for a refused login, an unknown codec, or if nothing answered at all."""
    final = ("(401)", "(403)", "(404)", "refuses the connection", "in time", "can't be decoded here")
    return not any(word in str(error) for word in final)
