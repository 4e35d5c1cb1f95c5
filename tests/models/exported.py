"""What the modules beside this one share: makes random weights answer to the image, and writes what was found.

Runs in the exporters' own environment, so nothing of this project may be imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SIDE = 320
KEPT = 30
# (class number, confidence, corners in pixels of the image)
Found = list[tuple[int, float, list[float]]]
# Exports a model into a folder and looks at the images, each with the exporter's own inference.
Make = Callable[[Path, list[str]], None]
# What the exporter finds on an image at a threshold.
Run = Callable[[str, float], Found]


def rgb(image: str) -> Any:
    """The image as PIL reads it."""
    from PIL import Image

    return Image.open(image).convert("RGB")


def batch_of(image: str, side: int = SIDE) -> Any:
    """Four variants of an image, 4 x 3 x side x side, 0..1."""
    import torch

    pixels = torch.tensor(list(rgb(image).resize((side, side)).tobytes()), dtype=torch.float32)
    seen = pixels.reshape(side, side, 3).permute(2, 0, 1) / 255
    return torch.stack([seen, seen.flip(2), seen.flip(1), torch.roll(seen, side // 3, 2)])


def settle_norms(model: Any, run: Callable[[], Any]) -> None:
    """Makes normalisation fit the activations of `run`; random weights else fade to the same numbers everywhere."""
    import torch

    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = None  # the mean over the passes
        layer.reset_running_stats()
        layer.train()
    with torch.no_grad():
        run()
    for layer in norms:
        layer.eval()


def spread(layers: Iterable[Any], run: Callable[[], Any], *, width: float, centre: float | None = None) -> None:
    """Scales the last layers such that each of their outputs differs by `width` over cells or queries.

    `centre` is their mean; None keeps it.
    """
    import torch

    layers = list(layers)
    with torch.no_grad():
        for layer in layers:
            if not layer.weight.any():
                layer.weight.normal_(std=0.05)  # heads of boxes often begin with zeros
    seen: dict[Any, list[Any]] = {layer: [] for layer in layers}
    hooks = [layer.register_forward_hook(lambda one, _, out: seen[one].append(out.detach())) for layer in seen]
    with torch.no_grad():
        run()
        for hook in hooks:
            hook.remove()
        for layer, outputs in seen.items():
            if not outputs:
                continue  # used in training only
            axis = 1 if isinstance(layer, torch.nn.Conv2d) else -1
            rows = torch.cat([one.movedim(axis, -1).reshape(-1, one.shape[axis]) for one in outputs])
            factor = width / max(float(rows.std(dim=0).mean()), 1e-6)
            layer.weight.mul_(factor)
            if centre is not None and layer.bias is not None:
                layer.bias.copy_((layer.bias - rows.mean(dim=0)) * factor + centre)


def write(folder: Path, target: Path, images: list[str], run: Run, lowest: float) -> None:
    """Chooses a threshold between two scores of each image, and writes what is found at it."""
    looks = []
    for image in images:
        seen = [score for _, score, (x_1, y_1, x_2, y_2) in run(image, lowest) if x_2 > x_1 and y_2 > y_1]
        scores = sorted(seen, reverse=True)
        threshold = lowest
        if len(scores) > KEPT // 3:
            # Between the two neighbours that lie furthest apart, so that rounding does not decide.
            at = max(range(KEPT // 3, min(KEPT, len(scores)) - 1), key=lambda index: scores[index] - scores[index + 1])
            if scores[at] == scores[at + 1]:
                continue  # all the same, at the upper end of the sigmoid: no threshold tells them apart
            threshold = (scores[at] + scores[at + 1]) / 2
        found = [one for one in run(image, threshold) if one[1] >= threshold]
        looks.append({"image": image, "threshold": threshold, "found": found})
    (folder / "expected.json").write_text(json.dumps({"model": target.name, "looks": looks}))


def listed(labels: Any, scores: Any, boxes: Any) -> Found:
    """Tensors of the three as plain values."""
    return [
        (int(number), float(score), [float(edge) for edge in box])
        for number, score, box in zip(labels.tolist(), scores.tolist(), boxes.tolist(), strict=True)
    ]
