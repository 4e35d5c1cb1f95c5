"""Models that the package openvino-model-api supports: other YOLOs, classification, segmentation, anomalies.

The model itself (`model_info/model_type`) or its side file names a wrapper of that package, which decodes the outputs.
JPEG decoding and preprocessing are done by this project. So the wrapper is told that the frame has the shape of the
model's input, and its boxes are mapped to the real frame afterwards. It rounds boxes to whole pixels; to keep them
exact, it is told a larger frame size than the real one.

A class for the whole frame (classification, anomaly) becomes a detection with the box 0, 0, 1, 1, and a segment
becomes its bounding box. The package is optional: `pip install 'elastic-inference[model-api]'`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs, mismatch
from elastic_inference.flows.inference.adapters.boxes import detections, label_of
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, grid_cells, image_input
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel, Resize

EXPECTED = "a model_type that Model API knows, or 1x(4+classes)xN of YOLOv8 and later"
INSTALL = "pip install 'elastic-inference[model-api]' (or: pip install --no-deps openvino-model-api)"
KINDS = ("detection", "instance segmentation", "classification", "segmentation", "anomaly detection")
# A wrapper's boxes are whole pixels of the frame size it is given; 16 times the input makes them exact enough.
OVERSIZE = 16
# A segment smaller than this share of the image is noise.
MIN_SEGMENT = 0.001
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_STRIDES = (8, 16, 32)
# Wrappers that read 1 x (4 + classes) x n, whatever version their name says.
_GRID_WRAPPERS = ("YOLOv5", "YOLOv8", "YOLO11")
_RESIZE = {
    "standard": (Resize.STRETCH, False),
    "fit_to_window": (Resize.LETTERBOX, False),
    "fit_to_window_letterbox": (Resize.LETTERBOX, True),
}


def is_named(model: Any) -> bool:
    """Whether the model names its wrapper, and so its preprocessing."""
    return bool(model.has_rt_info(["model_info", "model_type"]))


def wrapper_name(model: Any, options: AdapterOptions) -> str:
    """The wrapper that the side file or the model names; '' if neither does."""
    if options.wrapper or options.configuration:
        return options.wrapper if options.wrapper and not options.configuration else "configured"
    if not is_named(model):
        return ""
    value = model.get_rt_info(["model_info", "model_type"])
    return str(getattr(value, "value", value))


def matches(model: Any) -> bool:
    """Whether the model names its wrapper, or has the output of YOLOv8 and later."""
    return is_named(model) or _is_yolov8(model)


class ModelApiAdapter:
    """Hands the outputs of one frame at a time to a wrapper of Model API."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options.wrapper` and `options.configuration` go to the wrapper, as do labels, mean, scale and colour."""
        self.labels = options.labels
        self._options = options
        self._wrapper: Any = None
        self._names: list[str] = []
        self._kind = "detection"
        self._shape = (1, 1, 3)
        self._threshold: float | None = None
        self._lock = threading.Lock()

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        layout, width, height = image_input("model-api", model, self._options.size)
        _refuse_other_yolo(model, self._options.wrapper)
        self._wrapper, graph = _wrap(model, self._wrapper_name(model), self._configuration())
        self._kind = _kind_of(self._wrapper)
        parameters = self._wrapper.params
        if parameters.resize_type not in _RESIZE:
            raise ModelError(
                f"The model's resize_type {parameters.resize_type!r} is not supported: expected {', '.join(_RESIZE)}."
            )
        self.labels = tuple(parameters.labels or ()) if self._kind != "anomaly detection" else self.labels
        oversize = OVERSIZE if self._kind == "detection" else 1
        self._shape = (height * oversize, width * oversize, 3)
        self._names = list(graph.get_output_layers())
        built, name = accept_bytes(
            graph.model, layout, _several(parameters.mean_values), _several(parameters.scale_values)
        )
        resize, centred = _RESIZE[parameters.resize_type]
        colour = colour_of(self._options, "RGB" if parameters.reverse_input_channels else "BGR")
        return PreparedModel(built, name, width, height, colour, resize, int(parameters.pad_value or 0), centred)

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        self._set_threshold(threshold)
        result = self._result(outputs)
        if self._kind == "classification":
            found = [
                Detection(label.name or str(label.id), int(label.id), float(label.confidence), _WHOLE)
                for label in result.top_labels
                if label.confidence >= threshold
            ]
            return sorted(found, key=lambda one: -one.confidence)
        if self._kind == "anomaly detection":
            return self._anomaly(result, threshold)
        if self._kind == "segmentation":
            return self._segments(result, letterbox, threshold)
        scores = np.asarray(result.scores, np.float32)
        chosen = scores >= threshold
        size = np.array((self._shape[1], self._shape[0]) * 2, np.float32)
        boxes = np.asarray(result.bboxes, np.float32).reshape(-1, 4)[chosen] / size
        return detections(self.labels, np.asarray(result.labels)[chosen], scores[chosen], boxes, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`: those that the wrapper finds, since only it can read the outputs."""
        if self._kind not in ("detection", "instance segmentation"):
            return np.zeros(0, np.float32)
        return np.asarray(self._result(outputs).scores, np.float32)

    def _result(self, outputs: Outputs) -> Any:
        # A copy: wrappers compute in place, and the request's buffers are reused.
        named = {name: np.array(outputs[index]) for index, name in enumerate(self._names)}
        meta = {"original_shape": self._shape, "resized_shape": (self._shape[1], self._shape[0], 3)}
        _, meta = self._wrapper.preprocess({}, meta)
        return self._wrapper.postprocess(named, meta)

    def _anomaly(self, result: Any, threshold: float) -> list[Detection]:
        score = float(result.pred_score or 0.0)
        if not np.isfinite(score) or score < threshold:
            return []
        label = str(result.pred_label or label_of(self.labels, 1))
        return [Detection(label, 1, min(score, 1.0), _WHOLE)]

    def _segments(self, result: Any, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """The bounding box of each connected segment, with the mean confidence over it. Class 0 is the background."""
        classes, soft = np.asarray(result.resultImage, np.uint8), np.asarray(result.soft_prediction)
        height, width = classes.shape[:2]
        numbers, confidences, boxes = [], [], []
        for number in np.unique(classes[classes > 0]).tolist():
            count, marks, stats, _ = cv2.connectedComponentsWithStats((classes == number).astype(np.uint8))
            for mark in range(1, count):
                left, top, wide, high, area = stats[mark].tolist()
                if area < MIN_SEGMENT * width * height:
                    continue
                share = float(soft[..., number][marks == mark].mean()) if soft.ndim == 3 else 1.0
                if share >= threshold:
                    # Model API's labels do not include the background.
                    numbers.append(number - 1)
                    confidences.append(share)
                    boxes.append((left / width, top / height, (left + wide) / width, (top + high) / height))
        return detections(
            self.labels,
            np.array(numbers, np.int64),
            np.array(confidences, np.float32),
            np.array(boxes, np.float32).reshape(-1, 4),
            letterbox,
        )

    def _wrapper_name(self, model: Any) -> str | None:
        """The wrapper of the side file, else the one that the outputs show. None: the one that the model names."""
        if self._options.wrapper:
            return self._options.wrapper
        # Ultralytics writes YOLO for all its versions, which Model API reads as version 3.
        return "YOLOv8" if _is_yolov8(model) else None

    def _configuration(self) -> dict[str, Any]:
        options = self._options
        configuration: dict[str, Any] = dict(options.configuration or {})
        if options.labels:
            configuration["labels"] = list(options.labels)
        if options.mean is not None:
            configuration["mean_values"] = list(options.mean)
        if options.scale is not None:
            configuration["scale_values"] = list(options.scale)
        return configuration

    def _set_threshold(self, threshold: float) -> None:
        """Sets the wrapper's own minimum confidence, which is the same in all calls of one pod."""
        if threshold == self._threshold or "confidence_threshold" not in self._wrapper.get_cached_parameters():
            return
        with self._lock:
            self._wrapper.set_param("confidence_threshold", threshold)
            self._threshold = threshold


def _refuse_other_yolo(model: Any, wrapper: str | None) -> None:
    """Raises ModelError for rows of another YOLO, in which the wrapper would silently find nothing."""
    if wrapper not in _GRID_WRAPPERS or len(model.outputs) != 1:
        return
    shape = model.outputs[0].partial_shape
    if shape.is_dynamic or len(shape) != 3 or int(shape[1].get_length()) < int(shape[2].get_length()):
        return
    raise mismatch(
        "model-api", model, f"1x(4+classes)xN for the wrapper {wrapper}; leave out adapter and wrapper for this model"
    )


def _wrap(model: Any, name: str | None, configuration: dict[str, Any]) -> tuple[Any, Any]:
    """(wrapper, its view of the graph). Raises ModelError if the package is missing or cannot read the model."""
    try:
        from model_api.adapters import OpenvinoAdapter  # noqa: PLC0415  optional, and slow to load
        from model_api.models import Model  # noqa: PLC0415
        from model_api.models.model import WrapperError  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(f"The adapter 'model-api' needs a package that is missing ({error}): {INSTALL}.") from None

    class Graph(OpenvinoAdapter):  # type: ignore[misc]
        """Model API's view of a graph that is compiled and run elsewhere, without preprocessing."""

        def __init__(self) -> None:
            self.model = model
            self.device = "CPU"
            self.model_parameters = {"input_layouts": ""}
            self.is_onnx_file = False
            self.use_python_preprocessing = False

        def embed_preprocessing(self, *_: Any, **__: Any) -> None:
            """Does nothing: `accept_bytes` does it with the wrapper's parameters."""

        def load_model(self) -> None:
            """Does nothing: the engine compiles the model."""

    graph = Graph()
    try:
        return Model.create_model(graph, model_type=name, configuration=configuration, preload=False), graph
    except (WrapperError, RuntimeError, ValueError, TypeError, KeyError, StopIteration) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"Model API cannot read this model: {reason}; name its wrapper beside it (doc/models.md)."
        ) from None


def _kind_of(wrapper: Any) -> str:
    from model_api import models  # noqa: PLC0415

    kinds = {
        "instance segmentation": (models.InstanceSegmentationModel, models.YOLOSeg),
        "classification": (models.ClassificationModel,),
        "segmentation": (models.SegmentationModel,),
        "anomaly detection": (models.AnomalyDetection,),
        "detection": (models.DetectionModel,),
    }
    # The wrapper of YOLOX resizes in Python; this project has its own adapter for that family.
    if not isinstance(wrapper, models.YOLOX):
        for kind, classes in kinds.items():
            if isinstance(wrapper, classes):
                return kind
    raise ModelError(
        f"Model API's wrapper {wrapper.__model__} is not supported here: expected one for {', '.join(KINDS)}."
    )


def _several(values: Sequence[float] | None) -> list[float] | None:
    return [float(value) for value in values] if values else None


def _is_yolov8(model: Any) -> bool:
    """Whether the output is 1 x (4 + classes) x n, with n cells of strides 8, 16 and 32."""
    if len(model.outputs) != 1:
        return False
    shape = model.outputs[0].partial_shape
    if shape.is_dynamic or len(shape) != 3:
        return False
    _, numbers, cells = (int(side.get_length()) for side in shape)
    return 4 < numbers < cells == grid_cells(model, _STRIDES)
