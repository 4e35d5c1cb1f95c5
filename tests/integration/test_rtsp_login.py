"""RTSP logins, and codecs that FFmpeg does not know: what a camera asks for, and what the user reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elastic_inference.adapters.source.network import NetworkSource
from elastic_inference.domain.errors import SourceError
from tests.support.rtsp_plain import Access, encode, rtsp_camera


@pytest.fixture(scope="module")
def video() -> bytes:
    """A second of H.264."""
    return encode(1, 10, 5)


def opened(port: int, login: str) -> Iterator[NetworkSource]:
    """The camera, with a frame read."""
    source = NetworkSource(f"rtsp://{login}127.0.0.1:{port}/live", 5.0, "tcp")
    try:
        source.grab(lambda: None)
        yield source
    finally:
        source.close()


@pytest.mark.parametrize(
    "offers", [("MD5",), ("SHA-256", "MD5"), ("Basic",), ("MD5", "Basic"), ("Basic", "MD5")], ids="+".join
)
def test_a_right_password_is_accepted(video: bytes, offers: tuple[str, ...]) -> None:
    with rtsp_camera(video, 10, access=Access("bob", "p@ss", offers)) as port:
        assert list(opened(port, "bob:p%40ss@"))


def message(port: int, login: str) -> str:
    """The error with which opening fails."""
    with pytest.raises(SourceError) as caught:
        list(opened(port, login))
    assert "s3cr3t" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("offers", [("SHA-256",), ("MD5", "SHA-256")], ids="+".join)
def test_a_right_password_that_ffmpeg_cannot_use_is_not_called_wrong(video: bytes, offers: tuple[str, ...]) -> None:
    with rtsp_camera(video, 10, access=Access("bob", "s3cr3t", offers)) as port:
        said = message(port, "bob:s3cr3t@")
    assert "accepts the password" in said
    assert "Digest with SHA-256" in said
    assert "set its RTSP login to Digest with MD5 alone." in said
    assert "refuses the user name" not in said


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


def test_a_codec_that_ffmpeg_does_not_know_has_the_name_that_the_camera_gives(video: bytes) -> None:
    with rtsp_camera(video, 10, encoding="X-OWN-CODEC") as port:
        said = message(port, "")
    assert 'has the codec "X-OWN-CODEC", which can\'t be decoded here: set it to H.264' in said
