"""Devices by name, and OpenVINO kept quiet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.domain.errors import SettingError
from elastic_inference.flows.inference.runtime import check_device, check_precision, make_core


class Machine:
    """What `check_device` asks of an `openvino.Core`."""

    available_devices = ("CPU", "GPU.0", "GPU.1")

    def get_property(self, device: str, _: str) -> str:
        if device not in self.available_devices:
            raise RuntimeError(f"Device with {device!r} name is not registered")
        return "1"


@pytest.mark.parametrize(
    "device",
    ["CPU", "GPU", "GPU.1", "AUTO", "HETERO", "AUTO:GPU,CPU", "AUTO:-CPU", "HETERO:GPU.0,CPU", "BATCH:GPU(4)"],
)
def test_available_devices(device: str) -> None:
    check_device(Machine(), device)


@pytest.mark.parametrize(
    "device", ["NPU", "GPU.2", "cpu", "FPGA", "AUTO:NPU", "HETERO:GPU,VPU", "CPU:GPU", "", "CPU,GPU,X"]
)
def test_an_unavailable_device_is_refused_with_those_that_exist(device: str) -> None:
    with pytest.raises(SettingError, match=r"INFER_DEVICE.*CPU, GPU\.0, GPU\.1"):
        check_device(Machine(), device)


@pytest.mark.parametrize(("quota", "threads"), [(0.1, 1), (1.5, 2), (None, 2)])
def test_threads_follow_the_allowance(quota: float | None, threads: int) -> None:
    core = make_core(CpuAllowance(quota, 2))
    assert core.get_property("CPU", "INFERENCE_NUM_THREADS") == threads
    if quota is not None:
        assert not core.get_property("CPU", "ENABLE_CPU_PINNING")
        assert int(core.get_property("CPU", "NUM_STREAMS")) == threads


def test_a_cache_folder_that_is_not_writable_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="MODEL_CACHE_DIR"):
        make_core(CpuAllowance(None, 1), tmp_path / "file" / "folder")


def test_openvinos_telemetry_is_never_loaded() -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('error');"
        "from elastic_inference.flows.inference.runtime import load_openvino; load_openvino().Core();"
        "assert not sys.modules.get('openvino_telemetry'), 'loaded';"
        "print(sorted(m for m in sys.modules if m.startswith('openvino_telemetry.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


class Capable(Machine):
    """A machine whose CPU has units for bf16; those of the tests have none."""

    def get_property(self, name: str, key: str) -> list[str]:
        assert key == "OPTIMIZATION_CAPABILITIES"
        return ["FP32", "BF16", "INT8", "BIN"] if name.startswith("CPU") else ["FP32", "FP16", "INT8"]


@pytest.mark.parametrize(
    ("device", "precision"),
    [("CPU", "auto"), ("CPU", "f32"), ("CPU", "bf16"), ("GPU", "f16"), ("AUTO:GPU.1", "f16"), ("AUTO", "f32")],
)
def test_precisions_that_a_device_has(device: str, precision: str) -> None:
    check_precision(Capable(), device, precision)


@pytest.mark.parametrize(("device", "precision"), [("CPU", "f16"), ("GPU", "bf16"), ("AUTO:GPU,CPU", "bf16")])
def test_a_precision_that_a_device_lacks_is_refused(device: str, precision: str) -> None:
    with pytest.raises(SettingError, match=rf"INFERENCE_PRECISION='{precision}'.*only for FP32, (BF16|FP16), INT8"):
        check_precision(Capable(), device, precision)


def test_a_signal_reaches_a_process_whose_worker_has_dropped_the_last_model() -> None:
    """Also if nothing else refers to its core: OpenVINO frees the signal stack of the thread that made it."""
    code = (
        "import signal, threading;"
        "from elastic_inference.base.cpu_quota import CpuAllowance;"
        "from elastic_inference.flows.inference.runtime import load_openvino, make_core;"
        "op = load_openvino().opset13; ov = load_openvino(); p = op.parameter([1, 4]);"
        "held = [make_core(CpuAllowance(0.5, 1)).compile_model(ov.Model([op.relu(p)], [p]), 'CPU')];"
        "dropper = threading.Thread(target=held.clear); dropper.start(); dropper.join();"
        "signal.signal(signal.SIGUSR1, lambda *_: print('reached')); signal.raise_signal(signal.SIGUSR1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "reached\n"), done.stderr
