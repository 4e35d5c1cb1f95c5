#!/usr/bin/env bash
# One would guess: planes of brightness and colour that come out of a JPEG (decoded without conversion, to save time)
# can be handed to the converters that pipelines have for such planes: OpenCV's COLOR_YUV2RGB_I420, and OpenVINO's
# PrePostProcessor with I420_THREE_PLANES, which converts them inside the model.
# What happens (OpenCV 5.0.0, OpenVINO 2026.4.1, November 2026): both take all planes for limited range (16 to 235), as
# in video. A JPEG has full range (JFIF). Both have no option for it, and no error: dark parts go black, bright ones
# white, and colours are up to 17 of 255 levels off. Detections stay plausible, with other confidences, and a comparison
# of the two libraries shows that they agree.
# Remedy: bring the planes to limited range first (219/255 and 224/255), or convert them yourself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check opencv-python-headless==5.0.0.93 openvino==2026.4.1 \
    pillow==13.0.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import io

import cv2
import numpy as np
import openvino as ov
from openvino import opset13
from openvino.preprocess import ColorFormat, PrePostProcessor
from PIL import Image

PATCHES = np.array([[40, 40, 40], [220, 220, 220], [190, 60, 60], [60, 150, 80]], np.uint8)
SIZE, EACH = 64, 16
pixels = np.repeat(np.repeat(PATCHES[None], SIZE, 0), EACH, 1)


def planes():
    """The JPEG's own Y, Cb and Cr, with colours at half the size, as `4:2:0` has them."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=98, subsampling="4:4:4")
    picture = Image.open(buffer)
    picture.draft("YCbCr", None)  # no conversion to RGB
    assert picture.mode == "YCbCr"
    own = np.asarray(picture)
    return own[..., 0], own[::2, ::2, 1], own[::2, ::2, 2]


def shown(rgb):
    return np.asarray(rgb).astype(int)[SIZE // 2, EACH // 2 :: EACH]


def by_opencv(y, cb, cr):
    packed = np.concatenate([plane.ravel() for plane in (y, cb, cr)]).reshape(SIZE * 3 // 2, SIZE)
    return shown(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420))


def by_openvino(y, cb, cr):
    picture = opset13.parameter([1, SIZE, SIZE, 3], np.float32)
    steps = PrePostProcessor(ov.Model([opset13.result(opset13.relu(picture))], [picture]))
    steps.input().tensor().set_element_type(ov.Type.u8).set_color_format(
        ColorFormat.I420_THREE_PLANES, ["y", "cb", "cr"]
    )
    steps.input().preprocess().convert_color(ColorFormat.RGB).convert_element_type(ov.Type.f32)
    model = ov.Core().compile_model(steps.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return shown(model([plane[None, ..., None].copy() for plane in (y, cb, cr)])[0][0])


def by_formula(y, cb, cr):
    """JFIF's conversion: BT.601, full range."""
    y, cb, cr = y[::2, ::2].astype(float), cb.astype(float) - 128, cr.astype(float) - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 2)
    return np.clip(rgb, 0, 255).round().astype(int)[SIZE // 4, EACH // 4 :: EACH // 2]


own = planes()
print("OpenCV", cv2.__version__, "OpenVINO", ov.__version__)
print("drawn:   ", PATCHES.tolist())
found = {}
for name, convert in (("formula", by_formula), ("OpenCV", by_opencv), ("OpenVINO", by_openvino)):
    colours = convert(*own)
    found[name] = int(np.abs(colours - PATCHES).max())
    print(f"{name + ':':9}", colours.tolist(), f"largest error {found[name]}")
assert found["formula"] <= 3, "these are not the planes of the JPEG"
assert found["OpenCV"] > 10, "OpenCV takes full range now: the behaviour has changed"
assert found["OpenVINO"] > 10, "OpenVINO takes full range now: the behaviour has changed"
limited = [(plane.astype(float) - offset) * scale + offset for plane, offset, scale in
           zip(own, (0, 128, 128), (219 / 255, 224 / 255, 224 / 255), strict=True)]
limited = [np.round(limited[0] + 16), *map(np.round, limited[1:])]
for convert in (by_opencv, by_openvino):
    assert np.abs(convert(*(plane.astype(np.uint8) for plane in limited)) - PATCHES).max() <= 4, "the remedy fails"
print("as described: the full range of a JPEG is stretched again")
PYTHON
