"""Models whose inputs and outputs are quantised, as OpenVINO reads them from TensorFlow Lite."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.small_models import Runner, constant_model

from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import AdapterOptions, adapt
from elastic_inference.flows.inference.adapters.quantised import without_quantised_ports
from elastic_inference.flows.inference.engine import compile_engine
from elastic_inference.flows.inference.runtime import load_openvino, make_core

SIDE, CELLS = 64, 84
BOX = (24.0, 24.0, 16.0, 32.0)
# The numbers that the lowest and the highest whole number of the output stand for.
LOW, HIGH = -1.0, 64.0


# One operator, QUANTIZE, with its number as ai-edge-quantizer writes it: in the newer of the two fields alone.
UNREAD = (
    b"c-nQ4Jq`jP5QV>WDKL_iVv8-jh3zI<Sy@<EXsJi=1Qs5~TjDSbt|kh3%<p>x48U=>UqeSvB;Y0EBtjw>1ltB$v5i*XnNn)39^Nb`"
    b"XUQG1rr>0pp1eA>xp!guCC@pU?{pVV1wZ1M;PIs!S&HXPcO@80>wMHZ1`X;Ry>Y7^A9LWo$@Xe*t#8g~P0MTFq!q01@`p41mA6T"
    b"SdlS3>S3eAs"
)


def quantised(kind: Any) -> Any:
    """YOLO's grid: a box, and a score that is 0.6 of the image's mean, which is 0..1."""
    openvino = load_openvino()
    from openvino import opset13 as ops

    ends = [np.float32(end) for end in (np.iinfo(kind).min, np.iinfo(kind).max)]
    image = ops.parameter([1, SIDE, SIDE, 3], dtype=kind, name="image")
    image.output(0).set_names({"image"})
    numbers = ops.convert(ops.transpose(image, np.array([0, 3, 1, 2])), np.float32)
    real = ops.fake_quantize(numbers, *ends, np.float32(0), np.float32(1), 256)
    mean = ops.reduce_mean(real, np.array([0, 1, 2, 3]), keep_dims=False)
    values = np.zeros((1, 6, CELLS), np.float32)
    values[0, :4, 0] = BOX
    scores = np.zeros((1, 6, CELLS), np.float32)
    scores[0, 4, 0] = 0.6
    found = ops.add(ops.constant(values), ops.multiply(ops.constant(scores), mean))
    output = ops.convert(ops.fake_quantize(found, np.float32(LOW), np.float32(HIGH), *ends, 256), kind)
    output.output(0).set_names({"output0"})
    return openvino.Model([ops.result(output)], [image], "quantised")


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_they_mean_what_they_meant_before_the_model_was_quantised(kind: Any) -> None:
    model = quantised(kind)
    without_quantised_ports(model)
    ran = Runner(*adapt(model, None, AdapterOptions(labels=("cat", "dog"))))
    step = (HIGH - LOW) / 255
    for level in (255, 128):
        (found,) = ran.outputs(np.full((SIDE, SIDE, 3), level, np.uint8))
        assert found[0, :4, 0] == pytest.approx(BOX, abs=step)
        assert found[0, 4, 0] == pytest.approx(0.6 * level / 255, abs=step)


def test_a_file_that_openvino_cannot_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(zlib.decompress(base64.b85decode(UNREAD)))
    core = make_core(CpuAllowance(None, 1))
    with pytest.raises(ModelError, match=r"ai-edge-quantizer.*before it was quantised"):
        compile_engine(core, file, None, AdapterOptions(), "CPU")


def test_other_models_stay_as_they_are() -> None:
    model = constant_model([1, 3, SIDE, SIDE], {"output0": np.zeros((1, 6, CELLS), np.float32)})
    before = [node.get_friendly_name() for node in model.get_ordered_ops()]
    without_quantised_ports(model)
    assert [node.get_friendly_name() for node in model.get_ordered_ops()] == before
