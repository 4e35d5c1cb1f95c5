"""RTSP logins, and codecs that FFmpeg does not know: what a camera asks for, and what the user reads."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from elastic_inference.adapters.source import network
from elastic_inference.adapters.source.network import NetworkSource
from elastic_inference.domain.errors import SourceError
from tests.support.rtsp_plain import Access, encode, rtsp_camera


@pytest.fixture(scope="module")
def video() -> bytes:
    """A second of H.264."""
    return encode(1, 10, 5)


def opened(port: int, login: str, stall_s: float = 5.0) -> Iterator[NetworkSource]:
    """The camera, with a frame read."""
    source = NetworkSource(f"rtsp://{login}127.0.0.1:{port}/live", stall_s, "tcp")
    try:
        source.grab(lambda: None)
        yield source
    finally:
        source.close()


@pytest.mark.parametrize(
    ("offers", "more", "used"),
    [
        (("MD5",), {}, "Digest"),
        (("Basic",), {}, "Basic"),
        (("MD5", "Basic"), {}, "Digest"),
        (("Basic", "MD5"), {}, "Digest"),
        (("MD5-sess",), {}, "Digest"),
        (("MD5",), {"quality": "auth,auth-int"}, "Digest"),
        (("MD5",), {"stale": True}, "Digest"),
        # FFmpeg answers none of these, or the last with the bare password.
        (("SHA-256",), {}, "Digest"),
        (("SHA-256-sess",), {}, "Digest"),
        (("MD5", "SHA-256"), {}, "Digest"),
        (("SHA-256",), {"stale": True}, "Digest"),
        (("MD5",), {"quality": "auth-int,auth"}, "Digest"),
        (("MD5",), {"quality": "auth-int"}, "Digest"),
        (("Basic", "MD5"), {"one_header": True}, "Digest"),
    ],
)
def test_a_right_password_is_accepted_and_basic_never_used_where_digest_is_offered(
    video: bytes, offers: tuple[str, ...], more: dict[str, Any], used: str
) -> None:
    seen: list[str] = []
    with rtsp_camera(video, 10, access=Access("bob", "p@ss", offers, seen=seen, **more)) as port:
        assert list(opened(port, "bob:p%40ss@"))
    assert set(seen) == {used}


def test_rtsps_with_a_login_of_sha_256(video: bytes, tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("camera.invalid")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    certificate = tmp_path / "camera.pem"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    with rtsp_camera(video, 10, context, access=Access("bob", "p@ss", ("SHA-256",))) as port:
        source = NetworkSource(f"rtsps://bob:p%40ss@127.0.0.1:{port}/live", 5.0, certificate=str(certificate))
        source.grab(lambda: None)
        source.close()


def message(port: int, login: str, stall_s: float = 5.0) -> str:
    """The error with which opening fails."""
    with pytest.raises(SourceError) as caught:
        list(opened(port, login, stall_s))
    assert "s3cr3t" not in str(caught.value)
    return str(caught.value)


def test_a_login_that_needs_tcp_says_so_where_udp_is_set(video: bytes) -> None:
    with (
        rtsp_camera(video, 10, access=Access("bob", "s3cr3t", ("SHA-256",))) as port,
        pytest.raises(SourceError, match="asks for a login that needs TCP: set CAMERA_TRANSPORT to tcp"),
    ):
        NetworkSource(f"rtsp://bob:s3cr3t@127.0.0.1:{port}/live", 5.0, "udp")


@pytest.mark.parametrize("offers", [("MD5",), ("SHA-256",), ("Basic",)], ids="+".join)
def test_a_wrong_password_is_called_wrong(video: bytes, offers: tuple[str, ...]) -> None:
    with rtsp_camera(video, 10, access=Access("bob", "right", offers)) as port:
        assert "refuses the user name or password (401)" in message(port, "bob:s3cr3t@")


def test_a_camera_that_asks_for_a_login_that_was_not_given(video: bytes) -> None:
    with rtsp_camera(video, 10, access=Access("bob", "right")) as port:
        assert "asks for a login (401): expected rtsp://user:password@host/…" in message(port, "")


def test_a_login_that_nobody_here_knows_is_named(video: bytes) -> None:
    with rtsp_camera(video, 10, access=Access("bob", "right", ("SHA3-256",))) as port:
        assert "can't be logged in to: it asks for a Digest login with SHA3-256" in message(port, "bob:s3cr3t@")


def test_a_codec_that_ffmpeg_does_not_know_has_the_name_that_the_camera_gives(
    video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # FFmpeg waits that long for a frame that it can decode.
    monkeypatch.setattr(network, "OPEN_S", 0.0)
    with rtsp_camera(video, 10, encoding="X-OWN-CODEC") as port:
        said = message(port, "", stall_s=3.0)
    assert 'has the codec "X-OWN-CODEC", which can\'t be decoded here: set it to H.264' in said
