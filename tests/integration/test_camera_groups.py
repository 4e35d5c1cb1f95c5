"""Multicast groups, and RTP that only a description would explain."""

from __future__ import annotations

import socket

import pytest

from elastic_inference.adapters.source import network
from elastic_inference.adapters.source.camera import open_camera
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.domain.errors import SourceError
from tests.integration.test_camera_transports import camera, ffmpeg, open_when_there, sizes
from tests.support.ports import free_port
from tests.support.waiting import wait_for


def test_rtp_without_mpeg_ts_says_what_to_use_instead() -> None:
    port = free_port()

    def told() -> bool:
        with pytest.raises(SourceError) as caught:
            open_camera(camera(f"rtp://127.0.0.1:{port}"))
        return "only a description (SDP) would tell" in str(caught.value)

    with ffmpeg(f"-f rtp rtp://127.0.0.1:{port}"):
        wait_for(told, 30, "the reason")


@pytest.mark.parametrize("url", ["udp://0.0.0.0", "udp://239.255.7.8", "rtp://127.0.0.1"])
def test_where_nothing_arrives_the_error_says_that_this_machine_listens(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(network, "OPEN_S", 0.5)

    def told() -> bool:
        with pytest.raises(SourceError) as caught:
            open_camera(camera(f"{url}:{free_port()}", source_stall_s=0.5))
        return "this machine listens, and nothing has arrived in 0.5 s: does the camera" in str(caught.value)

    # Another program may listen on a port that is only free for TCP.
    wait_for(told, 30, "the reason")


def test_a_camera_of_the_pool_listens_where_its_networks_say_so() -> None:
    port = free_port()
    settings = camera(f"udp://0.0.0.0:{port}")
    with ffmpeg(f"-f mpegts udp://127.0.0.1:{port}?pkt_size=1316"):
        assert sizes(open_when_there(settings, AddressRules(("0.0.0.0/32",), None))) == {(320, 240)}
    with pytest.raises(SourceError, match=r"0\.0\.0\.0, where no camera may be: expected one in CAMERA_NETWORKS"):
        open_camera(settings, AddressRules(("0.0.0.0/0",), None))


def test_a_port_that_another_program_uses_is_named_as_such() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        url = f"udp://0.0.0.0:{other.getsockname()[1]}"
        with pytest.raises(SourceError, match="another program of this machine already listens on its port"):
            open_camera(camera(url))


def test_multicast() -> None:
    port = free_port()
    group = f"udp://239.255.7.7:{port}?localaddr=127.0.0.1"
    with ffmpeg(f"-f mpegts {group}&pkt_size=1316"):
        assert sizes(open_when_there(camera(group))) == {(320, 240)}
