"""`gate: motion` with a real model: what it detects in all frames is left in those that pass."""

from __future__ import annotations

from pathlib import Path

from elastic_inference.adapters.catalogue.find import find_model
from tests.support.gated_clips import FPS, run
from tests.support.real_scenes import Box, Image, RealScene, Walk, person, place, recall
from tests.support.small_models import runner_of

# doc/cameras.md has more of them, and longer ones.
SLOW = RealScene(11, walk=Walk(4, 14, 60))


def test_a_slow_walker_at_a_distance_is_detected_as_without_the_gate(
    tmp_path: Path, shared_models: Path, shared_videos: Path, sample_clips: dict[str, Path]
) -> None:
    runner = runner_of(find_model("person-detection-retail-0013_FP16-INT8", shared_models, "people"))

    def detect(image: Image) -> list[Box]:
        height, width = image.shape[:2]
        boxes = [found.box for found in runner.detect(image, 0.5)]
        return [(box[0] * width, box[1] * height, box[2] * width, box[3] * height) for box in boxes]

    ground, cut = place(shared_videos / "car-detection.mp4"), person(sample_clips["bikes"])
    clip = SLOW.write(tmp_path / "clip.mkv", ground, cut)
    gated = run(clip, int(SLOW.seconds * FPS))
    found = recall(clip, gated, detect, every=4)
    assert found.seconds >= 4
    assert found.seconds_left == found.seconds
    assert found.moments_left >= 0.95 * found.moments
    assert gated.share < 0.9
