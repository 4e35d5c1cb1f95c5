"""`gate: motion` on clips of a fixed camera: what is left of the objects, and what is saved where nothing moves."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry

from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.camera_plan import spec_plan
from elastic_inference.flows.produce.source_watch import SourceState
from elastic_inference.flows.produce.stream_manager import StreamManager
from tests.support.gated_cases import CASES
from tests.support.gated_clips import FPS, Scene, run
from tests.support.waiting import wait_for

RECALL = 0.99
NAME = "hall"


@pytest.mark.parametrize("name", CASES)
def test_the_gate_loses_no_object_and_saves_frames(name: str, tmp_path: Path) -> None:
    scene, passes, decoded = CASES[name]
    frames = int(scene.seconds * FPS)
    found = run(scene.write(tmp_path / "clip.mkv"), frames)
    seconds, moments = found.shown(scene.boxes)
    assert seconds >= RECALL
    assert moments >= 0.95, "of the frames, too"
    assert found.share <= passes
    assert found.decoded / frames <= decoded


def test_a_watched_stream_is_not_gated(tmp_path: Path) -> None:
    clip = Scene(12).write(tmp_path / "clip.mkv")
    found = run(clip, 12 * FPS, watched=lambda at_s: at_s >= 9)
    first = next(number for number, passed in enumerate(found.passed) if passed and number >= 9 * FPS)
    assert first <= 11 * FPS, "with the next frame that is decoded; a real stream is woken at once"
    assert all(found.passed[first:])


class Watching:
    """A camera with the gate in a stream manager of its own."""

    def __init__(self, valkey: EmbeddedValkey, clip: Path) -> None:
        environ = {"QUEUE_URL": valkey.url, "VIDEO_DIR": "/", "CAMERA_GATE": "motion"}
        settings = config.load(config.CameraSettings, environ)
        self.registry = CollectorRegistry()
        self.manager = StreamManager(settings, Lifecycle("camera stream"), self.registry, "cameras")
        spec = CameraSpec.model_validate({"name": NAME, "url": clip.as_uri(), "fps": FPS})
        self.manager.put(spec_plan(spec, settings))

    def count(self, metric: str) -> float:
        labels = {"stream": NAME, "infer_type": "people"}
        return self.registry.get_sample_value(f"ei_frames_{metric}_total", labels) or 0.0

    def wait_state(self, state: SourceState) -> None:
        def has_it() -> bool:
            self.manager.tick()
            return self.manager.streams()[NAME].report.state is state

        wait_for(has_it, 40, state.value)


def test_a_stream_is_quiet_until_somebody_watches(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    seconds = 60
    watching = Watching(valkey, Scene(seconds, size=(160, 96)).write(tmp_path / "clip.mkv"))
    try:
        watching.wait_state(SourceState.QUIET)
        gated, pushed = watching.count("gated"), watching.count("pushed")

        def has_rested() -> bool:
            watching.manager.tick()
            return watching.count("gated") >= gated + 3 * FPS

        wait_for(has_rested, 40, "gated frames")
        assert watching.count("pushed") - pushed < (watching.count("gated") - gated) / 2
        assert watching.count("dropped") == 0
        assert watching.registry.get_sample_value("ei_source_up", {"stream": NAME}) == 1
        report = watching.manager.streams()[NAME].report
        assert report.fps > FPS / 2, "the rate is that of the source"
        with redis.Redis(port=valkey.port) as client:
            client.set(keys.size_wanted("people", NAME), keys.WATCHED_VALUE, px=60_000)
        watching.wait_state(SourceState.LIVE)
        gated = watching.count("gated")
        pushed = watching.count("pushed")
        wait_for(lambda: watching.count("pushed") >= pushed + FPS, 40, "frames")
        assert watching.count("gated") <= gated + 1
    finally:
        watching.manager.close()
