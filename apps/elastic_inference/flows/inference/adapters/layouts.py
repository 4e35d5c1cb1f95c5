"""Recognises the layout of a model's outputs, by their shapes and names and by metadata: one table of all layouts.

`facts_of` reads an `openvino.Model` into plain values; `find_layout` uses nothing else. The adapters of the
families `yolo`, `detr`, `box-lists` and `nanodet` decode the layouts; a side file may name one (`layout`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.adapters.catalogue.export_metadata import NO_METADATA, ExportMetadata, from_mapping
from elastic_inference.domain.errors import ModelError

Shape = tuple[int | None, ...]

# The strides of the heads of YOLO: as published, with a finer level, with a coarser one, and NanoDet's.
_HEADS = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64), (16, 32))
_NANODET = ((8, 16, 32, 64), (8, 16, 32))
# A suppressed list is at most this long; grids of cells are longer.
_LONGEST_LIST = 1000
# The families of LibreYOLO whose grids hold corners. In its others, Ultralytics' shapes have other meanings.
_CORNERS = ("yolo7", "yolo9")
_MASKS = 32  # coefficients that Ultralytics' segmentation adds to a row
DFL_BINS = 8
_DETR_COCO = 92  # COCO's 91 class numbers and "no object", as DETR's release has them


@dataclass(frozen=True, slots=True)
class Port:
    """One output: its names and its shape, None for a dynamic side."""

    names: frozenset[str]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Facts:
    """A model's input size (0 if it is not fixed), outputs, metadata, and how many of its classes have labels."""

    width: int
    height: int
    outputs: tuple[Port, ...]
    export: ExportMetadata = NO_METADATA
    labels: int = 0

    def shape(self, index: int = 0) -> Shape:
        """The shape of an output."""
        return self.outputs[index].shape

    def cells(self, strides: Sequence[int]) -> int:
        """How many cells of these strides cover the input."""
        return sum((self.height // stride) * (self.width // stride) for stride in strides)

    def named(self, *words: str) -> dict[str, int] | None:
        """The index of the output that has each of the names; None if one is missing."""
        found = {}
        for word in words:
            at = [index for index, port in enumerate(self.outputs) if word in port.names]
            if not at:
                return None
            found[word] = at[0]
        return found

    @property
    def extras(self) -> int | None:
        """Numbers that the task adds to a row, after box and classes; None if the outputs do not show it."""
        task = self.export.task
        if task == "pose":
            return self.export.keypoints or None
        if task == "segment" or (not task and self._has_masks):
            return _MASKS
        return 1 if task == "obb" else 0

    @property
    def _has_masks(self) -> bool:
        return any(len(port.shape) == 4 and port.shape[1] == _MASKS for port in self.outputs)


@dataclass(frozen=True, slots=True)
class Layout:
    """A row of the table. `expected` describes the outputs in the model's own notation."""

    name: str
    family: str
    expected: str
    fits: Callable[[Facts], bool]


def facts_of(model: Any, export: ExportMetadata, labels: Sequence[str] = ()) -> Facts:
    """The facts of an `openvino.Model` with one image input (see `graph.settle`)."""
    width = height = 0
    shape = model.inputs[0].partial_shape
    if len(model.inputs) == 1 and shape.rank.is_static and shape.rank.get_length() == 4:
        sides = _sides(shape)
        high, wide = sides[1:3] if sides[3] == 3 and sides[1] != 3 else sides[2:]
        width, height = wide or 0, high or 0
    outputs = tuple(Port(frozenset(port.get_names()), _sides(port.partial_shape)) for port in model.outputs)
    return Facts(width, height, outputs, export, len(labels) or len(export.names))


def export_of(model: Any, beside: ExportMetadata) -> ExportMetadata:
    """The exporter's metadata: in the model (OpenVINO keeps ONNX's under `framework`), else `beside` it."""
    if model.has_rt_info(["framework"]):
        inside = from_mapping(_section(model, "framework"))
        if inside:
            return inside
    if not beside and model.has_rt_info(["model_info", "labels"]):
        labels = str(_section(model, "model_info").get("labels") or "")
        return from_mapping({"names": labels.split()})
    return beside


def _section(model: Any, name: str) -> dict[str, Any]:
    """A section of a model's `rt_info` as plain values."""
    section = model.get_rt_info([name])
    values = getattr(section, "value", section)
    if not isinstance(values, dict):
        return {}
    return {key: getattr(value, "value", value) for key, value in values.items()}


def find_layout(facts: Facts, name: str | None = None) -> Layout | None:
    """The first layout that fits, or the one named. Raises ModelError for an unknown name."""
    if name is None:
        return next((layout for layout in LAYOUTS if layout.fits(facts)), None)
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise ModelError(f"The layout {name!r} is unknown: expected one of {', '.join(row.name for row in LAYOUTS)}.")


def _is_described_rt_detr(facts: Facts) -> bool:
    """Whether Ultralytics' metadata names RT-DETR."""
    return "rtdetr" in (facts.export.described + facts.export.head).lower().replace("-", "")


def _is_query_list(facts: Facts) -> bool:
    """Ultralytics' RT-DETR since 8.4: 1 x n x 6, which is centre, size, score, class."""
    rows = _rows(facts)
    return rows is not None and rows[1] == 6 and bool(facts.export.head) and _is_described_rt_detr(facts)


def _sides(shape: Any) -> Shape:
    if shape.rank.is_dynamic:
        return ()
    return tuple(None if side.is_dynamic else int(side.get_length()) for side in shape)


def _rows(facts: Facts) -> tuple[int | None, int] | None:
    """(rows, numbers in a row) where the first output is 1 x rows x numbers."""
    shape = facts.shape()
    if len(shape) != 3 or shape[0] not in (1, None) or shape[2] is None:
        return None
    return shape[1], shape[2]


def _is_grid(facts: Facts) -> bool:
    """1 x (4 + classes + extras) x cells."""
    shape = facts.shape()
    if len(shape) != 3 or shape[0] not in (1, None) or facts.export.family:
        return False
    numbers, cells = shape[1], shape[2]
    if numbers is None or cells is None:
        return False
    return 4 < numbers < cells and cells in {facts.cells(head) for head in _HEADS}


def _is_corner_grid(facts: Facts) -> bool:
    """The same with corners for centre and size: LibreYOLO's YOLOv7 and v9, which its metadata names."""
    shape = facts.shape()
    return facts.export.family in _CORNERS and len(shape) == 3 and facts.labels > 0 and shape[1] == 4 + facts.labels


def _is_objectness(facts: Facts) -> bool:
    """1 x (3 anchors for each cell) x (5 + classes)."""
    rows = _rows(facts)
    if rows is None or facts.export.family:
        return False
    return rows[1] > 5 and rows[0] in {3 * facts.cells(head) for head in _HEADS if facts.width}


def _is_yolox(facts: Facts) -> bool:
    rows = _rows(facts)
    return (
        len(facts.outputs) == 1
        and rows is not None
        and rows[1] > 5
        and facts.width > 0
        and rows[0] == facts.cells((8, 16, 32))
    )


def _is_nanodet(facts: Facts) -> bool:
    """A row for each cell, 4 x 8 bins after the classes; four levels, or three if the labels say so."""
    rows = _rows(facts)
    if len(facts.outputs) != 1 or rows is None or rows[1] <= 4 * DFL_BINS or not facts.width:
        return False
    if facts.labels and facts.labels != rows[1] - 4 * DFL_BINS:
        return False
    heads = _NANODET if facts.labels else _NANODET[:1]
    return rows[0] in {_cells_up(facts, head) for head in heads}


def _cells_up(facts: Facts, strides: Sequence[int]) -> int:
    return sum(-(-facts.height // stride) * -(-facts.width // stride) for stride in strides)


def _is_queries(facts: Facts) -> bool:
    """Ultralytics' RT-DETR: 1 x queries x (4 + classes), boxes 0..1. Its metadata names it."""
    rows = _rows(facts)
    if rows is None or len(facts.outputs) != 1 or not _is_list(rows[0]):
        return False
    if _is_described_rt_detr(facts):
        return True
    return facts.export.task == "detect" and facts.labels > 2 and rows[1] == 4 + facts.labels


def _is_list(rows: int | None) -> bool:
    return rows is None or rows <= _LONGEST_LIST


def _is_end_to_end(facts: Facts) -> bool:
    """1 x n x (6 + extras): corners, score, class."""
    rows = _rows(facts)
    if rows is None or not _is_list(rows[0]) or facts.extras is None or facts.export.family:
        return False
    return rows[1] == 6 + facts.extras


def _is_yolov7_list(facts: Facts) -> bool:
    """N x 7: image, corners, class, score."""
    shape = facts.shape()
    return len(facts.outputs) == 1 and len(shape) == 2 and shape[1] == 7


def _is_efficientdet(facts: Facts) -> bool:
    """1 x N x 7 of the AutoML exporter, which calls it `detections`."""
    rows = _rows(facts)
    names = " ".join(facts.outputs[0].names).lower()
    return len(facts.outputs) == 1 and rows is not None and rows[1] == 7 and "detections" in names


def _is_detr(facts: Facts) -> bool:
    """`logits` and `pred_boxes`; DETR's has one more class than labels: no object."""
    at = facts.named("logits", "pred_boxes")
    if at is None:
        return False
    classes = facts.shape(at["logits"])[-1]
    return classes is not None and (classes == facts.labels + 1 if facts.labels else classes == _DETR_COCO)


def _is_rf_detr(facts: Facts) -> bool:
    at = facts.named("dets", "labels")
    return at is not None and len(facts.shape(at["labels"])) == 3


def _has(*names: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.named(*names) is not None


def _is_sigmoid_detr(facts: Facts) -> bool:
    at = facts.named("logits", "pred_boxes")
    if at is None:
        return False
    classes = facts.shape(at["logits"])[-1]
    return classes is not None and (classes == facts.labels if facts.labels else classes == 80)


# In the order in which they are tried: layouts with names come before those with only a shape.
LAYOUTS = (
    Layout("rt-detr-list", "detr", "1xNx6 (centre, size, score, class) with Ultralytics' metadata", _is_query_list),
    Layout("rt-detr", "detr", "1xNx(4+classes), boxes 0..1, with Ultralytics' metadata", _is_queries),
    Layout("detr", "detr", "logits 1xNx(classes+1) and pred_boxes 1xNx4", _is_detr),
    Layout("detr-sigmoid", "detr", "logits 1xNxclasses and pred_boxes 1xNx4", _is_sigmoid_detr),
    Layout("rf-detr", "detr", "dets 1xNx4 and labels 1xNxclasses", _is_rf_detr),
    Layout("box-lists", "box-lists", "boxes Nx4, labels N and scores N", _has("boxes", "labels", "scores")),
    Layout("counted", "box-lists", "num_dets, det_boxes 1xNx4, det_scores 1xN and det_classes 1xN",
           _has("num_dets", "det_boxes", "det_scores", "det_classes")),
    Layout("efficientdet", "box-lists", "detections 1xNx7 (image, y, x, y, x, score, class)", _is_efficientdet),
    Layout("effdet", "box-lists", "1xNx6 (corners, score, class from 1), named in the side file", lambda _: False),
    Layout("nanodet", "nanodet", "1xNx(classes+32), N cells of strides 8, 16, 32 and 64", _is_nanodet),
    Layout("yolox", "yolox", "1xNx(5+classes), N cells of strides 8, 16 and 32", _is_yolox),
    Layout("grid", "yolo", "1x(4+classes)xN, N cells of the strides", _is_grid),
    Layout("grid-corners", "yolo", "1x(4+classes)xN with LibreYOLO's metadata for yolo7 or yolo9", _is_corner_grid),
    Layout("objectness", "yolo", "1xNx(5+classes), N three times the cells of the strides", _is_objectness),
    Layout("end-to-end", "yolo", "1xNx6 (corners, score, class)", _is_end_to_end),
    Layout("yolov7-list", "yolo", "Nx7 (image, corners, class, score)", _is_yolov7_list),
)  # fmt: skip


def expected_of(family: str) -> str:
    """The outputs that a family decodes, for errors."""
    return "; ".join(f"{layout.expected} ({layout.name})" for layout in LAYOUTS if layout.family == family)
