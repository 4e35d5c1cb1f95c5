"""Models that are kept compiled: the same results, and a compilation where a file does not fit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.commands.compile_models import compile_models
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.inference.adapters import AdapterOptions, PreparedModel, make_adapter
from elastic_inference.flows.inference.compiled_models import CompiledModels, cpu_name
from elastic_inference.flows.inference.engine import Engine, compile_engine
from elastic_inference.flows.inference.frame_detector import make_detectors
from elastic_inference.flows.inference.runtime import make_core
from elastic_inference.flows.inference.warm_up import synthetic_frame

NAME = "face-detection-retail-0005"
OPTIONS = AdapterOptions(labels=("", "face"))
CPUINFO = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags\t\t: avx avx2 fma\n\nprocessor\t: 1\n"
FACTS = {"NUM_STREAMS": "1"}


@pytest.fixture
def model(tmp_path: Path, shared_models: Path) -> Path:
    """A copy of a model that a test may change."""
    for file in (shared_models / NAME / "FP32").iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / f"{NAME}.xml"


def engine(path: Path, folder: Path, quota: float | None = 0.5, options: AdapterOptions = OPTIONS) -> Engine:
    """As a pod with MODEL_CACHE_DIR makes it."""
    kept = CompiledModels([folder], folder, cpu_name())
    return compile_engine(make_core(CpuAllowance(quota, 1)), path, "ssd", options, "CPU", kept=kept)


def outputs(made: Engine, frame: Frame) -> Any:
    """The first output, and the detections of even the least confident box."""
    detector = make_detectors(made, 0.0)[0]
    return detector._outputs(frame)[0].copy(), detector.infer(frame)


def test_a_restored_model_gives_the_same_results_and_can_be_compiled_again(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    frame = synthetic_frame()
    raw, found = outputs(engine(model, folder), frame)
    (file,) = folder.iterdir()
    restored = engine(model, folder)
    assert restored.prepared.model is None, "it was read and compiled"
    raw_now, found_now = outputs(restored, frame)
    assert np.allclose(raw, raw_now, atol=1e-5)
    assert len(found) > 5
    assert [each.label for each in found_now] == [each.label for each in found]
    restored.compile_again(2)
    assert np.allclose(raw, outputs(restored, frame)[0], atol=1e-5)
    assert [each.name for each in folder.iterdir()] == [file.name]


def test_a_file_that_is_broken_or_does_not_fit_is_not_used(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    engine(model, folder)
    (file,) = folder.iterdir()
    good = file.read_bytes()
    for broken in (b"", good[:1000], good[:-1], good[:-1] + bytes([good[-1] ^ 1]), b"x" * 100):
        file.write_bytes(broken)
        assert engine(model, folder).prepared.model is not None
        assert "is broken" in caplog.text
        caplog.clear()
        assert engine(model, folder).prepared.model is None, "a good one has replaced it"


def test_the_name_tells_apart_whatever_changes_the_result(model: Path, tmp_path: Path) -> None:
    kept = CompiledModels([tmp_path], None, "a CPU")

    def name(**changes: Any) -> str | None:
        given = {"path": model, "family": "ssd", "options": OPTIONS, "device": "CPU", "config": FACTS, **changes}
        return kept.name_of(**given)

    first = name()
    assert first == name()
    others = {
        name(family=None),
        name(options=AdapterOptions()),
        name(config={"NUM_STREAMS": "2"}),
        CompiledModels([tmp_path], None, "another CPU").name_of(model, "ssd", OPTIONS, "CPU", FACTS),
    }
    model.with_suffix(".bin").write_bytes(b"other weights")
    others.add(name())
    assert len(others | {first}) == 6
    assert None not in others


def test_what_cannot_be_known_is_not_kept(model: Path, tmp_path: Path) -> None:
    kept = CompiledModels([tmp_path], None, "a CPU")
    onnx = tmp_path / "model.onnx"
    onnx.touch()
    assert kept.name_of(onnx, None, OPTIONS, "CPU", FACTS) is None, "it may refer to other files"
    assert kept.name_of(model, None, OPTIONS, "AUTO", FACTS) is None
    assert kept.name_of(tmp_path / "none.xml", None, OPTIONS, "CPU", FACTS) is None
    assert CompiledModels([tmp_path], None, "").name_of(model, None, OPTIONS, "CPU", FACTS) is None
    assert CompiledModels([], None, "a CPU").name_of(model, None, OPTIONS, "CPU", FACTS) is None


def test_an_adapter_with_a_state_of_another_kind_is_not_kept(tmp_path: Path) -> None:
    kept = CompiledModels([tmp_path], tmp_path, "a CPU")
    prepared = PreparedModel(None, "image", 32, 32)
    adapter = make_adapter("model-api")  # it holds a lock
    kept.save("a.blob", "model-api", adapter, prepared, b"compiled")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "family", ["ssd", "blazeface", "yolox", "yolo", "nanodet", "detr", "box-lists", "tf-detection"]
)
def test_an_adapter_returns_with_its_state(family: str, tmp_path: Path) -> None:
    kept = CompiledModels([tmp_path], tmp_path, "a CPU")
    adapter = make_adapter(family, OPTIONS)
    prepared = PreparedModel(None, "image", 64, 32, "RGB", fill=(1, 2, 3), centred=True)
    kept.save("a.blob", family, adapter, prepared, b"compiled")
    found = kept.load("a.blob", OPTIONS)
    assert found is not None
    assert (found.family, found.prepared, found.blob) == (family, prepared, b"compiled")
    assert repr(vars(found.adapter)) == repr(vars(adapter))


def test_a_folder_that_is_full_or_missing_costs_no_start(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert engine(model, tmp_path / "missing").streams >= 1
    assert "cannot be kept" in caplog.text
    caplog.clear()
    (tmp_path / "file").touch()
    kept = CompiledModels([], tmp_path / "file", "a CPU")
    kept.save("a.blob", "ssd", make_adapter("ssd", OPTIONS), PreparedModel(None, "image", 32, 32), b"compiled")
    assert "cannot be kept" in caplog.text


def test_the_first_cpu_names_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO)
    name = cpu_name(file)
    assert "EPYC" in name
    assert "avx2" in name
    file.write_text(CPUINFO.replace("avx2", "avx512f"))
    assert cpu_name(file) != name
    file.write_text("processor\t: 0\n")
    assert cpu_name(file) == ""
    assert cpu_name(tmp_path / "none") == ""


def test_an_image_holds_the_catalogues_models_for_pods_of_up_to_a_core(tmp_path: Path, shared_models: Path) -> None:
    models, folder = tmp_path / "models", tmp_path / "compiled"
    shutil.copytree(shared_models / NAME / "FP32", models / NAME / "FP32")
    (file,) = compile_models(models, folder)
    assert file.startswith(f"{NAME}-")
    kept = CompiledModels([folder], None, cpu_name())
    path = models / NAME / "FP32" / f"{NAME}.xml"
    for quota, restored in ((0.1, True), (1.0, True), (None, False)):
        core = make_core(CpuAllowance(quota, 1))
        made = compile_engine(core, path, "ssd", AdapterOptions(labels=("", "face")), "CPU", kept=kept)
        assert (made.prepared.model is None) == restored, quota
