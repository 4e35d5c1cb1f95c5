"""LibreYOLO's YOLOv7 and v9, with random weights."""

from __future__ import annotations

from pathlib import Path

from tests.models.exported import SIDE, Found, Make, batch_of, listed, settle_norms, spread, write


def yolo9(folder: Path, images: list[str]) -> None:
    """Exported and read by LibreYOLO: a grid of corners."""
    import torch
    from libreyolo import LibreYOLO, LibreYOLO9

    torch.manual_seed(1)
    whole = LibreYOLO9(None, "t", device="cpu")
    model = whole.model.requires_grad_(requires_grad=False).eval()
    batch = batch_of(images[0])
    settle_norms(model, lambda: model(batch))
    last = [
        layer
        for layer in model.modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 80 and layer.kernel_size == (1, 1)
    ]
    spread(last, lambda: model(batch), width=0.6, centre=-2)
    target = Path(whole.export(format="onnx", imgsz=SIDE, output_path=str(folder / "model.onnx"), simplify=False))
    exported = LibreYOLO(str(target), device="cpu")

    def run(image: str, threshold: float) -> Found:
        found = exported(image, conf=threshold, iou=0.45)
        found = (found[0] if isinstance(found, list) else found).boxes
        return listed(found.cls, found.conf, found.xyxy)

    write(folder, target, images, run, 0.01)


MODELS: dict[str, Make] = {"libreyolo-yolo9t": yolo9}
