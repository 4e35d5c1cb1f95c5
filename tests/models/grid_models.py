"""Models that answer for each cell of a grid: YOLOv5, YOLOv7, YOLOX, EfficientDet and SSD, of packages on PyPI."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.models.exported import SIDE, Found, Make, batch_of, listed, rgb, settle_norms, spread, write


def yolov5(folder: Path, images: list[str]) -> None:
    """YOLOv5 from its authors' code, with their export: 1 x rows x (5 + classes)."""
    import torch
    import yolov5
    from yolov5.models.yolo import DetectionModel
    from yolov5.utils.augmentations import letterbox
    from yolov5.utils.general import non_max_suppression, scale_boxes

    torch.manual_seed(1)
    model = DetectionModel(str(Path(yolov5.__file__).parent / "models" / "yolov5n.yaml"))
    _enliven_anchors(model, model.model[-1].m, images[0])
    target = _export(model, folder, ["images"], ["output0"])
    suppress: Any = non_max_suppression
    write(folder, target, images, _yolo(model, letterbox, suppress, scale_boxes, 0.45), 0.05)


def yolov7(form: str) -> Make:
    """YOLOv7-tiny from its authors' code: the plain export, or the one with suppression for ONNX Runtime (n x 7)."""

    def make(folder: Path, images: list[str]) -> None:
        import sas_yolov7
        import torch
        from sas_yolov7.models.yolo import Model
        from yolov7_package.models.experimental import End2End
        from yolov7_package.utils.datasets import letterbox
        from yolov7_package.utils.general import non_max_suppression, scale_coords

        torch.manual_seed(1)
        kind = "deploy" if form == "plain" else "training"
        model = Model(str(Path(sas_yolov7.__file__).parent / "cfg" / kind / "yolov7-tiny.yaml"))
        _enliven_anchors(model, model.model[-1].m, images[0])
        model.fuse().eval()
        run = _yolo(model, letterbox, non_max_suppression, scale_coords, 0.45)
        if form == "plain":
            model.model[-1].concat = True
            target = _export(model, folder, ["images"], ["output"])
            model.model[-1].concat = False
        else:
            whole = End2End(model, 100, 0.45, 0.05, 640, torch.device("cpu")).eval()
            target = _export(whole, folder, ["images"], ["output"])
            model.model[-1].end2end = False
        write(folder, target, images, run, 0.05)

    return make


def _enliven_anchors(model: Any, last: Any, image: str) -> None:
    """Lets objectness and classes of a model with anchors follow the image."""
    import torch

    batch = batch_of(image)
    model.requires_grad_(requires_grad=False).eval()
    settle_norms(model, lambda: model(batch))
    spread(last, lambda: model(batch), width=1.0)
    with torch.no_grad():
        for layer in last:
            bias = layer.bias.view(3, -1)
            bias.fill_(0)


def _yolo(model: Any, letterbox: Any, suppress: Any, to_image: Any, limit: float) -> Callable[[str, float], Found]:
    """Inference as in `detect.py` of YOLOv5 and v7."""

    def run(image: str, threshold: float) -> Found:
        import cv2
        import numpy as np
        import torch

        bgr = cv2.imread(image)
        pixels = letterbox(bgr, SIDE, auto=False)[0][:, :, ::-1].transpose(2, 0, 1)
        with torch.no_grad():
            seen = model(torch.from_numpy(np.ascontiguousarray(pixels)).float()[None] / 255)
        found = suppress(seen[0] if isinstance(seen, (tuple, list)) else seen, threshold, limit)[0]
        found[:, :4] = to_image((SIDE, SIDE), found[:, :4], bgr.shape)
        return listed(found[:, 5], found[:, 4], found[:, :4])

    return run


def yolox(*, decoded: bool) -> Make:
    """YOLOX-nano of pixeltable-yolox, Megvii's code: raw as in the release, or with `--decode-in-inference`."""

    def make(folder: Path, images: list[str]) -> None:
        import cv2
        import torch
        from yolox.config import YoloxConfig
        from yolox.data import ValTransform
        from yolox.models.network_blocks import SiLU
        from yolox.utils import postprocess, replace_module

        def pixels_of(image: str) -> Any:
            return ValTransform(legacy=False)(cv2.imread(image), None, (SIDE, SIDE))[0]

        torch.manual_seed(1)
        model = YoloxConfig.get_named_config("yolox_nano").get_model()
        model.requires_grad_(requires_grad=False).eval()
        model.head.training = model.training = False
        batch = torch.cat([torch.from_numpy(pixels_of(image))[None] for image in images])
        settle_norms(model, lambda: model(batch))
        head = model.head
        spread([*head.reg_preds], lambda: model(batch), width=0.5, centre=0.5)
        spread([*head.cls_preds, *head.obj_preds], lambda: model(batch), width=1.0, centre=0)

        def run(image: str, threshold: float) -> Found:
            bgr = cv2.imread(image)
            head.decode_in_inference = True
            with torch.no_grad():
                seen = postprocess(model(torch.from_numpy(pixels_of(image))[None]), 80, threshold, 0.45)[0]
            if seen is None:
                return []
            ratio = min(SIDE / bgr.shape[0], SIDE / bgr.shape[1])
            return listed(seen[:, 6], seen[:, 4] * seen[:, 5], seen[:, :4] / ratio)

        model = replace_module(model, torch.nn.SiLU, SiLU)
        head.decode_in_inference = decoded
        target = _export(model, folder, ["images"], ["output"])
        write(folder, target, images, run, 0.05)

    return make


def effdet(folder: Path, images: list[str]) -> None:
    """EfficientDet-D0 of effdet with its own suppression: 1 x 100 x 6."""
    import numpy as np
    import torch

    # Its own graph functions cannot be traced by torch's exporter; OpenVINO's exporter needs them of others.
    torch.jit._state.disable()
    try:
        importlib.import_module("effdet")
    finally:
        torch.jit._state.enable()
    from effdet import DetBenchPredict, EfficientDet, get_efficientdet_config
    from effdet.data.transforms import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, ResizePad, resolve_fill_color

    side = 640
    torch.manual_seed(1)
    config = get_efficientdet_config("tf_efficientdet_d0")
    config.image_size = (side, side)
    config.max_detection_points = 500
    model = EfficientDet(config, pretrained_backbone=False).requires_grad_(requires_grad=False).eval()
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    batch = (batch_of(images[0], side)[:1] - mean) / deviation
    settle_norms(model, lambda: model(batch))
    spread([model.box_net.predict.conv_pw], lambda: model(batch), width=0.5)
    spread([model.class_net.predict.conv_pw], lambda: model(batch), width=0.7, centre=-3)
    bench = DetBenchPredict(model).eval()

    def seen(image: str) -> tuple[Any, float]:
        padded, scale = ResizePad(side, fill_color=resolve_fill_color("mean"))(rgb(image), {})
        pixels = torch.from_numpy(np.array(padded)).permute(2, 0, 1).float() / 255
        return ((pixels - mean) / deviation)[None], scale["img_scale"]

    def run(image: str, threshold: float) -> Found:
        pixels, scale = seen(image)
        size = rgb(image).size
        with torch.no_grad():
            found = bench(pixels, {"img_scale": torch.tensor([scale]), "img_size": torch.tensor([size])})[0]
        found = found[found[:, 4] >= threshold]
        return listed(found[:, 5], found[:, 4], found[:, :4])

    target = _export(bench, folder, ["image"], ["detections"], seen(images[0])[0])
    (folder / "model.yaml").write_text("layout: effdet\n")
    write(folder, target, images, run, 0.001)


def torchvision_ssdlite(folder: Path, images: list[str]) -> None:
    """SSDLite of torchvision, whose graph suppresses by itself."""
    import torch
    import torchvision

    torch.manual_seed(1)
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    model.requires_grad_(requires_grad=False).eval()
    batch = batch_of(images[0])
    settle_norms(model, lambda: model(batch))
    for part, width, centre in ((model.head.regression_head, 0.5, None), (model.head.classification_head, 1.5, 0)):
        last = [one for one in part.module_list.modules() if isinstance(one, torch.nn.Conv2d) and one.bias is not None]
        spread(last, lambda: model(batch), width=width, centre=centre)
    model.score_thresh = 0.02

    def run(image: str, threshold: float) -> Found:
        with torch.no_grad():
            found = model([torchvision.transforms.functional.to_tensor(rgb(image))])[0]
        kept = found["scores"] >= threshold
        return listed(found["labels"][kept], found["scores"][kept], found["boxes"][kept])

    target = _export(model, folder, ["images"], ["boxes", "scores", "labels"], batch[:1])
    write(folder, target, images, run, 0.02)


def _export(model: Any, folder: Path, inputs: list[str], outputs: list[str], example: Any = None) -> Path:
    import torch

    target = folder / "model.onnx"
    seen = torch.zeros(1, 3, SIDE, SIDE) if example is None else example
    torch.onnx.export(
        model, (seen,), str(target), input_names=inputs, output_names=outputs, opset_version=17, dynamo=False
    )
    return target


MODELS: dict[str, Make] = {
    "yolov5n-original": yolov5,
    "yolov7-tiny": yolov7("plain"),
    "yolov7-tiny-suppressed": yolov7("end2end"),
    "yolox-nano": yolox(decoded=False),
    "yolox-nano-decoded": yolox(decoded=True),
    "effdet-d0": effdet,
    "torchvision-ssdlite320": torchvision_ssdlite,
}
