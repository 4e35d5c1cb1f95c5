"""A compiled model and its inference requests, each with an input buffer of its own.

Called by the inference flow: `compile_engine` once, then one `InferenceRequest` for each worker thread, and
`compile_again` when the pod gets more CPU. Uses OpenVINO, but no queue.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.errors import ElasticInferenceError, ModelError, SettingError
from elastic_inference.domain.image_size import ModelSize
from elastic_inference.flows.inference.adapters import (
    Adapter,
    AdapterOptions,
    PreparedModel,
    adapt,
    guess_family,
)
from elastic_inference.flows.inference.adapters.preprocessing import Resize
from elastic_inference.flows.inference.adapters.quantised import without_quantised_ports
from elastic_inference.flows.inference.arrays import Image
from elastic_inference.flows.inference.compiled_models import CompiledModels, Restored
from elastic_inference.flows.inference.runtime import check_device, check_precision, has_cpu, load_openvino, use_threads

log = logging.getLogger(__name__)

# Spare requests, so that the next frame is already decoded when an engine thread finishes one. With a single spare it
# was 2 % slower at 768x432; a third one gained nothing.
SPARE_REQUESTS = 2
# How OpenVINO names the file with the weights of an ONNX file.
_OUTSIDE = re.compile(r"externally stored data in file \(([^,)]+)")
# Weights behind the structure of the file, and operators named in its newer way alone.
_UNREAD_LITE = ("should be already produced by previous operators", "Builtin Option is not accessible")
_PRECISIONS = {"f32": "FP32", "f16": "FP16", "bf16": "BF16"}


class InferenceRequest:
    """Write an image into `input` (1 x H x W x 3, uint8), then call `infer`. Not thread-safe."""

    def __init__(self, engine: Engine, request: Any, prepared: PreparedModel, openvino: Any) -> None:
        self._engine = engine
        self._request = request
        self.input: Image = np.zeros((1, prepared.height, prepared.width, 3), np.uint8)
        request.set_input_tensor(openvino.Tensor(self.input, shared_memory=True))
        # Unless its shape is dynamic, an output keeps its tensor from one inference to the next.
        self._outputs = [
            None if port.partial_shape.is_dynamic else request.get_output_tensor(index).data
            for index, port in enumerate(engine.outputs)
        ]
        fixed = [output for output in self._outputs if output is not None]
        self._static = fixed if len(fixed) == len(self._outputs) else None

    def infer(self) -> list[NDArray[Any]]:
        """Infers the image in `input`. Returns the outputs in the model's order, valid until the next `infer`.

        Raises RuntimeError if OpenVINO fails.
        """
        if self._engine.inline:
            self._request.infer()
        elif self._engine.counts:
            self._engine.enter()
            try:
                self._request.start_async()
                self._request.wait()
            finally:
                self._engine.leave()
        else:
            self._request.start_async()
            self._request.wait()
        if self._static is not None:
            return self._static
        return [
            self._request.get_output_tensor(index).data if output is None else output
            for index, output in enumerate(self._outputs)
        ]


class Engine:
    """A compiled model. `streams` is the number of requests that run at the same time."""

    def __init__(
        self,
        compiled: Any,
        prepared: PreparedModel,
        adapter: Adapter,
        device: str,
        openvino: Any,
        *,
        core: Any = None,
        config: Mapping[str, Any] | None = None,
        read: Callable[[], Any] | None = None,
        inline: bool = False,
    ) -> None:
        """`core` has compiled `compiled` with `config`. `read` loads the model if `prepared` lacks it.

        `inline`: requests run in the thread that calls `infer`. Then that thread's CPU time is the model's, if it was
        compiled for one thread.
        """
        self.inline = inline
        self._core = core
        self._read = read or (lambda: prepared.model)
        self._compiled = compiled
        self._openvino = openvino
        self._target, self._config = device, dict(config or {})
        self.prepared = prepared
        self.adapter = adapter
        self.streams = _streams(compiled)
        self.devices: tuple[str, ...] = (device,)
        # The devices that run the model, such as `CPU` or `GPU.0`.
        self.device = device
        self._settled = False
        self._running_precisions: tuple[str, ...] = ()
        # Whether requests are counted. Not on the CPU, where CPU time shows how busy it is.
        self.counts = True
        self.look_for_devices()
        self._lock = threading.Lock()
        self._in_flight = 0
        self._busy_s = 0.0
        self._changed_at = time.monotonic()

    @property
    def on_cpu(self) -> bool:
        """Whether only CPUs run the model; then CPU time shows how busy it is."""
        return all(name.partition(".")[0] == "CPU" for name in self.devices)

    @property
    def size(self) -> ModelSize:
        """The size of frames that the model needs."""
        prepared = self.prepared
        return ModelSize(prepared.width, prepared.height, letterbox=prepared.resize is Resize.LETTERBOX)

    @property
    def outputs(self) -> list[Any]:
        """The outputs of the model, in its order."""
        return list(self._compiled.outputs)

    @property
    def settled(self) -> bool:
        """Whether the devices are final."""
        return self._settled

    def precision(self, stored: str) -> str:
        """The precision in which the model runs, as results show it; `stored` is that of its file (`FP32`, `INT8` …).

        The layers of an INT8 model that are not quantised run in another precision: `INT8`, or `INT8/BF16`
        where that is not FP32. Several devices may each use their own: `FP16+FP32`.
        """
        names = self._running_precisions
        if not names:
            return stored  # this plugin does not say
        if stored == "INT8":
            return stored if names == ("FP32",) else f"{stored}/{'+'.join(names)}"
        return "+".join(names)

    def _read_precisions(self) -> tuple[str, ...]:
        """The precision of each device that runs the model; () if one is not known."""
        try:
            hints = [self._compiled.get_property("INFERENCE_PRECISION_HINT")]
        except RuntimeError:
            try:
                # AUTO, HETERO and MULTI do not support the question, but pass on what their devices answer.
                held = self._compiled.get_property("DEVICE_PROPERTIES")
                hints = [held[device].get("INFERENCE_PRECISION_HINT") for device in self.devices]
            except (RuntimeError, LookupError, TypeError, AttributeError):
                return ()
        names = {_PRECISIONS.get(getattr(hint, "get_type_name", lambda hint=hint: str(hint))()) for hint in hints}
        known = tuple(sorted(name for name in names if name is not None))
        return known if len(known) == len(names) else ()

    def look_for_devices(self) -> bool:
        """Asks which devices run the model now; True if they have changed. Costs nothing once they are final.

        AUTO starts on the CPU while it prepares an accelerator. Until that is ready, it reports (CPU), in brackets.
        """
        if self._settled:
            return False
        before = self.devices
        try:
            found = self._compiled.get_property("EXECUTION_DEVICES")
        except RuntimeError:
            self._settled = True  # this plugin does not say
            self.counts = not self.on_cpu
            self._running_precisions = self._read_precisions()
            return False
        names = [found] if isinstance(found, str) else list(found)
        self.devices = tuple(name.strip("()") for name in names)
        self.device = ",".join(self.devices)
        self._settled = not any(name.startswith("(") for name in names)
        self.counts = not (self._settled and self.on_cpu)
        self._running_precisions = self._read_precisions()
        return self.devices != before

    def requests(self, count: int | None = None) -> list[InferenceRequest]:
        """New requests, by default those of one pipeline: `streams`, plus a few spare ones."""
        return [
            InferenceRequest(self, self._compiled.create_infer_request(), self.prepared, self._openvino)
            for _ in range(count or self.streams + SPARE_REQUESTS)
        ]

    def compile_again(self, threads: int) -> None:
        """Compiles the model for this many threads of the CPU; `requests` then makes requests of the new one.

        Existing requests keep the former one, and still work. Takes up to seconds; RuntimeError if OpenVINO fails.
        """
        use_threads(self._core, threads)
        compiled = self._core.compile_model(self._read(), self._target, self._config)
        streams = _streams(compiled)
        with self._lock:
            self._advance()
            self._compiled, self.streams = compiled, streams

    def enter(self) -> None:
        """Records the start of a request."""
        with self._lock:
            self._advance()
            self._in_flight += 1

    def leave(self) -> None:
        """Records the end of a request."""
        with self._lock:
            self._advance()
            self._in_flight -= 1

    def busy_s(self) -> float:
        """Seconds of full load since the start: the sum over time of min(in flight, streams) / streams."""
        with self._lock:
            self._advance()
            return self._busy_s

    def _advance(self) -> None:
        now = time.monotonic()
        self._busy_s += (now - self._changed_at) * min(self._in_flight, self.streams) / self.streams
        self._changed_at = now


def compile_engine(
    core: Any,
    path: Path,
    family: str | None,
    options: AdapterOptions,
    device: str,
    *,
    precision: str = "auto",
    kept: CompiledModels | None = None,
    trial: bool = False,
) -> Engine:
    """Reads, prepares and compiles a model for `device`. If `family` is None, the outputs' shapes decide it.

    `precision` is `auto`, `f32`, `bf16` or `f16`. A compiled model in `kept` is used. A `trial` on the CPU has one
    thread, the caller's. Raises ModelError for a file that is missing, broken or not made for the adapter,
    SettingError for the device or the precision.
    """
    check_device(core, device)
    check_precision(core, device, precision)
    openvino = load_openvino()
    if not path.exists():
        raise ModelError(f"The model file {path} is missing.")
    config: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT"}
    inline = trial and device == "CPU"
    if inline:
        config |= {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    if precision != "auto":
        config["INFERENCE_PRECISION_HINT"] = precision
    name = kept and kept.name_of(path, family, options, device, _facts(core, config, openvino))
    if kept and name:
        config["CACHE_DIR"] = ""  # OpenVINO's own cache would store it twice
        if engine := _restore(core, path, options, kept.load(name, options), config, inline=inline):
            return engine
    family, adapter, prepared = _prepare(core, path, family, options)
    try:
        compiled = core.compile_model(prepared.model, device, config)
    except RuntimeError as error:
        if "device" in str(error).lower() and "not" in str(error).lower() and device != "CPU":
            raise SettingError("INFER_DEVICE", device, f"OpenVINO cannot use it: {reason(error)}") from None
        raise ModelError(
            f"OpenVINO cannot compile the model {path} for {device}: {reason(error).rstrip('.')}. Another export may "
            "help: in OpenVINO's own format, or without embedded suppression (doc/models.md)."
        ) from None
    if kept and name and kept.writes:
        try:
            kept.save(name, family, adapter, prepared, compiled.export_model().getvalue())
        except RuntimeError as error:
            log.warning("the model cannot be kept compiled: %s", reason(error))
    return Engine(compiled, prepared, adapter, device, openvino, core=core, config=config, inline=inline)


def _prepare(core: Any, path: Path, family: str | None, options: AdapterOptions) -> tuple[str, Adapter, PreparedModel]:
    """Reads and prepares a model; also returns the name of its family."""
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot read the model {path}: {_unread(error, path)}") from None
    try:
        if path.suffix == ".tflite":
            without_quantised_ports(model)
        family = family or guess_family(model, options)
        return family, *adapt(model, family, options)
    except ElasticInferenceError:
        raise
    except Exception as error:
        # A user's own model may fail anywhere in the adapter; the traceback goes to the debug log.
        log.debug("the model's preparation failed", exc_info=True)
        raise ModelError(f"The model {path} cannot be prepared: {reason(error)}") from None


def _facts(core: Any, config: Mapping[str, Any], openvino: Any) -> dict[str, str]:
    """What decides how OpenVINO compiles a model for the CPU."""
    names = ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "INFERENCE_PRECISION_HINT", "ENABLE_CPU_PINNING")
    held = {name: str(core.get_property("CPU", name)) for name in names} if has_cpu(core) else {}
    return {**held, **{name: str(value) for name, value in config.items()}, "openvino": openvino.get_version()}


def _restore(
    core: Any, path: Path, options: AdapterOptions, found: Restored | None, config: Mapping[str, Any], *, inline: bool
) -> Engine | None:
    """The engine of a model that was kept compiled; None if there is none, or if OpenVINO refuses it."""
    if found is None:
        return None
    try:
        compiled = core.import_model(found.blob, "CPU", dict(config))
    except RuntimeError as error:
        log.warning("the model that was kept compiled is not used: %s", reason(error))
        return None
    return Engine(
        compiled,
        found.prepared,
        found.adapter,
        "CPU",
        load_openvino(),
        core=core,
        config=config,
        read=lambda: _prepare(core, path, found.family, options)[2].model,
        inline=inline,
    )


def _unread(error: RuntimeError, path: Path) -> str:
    """Why OpenVINO could not read a model, and what to do."""
    why = reason(error)
    if outside := _OUTSIDE.search(why):
        return f"its weights are in {outside[1]}, which is missing or incomplete: copy it beside the model"
    if "Incorrect weights" in why:
        return f"{path.with_suffix('.bin').name} is incomplete or belongs to another model: copy both files again"
    if path.suffix == ".tflite" and any(words in why for words in _UNREAD_LITE):
        return (
            f"{why.rstrip('.')}. OpenVINO cannot read TensorFlow Lite files of this form, such as some that "
            "ai-edge-quantizer writes: use the model as it was before it was quantised, or export it in OpenVINO's own "
            "format"
        )
    if "Unable to read the model" in why:
        why = "its format is unknown"
    return (
        f"{why.rstrip('.')}. It is incomplete, damaged or made for another version than OpenVINO "
        f"{load_openvino().get_version().partition('-')[0]}: copy or export it again"
    )


def _streams(compiled: Any) -> int:
    return max(1, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))


def reason(error: Exception) -> str:
    """The last line of an error's text, where OpenVINO names the cause; with its class if it is no RuntimeError."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return repr(error)
    return lines[-1] if isinstance(error, RuntimeError) else f"{type(error).__name__}: {lines[-1]}"
