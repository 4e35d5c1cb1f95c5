"""Ultralytics' models with random weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from tests.models.exported import SIDE, Found, Make, batch_of, listed, settle_norms, spread, write


def ultralytics(yaml: str, form: str = "onnx", **options: Any) -> Make:
    """Exports `yaml`, and lets Ultralytics run the exported file."""

    def make(folder: Path, images: list[str]) -> None:
        import torch
        from ultralytics import RTDETR, YOLO

        torch.manual_seed(1)
        kind = RTDETR if "rtdetr" in yaml else YOLO
        kept = Path.cwd()
        os.chdir(folder)
        try:
            model = kind(yaml)
            (_enliven if kind is YOLO else _enliven_queries)(model.model, images)
            exported = Path(model.export(format=form, imgsz=SIDE, **options)).absolute()
        finally:
            os.chdir(kept)
        target = folder / f"model{exported.suffix}"
        task = model.task
        if exported.is_dir():
            target = exported
        else:
            shutil.move(exported, target)

        def run(image: str, threshold: float) -> Found:
            again = kind(str(target)) if kind is RTDETR else kind(str(target), task=task)
            result = again(image, imgsz=SIDE, conf=threshold, iou=options.get("iou", 0.7), verbose=False, rect=False)[0]
            return listed(result.boxes.cls, result.boxes.conf, result.boxes.xyxy)

        write(folder, target, images, run, options.get("conf", 0.01))

    return make


def _enliven(model: Any, images: list[str]) -> None:
    """Makes random weights answer to the images."""
    import torch

    batch = torch.cat([batch_of(image)[:2] for image in images])
    model.requires_grad_(requires_grad=False).eval()
    settle_norms(model, lambda: model(batch))
    last = [
        layer
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and "cv3" in name and layer.bias is not None
    ]
    spread(last, lambda: model(batch), width=0.4, centre=-3)


def _enliven_queries(model: Any, images: list[str]) -> None:
    """The same for RT-DETR."""
    import torch

    batch = torch.cat([batch_of(image)[:1] for image in images])
    model.requires_grad_(requires_grad=False).eval()
    settle_norms(model, lambda: model(batch))
    decoder = model.model[-1]
    boxes = [decoder.enc_bbox_head.layers[-1], decoder.dec_bbox_head[-1].layers[-1]]
    spread(boxes, lambda: model(batch), width=0.6)
    spread([decoder.enc_score_head, decoder.dec_score_head[-1]], lambda: model(batch), width=1.5, centre=-3)


MODELS: dict[str, Make] = {
    "yolov5nu": ultralytics("yolov5n.yaml"),
    "yolov8n": ultralytics("yolov8n.yaml"),
    "yolov8n-dynamic": ultralytics("yolov8n.yaml", dynamic=True),
    "yolov8n-half": ultralytics("yolov8n.yaml", half=True),
    "yolov8n-openvino": ultralytics("yolov8n.yaml", "openvino"),
    "yolov8n-litert": ultralytics("yolov8n.yaml", "litert"),
    "yolov8n-nms": ultralytics("yolov8n.yaml", nms=True, conf=0.02),
    "yolov8n-seg": ultralytics("yolov8n-seg.yaml"),
    "yolov8n-pose": ultralytics("yolov8n-pose.yaml"),
    "yolov9t": ultralytics("yolov9t.yaml"),
    "yolov10n": ultralytics("yolov10n.yaml", end2end=True),
    "yolo11n": ultralytics("yolo11n.yaml"),
    "yolo26n": ultralytics("yolo26n.yaml"),
    "yolo26n-end2end": ultralytics("yolo26n.yaml", end2end=True),
    "yolo26n-openvino-end2end": ultralytics("yolo26n.yaml", "openvino", end2end=True),
    "yolo26n-seg": ultralytics("yolo26n-seg.yaml", end2end=True),
    "rtdetr-l": ultralytics("rtdetr-l.yaml"),
}
