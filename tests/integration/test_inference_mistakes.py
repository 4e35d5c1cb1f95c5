"""The inference service with wrong settings, logins, servers and models."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.inference.runtime import load_openvino
from tests.support.inference_pod import Pod, running_pod
from tests.support.ports import accepted
from tests.support.small_models import constant_model
from tests.support.waiting import TIME_FACTOR, wait_for


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"INFER_DEVICE": "FPGA"}, ("INFER_DEVICE", "FPGA", "CPU")),
        ({"INFER_DEVICE": "HETERO:FPGA,CPU"}, ("INFER_DEVICE", "FPGA")),
        ({"INFERENCE_PRECISION": "fp64"}, ("INFERENCE_PRECISION", "bf16")),
        ({"INFER_MODEL_NAME": "no-such-model_FP32"}, ("no-such-model",)),
        ({"INFER_MODEL_PATH": "/nowhere/at/all"}, ("/nowhere/at/all",)),
        ({"MODEL_CACHE_DIR": "/proc/nowhere"}, ("MODEL_CACHE_DIR", "/proc/nowhere")),
        ({"CONFIDENCE_THRESHOLD": "2"}, ("CONFIDENCE_THRESHOLD", "2")),
        ({"QUEUE_URL": "http://127.0.0.1"}, ("QUEUE_URL",)),
        ({"QUEUE_URL": "redis://192.168..1.5:6379"}, ("QUEUE_URL", "192.168..1.5")),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path, settings: dict[str, str], words: tuple[str, ...]
) -> None:
    with running_pod(valkey, tmp_path, shared_models, **settings) as pod:
        assert pod.process.wait(30 * TIME_FACTOR) in (2, 3)
        text = pod.log.read_text()
    assert "Traceback" not in text
    (line,) = [each for each in text.splitlines() if each.startswith("error: ")]
    for word in words:
        assert word in line


@contextmanager
def no_redis() -> Iterator[int]:
    """The port of a server that answers everything with an HTTP error, as the websocket server does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for connection in accepted(listener):
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        with ThreadPoolExecutor(1) as executor:
            executor.submit(serve)
            try:
                yield listener.getsockname()[1]
            finally:
                listener.shutdown(socket.SHUT_RDWR)


def stays_and_says(pod: Pod, words: str) -> str:
    """Checks that a pod does not become ready, stays alive, says why, and stops when asked. Returns its log."""

    def said() -> bool:
        assert pod.process.poll() is None, pod.log.read_text()
        text = pod.log.read_text()
        # Both the queue and the broker have reported it; further attempts must add nothing.
        return words in text and set(pod.missing()) == {"queue", "broker"}

    wait_for(said, 40, words)
    time.sleep(3)
    assert pod.get("/healthz")[0] == 200
    assert pod.stop() == 0
    text = pod.log.read_text()
    assert "Traceback" not in text
    assert 1 <= sum("WARNING" in line for line in text.splitlines()) <= 4, text
    return text


def test_a_wrong_password_is_logged_and_retried(tmp_path: Path, shared_models: Path) -> None:
    with (
        EmbeddedValkey(options=("--requirepass", "right-one")) as server,
        running_pod(server, tmp_path, shared_models, QUEUE_PASSWORD="wr0ng-one") as pod,
    ):
        text = stays_and_says(pod, "its password is wrong")
        assert "wr0ng-one" not in text


def test_another_users_login_is_logged_and_retried(tmp_path: Path, shared_models: Path) -> None:
    acl = tmp_path / "users.acl"
    acl.write_text(render_acl({user: f"secret of {user}" for user in USERS}))
    with (
        EmbeddedValkey(options=("--aclfile", str(acl))) as server,
        running_pod(server, tmp_path, shared_models, QUEUE_USERNAME="camera", QUEUE_PASSWORD="secret of camera") as pod,
    ):
        wait_for(lambda: "does not allow this user" in pod.log.read_text(), 40, "a line about the rights")
        time.sleep(3)
        assert pod.stop() == 0
        text = pod.log.read_text()
        assert "Traceback" not in text
        assert text.count("SCRIPT") <= 2, text


def test_another_servers_port_is_logged_and_retried(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path
) -> None:
    with no_redis() as port, running_pod(valkey, tmp_path, shared_models, QUEUE_URL=f"redis://127.0.0.1:{port}") as pod:
        stays_and_says(pod, f"127.0.0.1:{port}")


def another_shape(folder: Path) -> None:
    """No family: one output of three numbers."""
    load_openvino().save_model(constant_model([1, 3, 64, 64], {"sums": np.zeros(3)}), folder / "model.xml")


def dynamic_batch_that_cannot_be_one(folder: Path) -> None:
    """An SSD by its output, but its graph only works for batches of two."""
    openvino = load_openvino()
    from openvino import opset13 as ops

    image = ops.parameter([-1, 3, 64, 64], dtype=np.float32, name="image")
    halves = ops.variadic_split(image, np.int64(0), np.array([1, 1], np.int64))
    nothing = ops.multiply(ops.reduce_mean(halves.output(0), np.array([0, 1, 2, 3]), keep_dims=False), np.float32(0))
    boxes = ops.add(ops.constant(np.zeros((1, 1, 10, 7), np.float32)), nothing)
    openvino.save_model(openvino.Model([ops.result(boxes)], [image], "two"), folder / "model.xml")


def fewer_boxes_than_scores(folder: Path) -> None:
    """Has the outputs that its adapter expects, but reading them fails."""
    outputs = {
        "detection_boxes": np.zeros((1, 2, 4)),
        "detection_classes": np.zeros((1, 10)),
        "detection_scores": np.full((1, 10), 0.9),
        "num_detections": np.array([10.0]),
    }
    load_openvino().save_model(constant_model([1, 3, 64, 64], outputs), folder / "model.xml")


def pose_without_metadata(folder: Path) -> None:
    """Has the shape of a detector of 52 classes; read as one, it finds every cell with confidence 1.0."""
    output = np.zeros((1, 56, 84), np.float32)
    output[0, 5:] = 30.0
    load_openvino().save_model(constant_model([1, 3, 64, 64], {"output0": output}), folder / "model.xml")


def oriented_boxes(folder: Path) -> None:
    """Has the shape of a detector, and metadata that says otherwise."""
    output = np.zeros((1, 20, 84), np.float32)
    load_openvino().save_model(constant_model([1, 3, 64, 64], {"output0": output}), folder / "model.xml")
    (folder / "metadata.yaml").write_text("task: obb\nstride: 32\nnames: {0: plane}\n")


def without_weights(folder: Path) -> None:
    shutil.copy(folder.parent / "real.xml", folder / "model.xml")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (another_shape, "No adapter is known for this model: it has input image"),
        (dynamic_batch_that_cannot_be_one, "cannot be prepared"),
        (fewer_boxes_than_scores, "cannot be run on CPU: IndexError"),
        (pose_without_metadata, "run from 0 to 30: expected 0 to 1"),
        (oriented_boxes, "an export for the task 'obb', which is not supported"),
        (without_weights, "model.bin"),
    ],
    ids=[
        "another shape",
        "a reshape that fails",
        "a decoding that fails",
        "scores that are none",
        "another task",
        "no weights",
    ],
)
def test_an_unusable_model_ends_the_start_with_one_line(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path, make: Callable[[Path], None], words: str
) -> None:
    name = "face-detection-retail-0005"
    shutil.copy(shared_models / name / "FP32" / f"{name}.xml", tmp_path / "real.xml")
    folder = tmp_path / "model"
    folder.mkdir()
    make(folder)
    with running_pod(
        valkey, tmp_path, shared_models, INFER_MODEL_PATH=str(folder / "model.xml"), INFER_MODEL_NAME=""
    ) as pod:
        assert pod.process.wait(60 * TIME_FACTOR) == 3
        text = pod.log.read_text()
    assert "Traceback" not in text
    (line,) = [each for each in text.splitlines() if each.startswith("error: ")]
    assert words in line
