"""Loads OpenVINO without its telemetry, and sets it up for this pod's share of the machine.

Called by `engine` and `inference_service`. Independent of the model.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.domain.errors import SettingError
from elastic_inference.domain.late import late

_VIRTUAL = ("AUTO", "HETERO", "MULTI", "BATCH")
# More than there are: a new one would need the others at once.
_OPERATORS = tuple(f"openvino.opset{number}" for number in range(1, 40))
# OpenVINO's CPU plugin sets up the signal stack of the thread that uses it first, and frees it with the last reference
# to the core and its models. If another thread drops that, the next signal ends the process. So cores stay.
_cores: list[Any] = []


def load_openvino() -> Any:
    """The `openvino` package without telemetry and converter; its sets of operators are loaded when they are used.

    Without telemetry, OpenVINO uses its own empty stand-in. The converter (`ovc`) converts models of other frameworks
    in memory; it is not needed here, and takes a third of the package's import time.
    """
    modules: dict[str, Any] = sys.modules
    if "openvino" not in modules:
        for name in ("openvino_telemetry", "openvino.tools.ovc"):
            modules.setdefault(name, None)  # None makes its import fail
        modules.update((name, late(name)) for name in _OPERATORS)
        try:
            importlib.import_module("openvino")
        finally:
            for name in _OPERATORS:
                del modules[name]
    return modules["openvino"]


def make_core(allowance: CpuAllowance, cache_dir: Path | None = None) -> Any:
    """An `openvino.Core` whose CPU plugin uses the pod's quota, not all cores of the host.

    It runs in f32 by default: OpenVINO's own choice is bf16 on CPUs that have it, and two pods of one type on
    different nodes would disagree. Under a quota threads are not pinned: a pinned thread would wait for its core while
    others are free. Raises SettingError for a cache folder that is not writable.
    """
    core = load_openvino().Core()
    _cores.append(core)
    # A mapped file that somebody overwrites or shortens ends the process with SIGBUS.
    core.set_property({"ENABLE_MMAP": False})
    if has_cpu(core):
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": allowance.threads, "INFERENCE_PRECISION_HINT": "f32"})
        if allowance.quota is not None:
            use_threads(core, allowance.threads)
    if cache_dir is not None:
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            probe = cache_dir / ".write-test"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise SettingError("MODEL_CACHE_DIR", str(cache_dir), f"expected a writable folder ({error})") from None
        core.set_property({"CACHE_DIR": str(cache_dir)})
    return core


def has_cpu(core: Any) -> bool:
    """Whether OpenVINO can use the CPU. Listing all devices would load the code for each of them."""
    try:
        core.get_property("CPU", "NUM_STREAMS")
    except RuntimeError:
        return False
    return True


def use_threads(core: Any, threads: int) -> None:
    """Makes models that this core compiles from now on use this many CPU threads, each for a stream of its own."""
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads, "ENABLE_CPU_PINNING": False})


def check_precision(core: Any, device: str, precision: str) -> None:
    """Raises SettingError if one of the devices does not support `precision`: OpenVINO would silently use another.

    Devices that do not report their capabilities are left to OpenVINO.
    """
    if precision in ("auto", "f32"):
        return
    wanted = {"bf16": "BF16", "f16": "FP16"}[precision]
    named = device.partition(":")[2] or ("" if device in _VIRTUAL else device)
    for name in [part.strip() for part in named.split(",") if part.strip()] or list(core.available_devices):
        try:
            able = list(core.get_property(re.sub(r"\(\d+\)$", "", name).lstrip("-"), "OPTIMIZATION_CAPABILITIES"))
        except RuntimeError:
            continue
        if wanted not in able:
            kinds = ", ".join(kind for kind in able if kind[:2] in ("FP", "BF", "IN"))
            raise SettingError("INFERENCE_PRECISION", precision, f"{name} has no units for it, only for {kinds}")


def check_device(core: Any, device: str) -> None:
    """Raises SettingError, which lists the available devices, if `device` names another one."""
    if device == "CPU" and has_cpu(core):
        return
    available = list(core.available_devices)
    known = {name.partition(".")[0] for name in available} | set(available)
    head, colon, rest = device.partition(":")
    names = [part.strip() for part in (rest if colon else head).split(",")]
    virtual = head in _VIRTUAL
    if colon and not virtual:
        names = [device]
    for name in names if colon or not virtual else []:
        bare = re.sub(r"\(\d+\)$", "", name).lstrip("-")  # BATCH:GPU(4), AUTO:-CPU
        if bare not in known:
            shown = ", ".join(available) or "none"
            raise SettingError(
                "INFER_DEVICE", device, f"there is no device {bare!r}; available: {shown}, and AUTO or HETERO over them"
            )
