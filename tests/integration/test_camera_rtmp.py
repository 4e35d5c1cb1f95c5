"""RTMP cameras: why a server refuses, logins of several connections, and the address that the server is told."""

from __future__ import annotations

import hashlib
import re
import ssl

import pytest
import trustme

from elastic_inference.adapters.source.camera import open_camera
from elastic_inference.adapters.source.rtmp import rtmp_application
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.domain.errors import SourceError
from tests.support.rtmp_server import RtmpServer, ask_for_login, refuse


def why(url: str, **settings: str) -> str:
    """Why a camera can't be opened."""
    with pytest.raises(SourceError) as caught:
        open_camera(load(CameraSettings, {"CAMERA": url, **settings}))
    assert "s3cr3t" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("NetConnection.Connect.Rejected", r"refuses the connection \(.*Rejected\): check the path and the login"),
        ("NetConnection.Connect.InvalidApp", r"refuses the connection \(.*InvalidApp\): check the path"),
        ("NetStream.Play.StreamNotFound", r"has no stream at this path \(.*StreamNotFound\): look up the path"),
    ],
)
def test_what_the_server_says_is_passed_on(code: str, said: str) -> None:
    with RtmpServer(refuse(code, "for a reason of its own, " * 20)) as server:
        url = f"rtmp://localhost:{server.port}/live/gate"
        assert re.search(said, why(url))
        assert f"rtmp://localhost:{server.port}/live" in server.text


def test_a_login_takes_several_connections() -> None:
    with RtmpServer(ask_for_login("bob", "s3cr3t")) as server:
        at = f"localhost:{server.port}/live/gate"
        assert "asks for a login: expected rtmp://" in why(f"rtmp://{at}")
        assert "refuses the user name or password: check the login" in why(f"rtmp://bob:wrong@{at}")
        assert "has no stream at this path" in why(f"rtmp://bob:s3cr3t@{at}"), "the login was accepted"
        assert server.clients == 1 + 3 + 3


def test_rtmps_trusts_a_fingerprint_and_nothing_else() -> None:
    issued, context = trustme.CA().issue_cert("camera.invalid"), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    fingerprint = f"sha256:{hashlib.sha256(der).hexdigest()}"
    with RtmpServer(refuse("NetStream.Play.StreamNotFound"), context) as server:
        url = f"rtmps://localhost:{server.port}/live/gate"
        assert f"CAMERA_FINGERPRINT={fingerprint}" in why(url)
        assert server.clients == 0, "nothing is sent before the certificate is trusted"
        assert "presents another certificate" in why(url, CAMERA_FINGERPRINT="sha256:" + "00" * 32)
        assert "has no stream at this path" in why(url, CAMERA_FINGERPRINT=fingerprint)
        assert f"rtmps://localhost:{server.port}/live" in server.text


@pytest.mark.parametrize(
    ("path", "application"),
    [
        ("live/gate", "live"),
        ("live/one/gate", "live/one"),
        ("live/mp4:one/gate", "live"),
        ("gate", ""),
        ("live/gate?key=1", "live"),
    ],
)
def test_the_servers_own_name_is_told(path: str, application: str) -> None:
    assert rtmp_application(f"rtmp://bob:s3cr3t@camera.example/{path}") == f"rtmp://camera.example:1935/{application}"
    assert rtmp_application(f"rtmps://[::1]:9/{path}") == f"rtmps://[::1]:9/{application}"
