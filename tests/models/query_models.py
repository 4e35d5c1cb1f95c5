"""DETR and its relatives, of transformers, RF-DETR's own package and pydfine, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.models.exported import SIDE, Found, Make, batch_of, listed, rgb, settle_norms, spread, write

SHARPER = 3


def transformers_model(kind: str) -> Make:
    """A small model of transformers, run and read by transformers itself; exported as optimum names its outputs."""

    def make(folder: Path, images: list[str]) -> None:
        import torch

        torch.manual_seed(1)
        model, processor, heads, corners = _build(kind)
        model.requires_grad_(requires_grad=False).eval()
        inputs = torch.cat([processor(images=rgb(image), return_tensors="pt")["pixel_values"] for image in images])
        _enliven(model, lambda: model(inputs), heads(model), corners(model))
        target = folder / "model.onnx"

        class Two(torch.nn.Module):
            def forward(self, pixel_values: Any) -> Any:
                found = model(pixel_values)
                return found.logits, found.pred_boxes

        torch.onnx.export(
            Two(), (inputs[:1],), str(target), input_names=["pixel_values"], output_names=["logits", "pred_boxes"],
            opset_version=17, dynamo=False,
        )  # fmt: skip

        def run(image: str, threshold: float) -> Found:
            seen = rgb(image)
            with torch.no_grad():
                outputs = model(processor(images=seen, return_tensors="pt")["pixel_values"])
            size = [(seen.height, seen.width)]
            found = processor.post_process_object_detection(outputs, threshold=threshold, target_sizes=size)[0]
            return listed(found["labels"], found["scores"], found["boxes"])

        write(folder, target, images, run, 0.001)

    return make


def _build(kind: str) -> Any:
    """(model, processor, its class layers, its box layers)."""
    import transformers as tf

    backbone = tf.ResNetConfig(
        out_features=["stage2", "stage3", "stage4"], depths=[1, 1, 1, 1], layer_type="basic",
        hidden_sizes=[32, 64, 128, 256],
    )  # fmt: skip
    size = {"height": SIDE, "width": SIDE}
    if kind == "detr":
        backbone.out_features = ["stage4"]
        config = tf.DetrConfig(
            use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone,
            num_queries=50, num_labels=91, encoder_layers=1, decoder_layers=2,
        )  # fmt: skip
        model = tf.DetrForObjectDetection(config)
        processor = tf.DetrImageProcessor(size=size, do_pad=False)
        return (
            model,
            processor,
            lambda made: [made.class_labels_classifier],
            lambda made: [made.bbox_predictor.layers[-1]],
        )
    options = {
        "num_labels": 80, "num_queries": 100, "decoder_layers": 2, "anchor_image_size": None,
        "encoder_in_channels": [64, 128, 256],
        "backbone_config": tf.RTDetrResNetConfig(
            out_features=["stage2", "stage3", "stage4"], depths=[1, 1, 1, 1], layer_type="basic", embedding_size=32,
            hidden_sizes=[32, 64, 128, 256],
        ),
    }  # fmt: skip
    if kind == "rtdetr":
        config = tf.RTDetrConfig(**options)
        model, processor = tf.RTDetrForObjectDetection(config), tf.RTDetrImageProcessor(size=size)
    elif kind == "rtdetrv2":
        config = tf.RTDetrV2Config(**options)
        model, processor = tf.RTDetrV2ForObjectDetection(config), tf.RTDetrImageProcessor(size=size)
    else:
        config = tf.DFineConfig(num_labels=80, num_queries=100, decoder_layers=2, anchor_image_size=None)
        model, processor = tf.DFineForObjectDetection(config), tf.RTDetrImageProcessor(size=size)
    return (
        model,
        processor,
        lambda made: [made.model.enc_score_head, made.model.decoder.class_embed[-1]],
        lambda made: [made.model.enc_bbox_head.layers[-1], made.model.decoder.bbox_embed[-1].layers[-1]],
    )


def _enliven(model: Any, run: Any, heads: list[Any], corners: list[Any]) -> None:
    """Lets scores and boxes of the queries follow the image."""
    import torch

    settle_norms(model, run)
    with torch.no_grad():
        for name, layer in model.named_modules():
            # Attention to single places instead of the mean of all.
            if isinstance(layer, torch.nn.Linear) and ("q_proj" in name or "k_proj" in name):
                layer.weight.mul_(SHARPER)
    spread(corners, run, width=0.6)
    spread(heads, run, width=1.5, centre=-3)


def rfdetr(folder: Path, images: list[str]) -> None:
    """RF-DETR-nano from its authors' package, exported and decoded by that package."""
    import torch
    from rfdetr import RFDETRNano

    torch.manual_seed(1)
    whole = RFDETRNano(pretrain_weights=None, device="cpu", resolution=SIDE, num_queries=100)
    model = whole.model.model.requires_grad_(requires_grad=False).eval()
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (whole.means, whole.stds))
    batch = (batch_of(images[0])[:2] - mean) / deviation

    def look() -> Any:
        return model(batch)

    spread([model.bbox_embed.layers[-1]], look, width=0.6)
    spread([model.class_embed, *model.transformer.enc_out_class_embed], look, width=1.5, centre=-3)
    whole.export(output_dir=str(folder), shape=(SIDE, SIDE), verbose=False)
    target = next(folder.glob("*.onnx"))

    def run(image: str, threshold: float) -> Found:
        found = whole.predict(rgb(image), threshold=threshold, shape=(SIDE, SIDE))
        return listed(found.class_id, found.confidence, found.xyxy)

    write(folder, target, images, run, 0.001)


def pydfine(folder: Path, images: list[str]) -> None:
    """D-FINE-n of pydfine, a port of the authors' code, with its export: labels, boxes, scores."""
    import torch
    from dfine import DFINE

    torch.manual_seed(1)
    whole = DFINE("n", backbone_pretrained=False, imgsz=SIDE, device="cpu")
    model = whole.model.requires_grad_(requires_grad=False).eval()
    batch = batch_of(images[0])
    settle_norms(model, lambda: model(batch))
    decoder = model.decoder
    spread([decoder.enc_bbox_head.layers[-1], decoder.dec_bbox_head[-1].layers[-1]], lambda: model(batch), width=0.6)
    spread([decoder.enc_score_head, decoder.dec_score_head[-1]], lambda: model(batch), width=1.5, centre=-3)
    target = Path(whole.export(file=folder / "model.onnx"))

    def run(image: str, threshold: float) -> Found:
        found = whole.predict(image, conf=threshold)[0].boxes
        return listed(found.cls, found.conf, found.xyxy)

    write(folder, target, images, run, 0.001)


MODELS: dict[str, Make] = {
    "transformers-detr": transformers_model("detr"),
    "transformers-rtdetr": transformers_model("rtdetr"),
    "transformers-rtdetrv2": transformers_model("rtdetrv2"),
    "transformers-dfine": transformers_model("dfine"),
    "rf-detr-nano": rfdetr,
    "d-fine-n": pydfine,
}
