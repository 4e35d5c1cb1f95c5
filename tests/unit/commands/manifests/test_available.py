"""Which types an image can serve, by the models and clips that went into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from elastic_inference.adapters.catalogue.entries import load_catalogue
from elastic_inference.commands.manifests import available


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "blazeface" / "FP16").mkdir(parents=True)
    (tmp_path / "blazeface" / "FP16" / "blazeface.tflite").write_bytes(b"x")
    return tmp_path


def test_every_core_type_has_a_default_and_a_sample() -> None:
    assert set(available.CORE_TYPES) <= set(load_catalogue().defaults)
    assert {kind for feeds, _ in available.SAMPLES.values() for kind in feeds} == set(available.CORE_TYPES)


def test_without_a_prepared_folder_every_type_is_taken() -> None:
    assert available.choose_types(None) == (list(available.CORE_TYPES), [])


def test_a_type_falls_back_to_an_embedded_model_or_is_left_out(models: Path) -> None:
    types, notes = available.choose_types(models)
    assert types == ["face-fp32", "face-int8"]
    said = "\n".join(notes)
    assert "face-fp32 falls back to the embedded model blazeface" in said
    assert "object is left out: the image has none of yolox-nano_FP32" in said
    assert len(notes) == len(available.CORE_TYPES)


def test_the_precision_counts(models: Path) -> None:
    folder = models / "face-detection-retail-0005" / "FP16-INT8"
    folder.mkdir(parents=True)
    (folder / "face-detection-retail-0005.xml").write_bytes(b"x")
    assert available.holds(models, "face-detection-retail-0005_INT8")
    assert not available.holds(models, "face-detection-retail-0005_FP32")
    assert not any(note.startswith("face-int8") for note in available.choose_types(models)[1])


def test_an_empty_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "blazeface").mkdir()
    (tmp_path / "blazeface" / "blazeface.tflite").touch()
    assert not available.holds(tmp_path, "blazeface")


def test_an_available_clip_is_preferred_to_the_one_of_every_image(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert available.choose_clip(tmp_path, ["a.mp4", "bikes.mp4"]) == "a.mp4"
    assert available.choose_clip(tmp_path, ["c.mp4", "bikes.mp4"]) == "bikes.mp4"
    assert available.choose_clip(None, ["a.mp4", "bikes.mp4"]) == "bikes.mp4"
