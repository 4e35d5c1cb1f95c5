"""`substream`: it is read while nobody watches, the main stream otherwise; both come from a real RTSP server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraState
from tests.conftest import missing_tool
from tests.support.camera_pool import CameraPool
from tests.support.producer import ProducerUnderTest
from tests.support.rtsp_cameras import RtspCameras
from tests.support.rtsp_server import available
from tests.support.two_streams import FULL, SMALL, TwoStreams, server
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspCameras]:
    if not available():
        missing_tool("GStreamer's RTSP server")
    with server(tmp_path_factory.mktemp("rtsp")) as found:
        yield found


def test_the_main_stream_is_read_only_while_somebody_watches(camera: RtspCameras, valkey: EmbeddedValkey) -> None:
    with TwoStreams(valkey).running(camera.url("main", 0), camera.url("sub", 0), width=400) as found:
        found.wait_size(SMALL)
        reconnects = found.stream.report.reconnects
        found.watch()
        found.wait_size((400, 225))
        found.watch(False)
        found.wait_size(SMALL)
        found.watch()
        found.wait_size((400, 225))
        found.watch(False)
        found.wait_size(SMALL)
        # `width` is that of the main stream: a substream is not enlarged.
        assert {(frame.width, frame.height) for _, frame, _ in found.frames} == {SMALL, (400, 225)}
        orders = [order for _, _, order in found.frames]
        assert orders == list(range(orders[0], orders[0] + len(orders)))
        numbers = [frame.seq for _, frame, _ in found.frames]
        assert all(before < after for before, after in pairwise(numbers))
        assert found.stream.report.reconnects == reconnects
        assert found.stream.note is None


def test_a_watched_camera_starts_with_its_main_stream(
    camera: RtspCameras, valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    found = TwoStreams(valkey)
    found.watch()
    with found.running(camera.url("main", 0), camera.url("sub", 0)):
        found.wait_size(FULL)
        # If the main stream answers too late, as on a busy machine, the substream stands in until it does.
        assert "has stalled" in caplog.text or {frame.width for _, frame, _ in found.frames} == {FULL[0]}
        found.put(camera.url("main", 0), None)
        found.watch(False)
        found.wait_size(FULL)


@pytest.mark.parametrize(
    ("substream", "why"),
    [
        ("rtsp://127.0.0.1:{port}/none/0?key=s3cret", "no stream at this path (404)"),
        ("rtsp://127.0.0.2:{port}/sub/0", "CAMERA_NETWORKS"),
    ],
    ids=["404", "an address that is not allowed"],
)
def test_without_a_usable_substream_the_main_one_is_read(
    substream: str, why: str, camera: RtspCameras, valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    url = camera.url("main", 0)
    port = url.split(":")[2].split("/")[0]
    with TwoStreams(valkey).running(
        url, substream.format(port=port), login={"user": "viewer", "password": "pass-w0rd"}
    ) as found:
        found.wait_size(FULL)
        note = found.wait_note("The substream can't be used, the main stream is read instead: ")
        assert why in note
        assert "s3cret" not in note + caplog.text
        assert "pass-w0rd" not in note + caplog.text


def test_the_pool_says_why_a_substream_is_not_used(camera: RtspCameras, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with CameraPool(valkey, tmp_path) as pool:
        worker = pool.worker()
        substream = f"{camera.url('none', 0)}?key=s3cret"
        pool.put("gate", camera.url("main", 0), substream=substream, login={"user": "me", "password": "pass-w0rd"})

        def why() -> str | None:
            status = pool.status("gate")
            return status.reason if status is not None and status.state is CameraState.LIVE else None

        reason = pool.wait(why, 60, "the reason")
        assert reason is not None
        assert reason.startswith("The substream can't be used, the main stream is read instead: ")
        assert "s3cret" not in reason + worker.log()
        assert "pass-w0rd" not in reason + worker.log()
        pool.put("gate", camera.url("main", 0), substream=camera.url("sub", 0))

        def is_small() -> bool:
            status = pool.status("gate")
            return status is not None and (status.width, status.reason) == (SMALL[0], None)

        pool.wait(is_small, 60, "the substream")


def test_other_proportions_are_refused(camera: RtspCameras, valkey: EmbeddedValkey) -> None:
    with TwoStreams(valkey).running(camera.url("main", 0), camera.url("square", 0)) as found:
        found.watch()
        found.wait_size(FULL)
        found.watch(False)
        note = found.wait_note("its proportions (240x240) are not those of the main stream (640x360)")
        assert note.startswith("The substream can't be used, the main stream is read instead")


def test_without_a_usable_main_stream_a_viewer_sees_the_substream(camera: RtspCameras, valkey: EmbeddedValkey) -> None:
    with TwoStreams(valkey).running(camera.url("none", 0), camera.url("sub", 0)) as found:
        found.watch()
        found.wait_size(SMALL)
        note = found.wait_note("The main stream can't be used, the substream is read instead: ")
        assert "404" in note
        found.wait_size(SMALL)


def test_a_service_with_one_camera_has_a_substream_too(camera: RtspCameras, valkey: EmbeddedValkey) -> None:
    addresses = {"CAMERA": camera.url("main", 0), "CAMERA_SUBSTREAM": camera.url("sub", 0)}
    with ProducerUnderTest("camera", valkey, addresses) as producer:
        # On a busy machine the substream may answer late: then the main stream is read meanwhile.
        wait_for(lambda: producer.frames(1)[-1].width == SMALL[0], 90, "the substream")
        producer.client.set(keys.size_wanted("people", producer.name), keys.WATCHED_VALUE, px=120_000)
        wait_for(lambda: producer.frames(1)[-1].width == FULL[0], 40, "the main stream")
