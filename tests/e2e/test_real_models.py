"""Real clips through real models, from the file to the viewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference.adapters.catalogue.download_videos import fetch_clips
from elastic_inference.domain.result import Result
from tests.conftest import REPOSITORY
from tests.support.system import System
from tests.support.viewer import Viewer
from tests.support.waiting import wait_for


@pytest.fixture
def system() -> Iterator[System]:
    with System() as started:
        started.websocket_server().wait_ready()
        yield started


def view(system: System, name: str, infer_type: str, form: str = "json") -> Viewer:
    return Viewer(f"ws://127.0.0.1:{system.websocket_port}", f"{name}:{infer_type}:inferred", form)


def confident(result: Result, label: str, count: int = 1) -> bool:
    return sum(found.label == label and found.confidence > 0.5 for found in result.detections) >= count


def test_vehicles_in_a_car_park(system: System, shared_models: Path, shared_videos: Path) -> None:
    model = {
        "INFER_MODEL_NAME": "person-vehicle-bike-detection-crossroad-0078_INT8",
        "INFER_MODEL_PATH": str(shared_models),
    }
    system.infer("car-int8", model).wait_ready()
    system.file(shared_videos / "car-detection.mp4", "car-int8", "park", {"VIDEO_FPS": "12"})
    with view(system, "park", "car-int8") as viewer:
        result = viewer.wait_for(lambda each: confident(each, "vehicle"), 60, "a vehicle in the car park")
    assert (result.width, result.height) == (768, 432)
    assert result.precision == "INT8"
    for found in result.detections:
        x_min, y_min, x_max, y_max = found.box
        assert 0 <= x_min < x_max <= 1
        assert 0 <= y_min < y_max <= 1


def test_two_faces_in_both_precisions_side_by_side(system: System, shared_models: Path, shared_videos: Path) -> None:
    for precision in ("FP32", "INT8"):
        model = {
            "INFER_MODEL_NAME": f"face-detection-retail-0005_{precision}",
            "INFER_MODEL_PATH": str(shared_models),
        }
        system.infer(f"face-{precision.lower()}", model)
    for service in system.services:
        service.wait_ready()
    clip = shared_videos / "head-pose-face-detection-female-and-male.gif"
    system.file(clip, "face-fp32,face-int8", "pair", {"VIDEO_FPS": "10"})
    with view(system, "pair", "face-fp32") as single, view(system, "pair", "face-int8") as quantised:
        for viewer in (single, quantised):
            viewer.wait_for(lambda each: confident(each, "face", 2), 60, "two faces at once")

        def both() -> set[int | None]:
            return {each.seq for each in list(single.results)} & {each.seq for each in list(quantised.results)}

        wait_for(both, 30, "a frame that both types get, under the same seq")


def test_objects_of_coco_on_the_street(system: System, shared_models: Path) -> None:
    clips = fetch_clips(REPOSITORY / "videos")
    system.infer("object", {"INFER_MODEL_NAME": "yolox-nano_FP32", "INFER_MODEL_PATH": str(shared_models)}).wait_ready()
    system.file(clips["bikes"], "object", "street", {"VIDEO_FPS": "8"})
    with view(system, "street", "object") as viewer:
        viewer.wait_for(lambda each: confident(each, "person"), 60, "a person on the street")
        vehicles = ("car", "bus", "truck", "bicycle", "motorcycle")
        viewer.wait_for(lambda each: any(confident(each, label) for label in vehicles), 60, "a vehicle on the street")


def test_no_faces_are_found_in_a_clip_without_faces(system: System, shared_models: Path, shared_videos: Path) -> None:
    system.infer(
        "face", {"INFER_MODEL_NAME": "face-detection-retail-0005_FP32", "INFER_MODEL_PATH": str(shared_models)}
    ).wait_ready()
    system.file(shared_videos / "car-detection.mp4", "face", "park", {"VIDEO_FPS": "20"})
    with view(system, "park", "face") as viewer:
        viewer.wait_for(lambda each: len(viewer.results) >= 60, 40, "60 results")
        assert not [found for each in viewer.results for found in each.detections]
