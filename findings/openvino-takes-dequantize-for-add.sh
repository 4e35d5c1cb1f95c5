#!/usr/bin/env bash
# One would guess: OpenVINO reads a TensorFlow Lite file whose weights alone are int8. It knows DEQUANTIZE, and it reads
# the files of Google's ai-edge-quantizer with dynamic and static quantisation.
# What happens (OpenVINO 2026.4.1, ai-edge-quantizer 0.10.0, November 2026): "Chosen Builtin Option is not accessible
# for this node", which names neither the operator nor a reason. LiteRT runs the file. A file names an operator in two
# fields; the rule is to take the larger number. For the operators that it adds, the quantizer fills the newer field
# alone. OpenVINO takes the older one, which is 0: ADD. So DEQUANTIZE without options is an ADD without its options.
# Remedy: write the number into both fields, as below, or use dynamic quantisation.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    tensorflow-cpu==2.21.0 ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0 openvino==2026.4.1
cd "$folder"
cat >try.py <<'PYTHON'
from pathlib import Path

import flatbuffers
import numpy as np
import openvino as ov
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

rng = np.random.default_rng(1)
image = rng.random((1, 16, 16, 3), np.float32)
weights = tf.constant(rng.standard_normal((3, 3, 3, 64)).astype(np.float32))


@tf.function(input_signature=[tf.TensorSpec(image.shape, name="image")], autograph=False)
def network(image):
    return {"means": tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(image, weights, 1, "SAME")), [1, 2])}


def quantised(name, how):
    made = quantizer.Quantizer("whole.tflite")
    made.load_quantization_recipe(how)
    made.quantize().export_model(name)


def by_litert(name):
    runs = Interpreter(name)
    runs.allocate_tensors()
    runs.set_tensor(runs.get_input_details()[0]["index"], image)
    runs.invoke()
    return runs.get_tensor(runs.get_output_details()[0]["index"])


def by_openvino(name):
    core = ov.Core()
    return core.compile_model(core.read_model(name), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]


def with_both_fields(name, to):
    model = schema.ModelT.InitFromPackedBuf(Path(name).read_bytes(), 0)
    numbers = [(code.deprecatedBuiltinCode, code.builtinCode) for code in model.operatorCodes]
    for code in model.operatorCodes:
        code.deprecatedBuiltinCode = code.builtinCode  # all are below 127
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    Path(to).write_bytes(builder.Output())
    return numbers


module = tf.Module()
module.network = network
tf.saved_model.save(module, "saved", signatures={"serving_default": network})
Path("whole.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model("saved").convert())
quantised("dynamic.tflite", recipe.dynamic_wi8_afp32())
quantised("weights.tflite", recipe.weight_only_wi8_afp32())
print("openvino", ov.__version__)
exact = by_litert("whole.tflite")
for name in ("whole.tflite", "dynamic.tflite"):
    apart = np.abs(by_openvino(name) - exact).max()
    print(f"OpenVINO runs {name}, at most {apart:.4f} from LiteRT with the whole file")
    assert apart < 0.05
assert np.abs(by_litert("weights.tflite") - exact).max() < 0.05
try:
    by_openvino("weights.tflite")
except RuntimeError as error:
    print("LiteRT runs weights.tflite, OpenVINO does not:", " ".join(str(error).split())[-100:])
else:
    raise SystemExit("OpenVINO runs weights.tflite: the behaviour has changed")
numbers = with_both_fields("weights.tflite", "mended.tflite")
print("its operators by the older and the newer field:", numbers)
assert (0, 6) in numbers, "6 is DEQUANTIZE"
assert np.abs(by_openvino("mended.tflite") - exact).max() < 0.05
print("with the number in both fields OpenVINO runs it")
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" try.py 2>"$folder/log" || {
    tail -5 "$folder/log"
    exit 1
}
echo "as described"
