"""Which devices run a model, now and after AUTO has moved it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.flows.inference.adapters import AdapterOptions, PreparedModel
from elastic_inference.flows.inference.engine import Engine, compile_engine
from elastic_inference.flows.inference.runtime import make_core


class Compiled:
    """What `Engine` asks of an `openvino.CompiledModel`; `answers` are those to EXECUTION_DEVICES, the last repeats.

    No machine of the tests has an accelerator that AUTO could move to.
    """

    def __init__(
        self, *answers: str | list[str] | None, hint: str = "f32", by_device: dict[str, str] | None = None
    ) -> None:
        self._answers = list(answers)
        self._hint, self._by_device = hint, by_device
        self.asked = 0

    def get_property(self, name: str) -> Any:
        if name == "INFERENCE_PRECISION_HINT":
            if self._by_device is not None:
                raise RuntimeError("unsupported property")
            return Type(self._hint)
        if name == "DEVICE_PROPERTIES":
            return {name: {"INFERENCE_PRECISION_HINT": Type(hint)} for name, hint in (self._by_device or {}).items()}
        if name != "EXECUTION_DEVICES":
            return 1
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            raise RuntimeError("unsupported property")
        return answer


def engine_of(compiled: Compiled, device: str = "AUTO") -> Engine:
    adapter: Any = None
    return Engine(compiled, PreparedModel(None, "input", 300, 300), adapter, device, None)


def test_a_device_in_brackets_is_asked_for_until_it_is_final() -> None:
    compiled = Compiled(["(CPU)"], ["(CPU)"], ["GPU.0"])
    engine = engine_of(compiled)
    assert (engine.device, engine.on_cpu) == ("CPU", True)
    assert not engine.look_for_devices()
    assert engine.look_for_devices()
    assert (engine.device, engine.on_cpu) == ("GPU.0", False)
    assert not engine.look_for_devices()
    assert compiled.asked == 3


@pytest.mark.parametrize(
    ("answer", "device", "on_cpu"),
    [
        ("CPU", "CPU", True),
        (["CPU"], "CPU", True),
        (["GPU.1", "CPU"], "GPU.1,CPU", False),
        (None, "NPU", False),
    ],
)
def test_a_final_device_is_asked_for_once(answer: str | list[str] | None, device: str, on_cpu: bool) -> None:
    compiled = Compiled(answer)
    engine = engine_of(compiled, "NPU")
    assert not engine.look_for_devices()
    assert (engine.device, engine.on_cpu) == (device, on_cpu)
    assert compiled.asked == 1


def test_auto_on_a_machine_of_cpus_stays_there(shared_models: Path) -> None:
    core = make_core(CpuAllowance(None, 1))
    path = shared_models / "face-detection-retail-0005" / "FP32" / "face-detection-retail-0005.xml"
    engine = compile_engine(core, path, None, AdapterOptions(), "AUTO")
    assert (engine.device, engine.on_cpu) == ("CPU", True)
    assert not engine.look_for_devices()


def test_a_cpu_calculates_in_f32_unless_told_otherwise(shared_models: Path) -> None:
    core = make_core(CpuAllowance(None, 1))
    assert core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    path = shared_models / "face-detection-retail-0005" / "FP16-INT8" / "face-detection-retail-0005.xml"
    engine = compile_engine(core, path, None, AdapterOptions(), "CPU")
    assert [engine.precision(stored) for stored in ("FP32", "FP16", "", "INT8")] == ["FP32", "FP32", "FP32", "INT8"]


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:CPU", "MULTI:CPU"])
def test_a_device_of_several_shows_what_its_cpu_calculates_in(shared_models: Path, device: str) -> None:
    core = make_core(CpuAllowance(None, 1))
    path = shared_models / "face-detection-retail-0005" / "FP32" / "face-detection-retail-0005.xml"
    bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision, shown in {"auto": "FP32", **({"bf16": "BF16"} if bf16 else {})}.items():
        engine = compile_engine(core, path, None, AdapterOptions(), device, precision=precision)
        assert engine.precision("FP16") == shown, "not what the file holds"


def test_the_precision_follows_a_model_that_auto_has_moved() -> None:
    engine = engine_of(Compiled(["(CPU)"], ["GPU.0"], by_device={"CPU": "f32", "GPU.0": "f16"}))
    assert [engine.precision(stored) for stored in ("FP32", "INT8")] == ["FP32", "INT8"]
    assert engine.look_for_devices()
    assert [engine.precision(stored) for stored in ("FP32", "INT8")] == ["FP16", "INT8/FP16"]


def test_several_devices_may_each_have_a_precision() -> None:
    engine = engine_of(Compiled(["GPU.0", "CPU"], by_device={"CPU": "f32", "GPU.0": "f16"}), "HETERO:GPU,CPU")
    assert engine.precision("FP32") == "FP16+FP32"


class Type:
    def __init__(self, name: str) -> None:
        self._name = name

    def get_type_name(self) -> str:
        return self._name


@pytest.mark.parametrize(
    ("hint", "stored", "shown"),
    [("bf16", "FP32", "BF16"), ("bf16", "INT8", "INT8/BF16"), ("f16", "FP32", "FP16"), ("dynamic", "FP32", "FP32")],
)
def test_the_precision_that_runs_is_shown(hint: str, stored: str, shown: str) -> None:
    """Most machines of the tests have no units for bf16 or f16."""
    engine = engine_of(Compiled("CPU", hint=hint))
    assert engine.precision(stored) == shown
