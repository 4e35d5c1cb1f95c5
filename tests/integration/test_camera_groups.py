"""Multicast groups, and RTP that only a description would explain."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.source.camera import open_camera
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


def test_multicast() -> None:
    port = free_port()
    group = f"udp://239.255.7.7:{port}?localaddr=127.0.0.1"
    with ffmpeg(f"-f mpegts {group}&pkt_size=1316"):
        assert sizes(open_when_there(camera(group))) == {(320, 240)}
