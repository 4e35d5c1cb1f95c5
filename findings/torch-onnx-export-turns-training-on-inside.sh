#!/usr/bin/env bash
# Expected: torch.onnx.export leaves a model as it was, since it only reads it.
# Seen (torch 2.14.1, dynamo=False, November 2026): it remembers one flag, that of the outermost module, and sets that
# on all modules at the end. A wrapper module around a network in eval() is itself in training mode, as every new module
# is (exporters with their own suppression use such wrappers, as YOLOv7's End2End). The exported file is right. But the
# network is then in training mode: batch normalisation uses the statistics of the image, and changes its running ones
# with each call. A comparison of the export with the network shows "a broken export", or no boxes at all.
# Remedy: call eval() on the wrapper too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.14.1 onnx==1.23.2 numpy==2.3.5
"$folder/venv/bin/python" - "$folder/model.onnx" <<'PYTHON'
import sys
import warnings

import torch

warnings.filterwarnings("ignore")
torch.manual_seed(1)


def export(wrapper_in_eval):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).eval()
    wrapper = torch.nn.Sequential(network, torch.nn.Sigmoid())
    if wrapper_in_eval:
        wrapper.eval()
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        before = network(image)
        torch.onnx.export(wrapper, (image,), sys.argv[1], dynamo=False)
        apart = float((network(image) - before).abs().max())
    print(f"wrapper in eval: {wrapper_in_eval}; network in training afterwards: {network[1].training}; "
          f"its outputs moved by {apart:.3f}")
    return network[1].training, apart


print("torch", torch.__version__)
training, apart = export(wrapper_in_eval=False)
assert training and apart > 0.1, "the network is as before: the behaviour has changed"
training, apart = export(wrapper_in_eval=True)
assert not training and apart == 0
print("as described: the export turned training on inside")
PYTHON
