"""Exports models with random weights and writes what the exporter's own inference finds. Runs in the exporters' venv.

    exporter.py FOLDER IMAGE [NAME …]

Each model becomes FOLDER/<name>/ with the model file and `expected.json`: the threshold, and boxes (class, confidence,
corners in pixels of the image). Random weights give scores close to each other, so the threshold is chosen such that
some dozens of boxes remain.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["YOLO_OFFLINE"] = "true"
SIDE = 320
KEPT = 30
Found = list[tuple[int, float, list[float]]]


def ultralytics(yaml: str, form: str = "onnx", **options: Any) -> Callable[[Path, str], None]:
    """Exports `yaml`, and lets Ultralytics run the exported file."""

    def make(folder: Path, image: str) -> None:
        import torch
        from ultralytics import RTDETR, YOLO

        torch.manual_seed(1)
        kind = RTDETR if "rtdetr" in yaml else YOLO
        kept = Path.cwd()
        os.chdir(folder)
        try:
            model = kind(yaml)
            if kind is YOLO:
                spread_scores(model.model, image)
            exported = Path(model.export(format=form, imgsz=SIDE, **options)).absolute()
        finally:
            os.chdir(kept)
        target = folder / f"model{exported.suffix}"
        task = model.task
        if exported.is_dir():
            target = exported
        else:
            shutil.move(exported, target)

        def run(threshold: float) -> Found:
            again = kind(str(target)) if kind is RTDETR else kind(str(target), task=task)
            result = again(image, imgsz=SIDE, conf=threshold, iou=options.get("iou", 0.7), verbose=False, rect=False)[0]
            return [
                (int(number), float(score), box)
                for number, score, box in zip(
                    result.boxes.cls.tolist(), result.boxes.conf.tolist(), result.boxes.xyxy.tolist(), strict=True
                )
            ]

        write(folder, target, run, 0.3 if options.get("nms") else 0.01)

    return make


def spread_scores(model: Any, image: str) -> None:
    """Makes random weights answer to the image: normalisation fits the activations, and scores differ between cells."""
    import torch
    from PIL import Image

    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the mean over the passes
            layer.reset_running_stats()
    model.train()
    with torch.no_grad():
        pixels = Image.open(image).convert("RGB").resize((SIDE, SIDE))
        seen = torch.tensor(list(pixels.tobytes()), dtype=torch.float32).reshape(SIDE, SIDE, 3).permute(2, 0, 1) / 255
        batch = torch.stack([seen, seen.flip(2), seen.flip(1), torch.roll(seen, SIDE // 3, 2)])
        model(batch)
        model.eval()
        last = [
            layer
            for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.Conv2d) and "cv3" in name and layer.bias is not None
        ]
        spreads: dict[Any, float] = {}
        for layer in last:
            layer.bias.fill_(0)
            layer.register_forward_hook(lambda one, _, out: spreads.update({one: float(out.std())}))
        model(batch)
        for layer in last:
            layer._forward_hooks.clear()
            layer.weight.mul_(0.4 / max(spreads.get(layer, 1.0), 1e-6))
            layer.bias.fill_(-3)


def detr(name: str) -> Callable[[Path, str], None]:
    """A small model of transformers with random weights, run and read by transformers itself."""

    def make(folder: Path, image: str) -> None:
        import torch
        import transformers
        from PIL import Image

        torch.manual_seed(1)
        if name == "detr":
            config = transformers.DetrConfig(
                use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, num_queries=50, num_labels=91,
                backbone_config=transformers.ResNetConfig(out_features=["stage4"], depths=[1, 1, 1, 1],
                                                              layer_type="basic", hidden_sizes=[32, 64, 128, 256]),
                encoder_layers=1, decoder_layers=2, init_xavier_std=3.0,
            )  # fmt: skip
            model = transformers.DetrForObjectDetection(config).eval()
            processor = transformers.DetrImageProcessor(
                size={"height": SIDE, "width": SIDE}, do_pad=False, do_rescale=True
            )
        else:
            config = transformers.RTDetrConfig(
                num_labels=80, num_queries=100, decoder_layers=2, anchor_image_size=[SIDE, SIDE]
            )
            model = transformers.RTDetrForObjectDetection(config).eval()
            processor = transformers.RTDetrImageProcessor(size={"height": SIDE, "width": SIDE})
        model.requires_grad_(requires_grad=False)
        for layer, weight in model.named_parameters():
            if "class" in layer and weight.dim() == 2:
                weight.mul_(8)  # so that one class of a query stands out
        picture = Image.open(image).convert("RGB")
        inputs = processor(images=picture, return_tensors="pt")["pixel_values"]
        target = folder / "model.onnx"

        class Two(torch.nn.Module):
            def forward(self, pixel_values: Any) -> Any:
                found = model(pixel_values)
                return found.logits, found.pred_boxes

        torch.onnx.export(
            Two(), (inputs,), str(target), input_names=["pixel_values"], output_names=["logits", "pred_boxes"],
            opset_version=17, dynamo=False,
        )  # fmt: skip

        def run(threshold: float) -> Found:
            with torch.no_grad():
                outputs = model(inputs)
            size = [(picture.height, picture.width)]
            found = processor.post_process_object_detection(outputs, threshold=threshold, target_sizes=size)[0]
            return [
                (int(number), float(score), box)
                for number, score, box in zip(
                    found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True
                )
            ]

        write(folder, target, run, 0.001)

    return make


def write(folder: Path, target: Path, run: Callable[[float], Found], lowest: float) -> None:
    """Chooses a threshold between two scores, and writes what is found at it."""
    scores = sorted((score for _, score, _ in run(lowest)), reverse=True)
    threshold = lowest
    if len(scores) > KEPT:
        # Between the two neighbours that lie furthest apart, so that rounding does not decide.
        at = max(range(10, KEPT), key=lambda index: scores[index] - scores[index + 1])
        threshold = (scores[at] + scores[at + 1]) / 2
    found = [one for one in run(threshold) if one[1] >= threshold]
    document = {"model": target.name, "threshold": threshold, "found": found}
    (folder / "expected.json").write_text(json.dumps(document))


MODELS: dict[str, Callable[[Path, str], None]] = {
    "yolov5nu": ultralytics("yolov5n.yaml"),
    "yolov8n": ultralytics("yolov8n.yaml"),
    "yolov8n-dynamic": ultralytics("yolov8n.yaml", dynamic=True),
    "yolov8n-half": ultralytics("yolov8n.yaml", half=True),
    "yolov8n-openvino": ultralytics("yolov8n.yaml", "openvino"),
    "yolov8n-litert": ultralytics("yolov8n.yaml", "litert"),
    "yolov8n-nms": ultralytics("yolov8n.yaml", nms=True, conf=0.3),
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
    "transformers-detr": detr("detr"),
    "transformers-rtdetr": detr("rtdetr"),
}
# With random weights these two score all queries alike, and chance decides which boxes pass: exported only by name.
BY_NAME_ONLY = ("transformers-detr", "transformers-rtdetr")


def main(folder: Path, image: str, names: list[str]) -> int:
    """Exports all models, or the named ones, and prints which failed."""
    failed = 0
    for name in names or [each for each in MODELS if each not in BY_NAME_ONLY]:
        at = folder / name
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        try:
            MODELS[name](at, image)
            print(f"{name}: exported", flush=True)
        except Exception:  # noqa: BLE001  one exporter's mistake must not hide the others
            failed += 1
            print(f"{name}: the exporter failed: {traceback.format_exc().splitlines()[-1]}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), str(Path(sys.argv[2]).absolute()), sys.argv[3:]))
