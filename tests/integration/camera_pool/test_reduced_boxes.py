"""`size: auto` with real models: boxes of full-size frames are found in reduced ones too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.reduced_boxes import MODELS, Materials, kept

pytestmark = pytest.mark.load
FRAMES = 20
SHARE = 0.98
# doc/cameras.md names them.
EXCEPTIONS = {"person-detection-retail-0013_FP16-INT8": 0.85}


@pytest.mark.parametrize("model", MODELS)
def test_boxes_are_the_same_in_reduced_frames(
    model: str,
    shared_models: Path,
    shared_videos: Path,
    embedded_models: dict[str, Path],
    sample_clips: dict[str, Path],
) -> None:
    found = kept(Materials(shared_models, shared_videos, embedded_models, sample_clips), model, FRAMES)
    print(f"\n{model}: {found.share:.3f} of {found.boxes} boxes, frames of {found.sizes}")
    assert found.boxes >= 5
    assert found.share >= EXCEPTIONS.get(model, SHARE)
