"""tools/run-ois.sh: the real script and service; a stand-in only for the container engine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.ports import free_port
from tests.support.scripts import TOOLS, recorded_call, recording_engine, run
from tests.support.waiting import TIME_FACTOR, wait_for

SCRIPT = TOOLS / "run-ois.sh"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return recording_engine(tmp_path)


def test_it_becomes_the_service_of_the_virtual_environment(
    environ: dict[str, str], valkey: EmbeddedValkey, shared_models: Path
) -> None:
    settings = {"INFER_MODEL_PATH": str(shared_models), "METRICS_PORT": str(free_port())}
    process = subprocess.Popen(
        [str(SCRIPT), "-t", "face-fp32", "-i", "127.0.0.1", "-o", "127.0.0.1", "-p", str(valkey.port)],
        env=environ | settings,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines: list[str] = []

        def ready() -> bool:
            assert process.stderr is not None
            lines.append(process.stderr.readline())
            assert lines[-1], lines
            return "queue: ready" in lines[-1]

        wait_for(ready, 30, "the line that says it is ready")
        process.terminate()
        assert process.wait(20 * TIME_FACTOR) == 0
    finally:
        process.kill()
        process.communicate()
    assert any("face-detection-retail-0005" in line for line in lines)


def test_the_container_gets_the_model_and_both_addresses(environ: dict[str, str], tmp_path: Path) -> None:
    model = tmp_path / "my model.xml"
    model.touch()
    done = run(
        *("run-ois.sh", "-y", "registry.example/ei", "-t", "car", "-p", str(free_port())),
        *("-i", "127.0.0.1", "-o", "127.0.0.2"),
        environ=environ | {"INFER_MODEL_PATH": str(model), "INFER_DEVICE": "GPU"},
    )
    assert done.returncode == 0, done.stderr
    call = recorded_call(tmp_path)
    assert f"type=bind,source={tmp_path},target=/own-models,readonly" in call.argv
    assert {"BROKER_HOST", "INFER_TYPE", "INFER_DEVICE", "INFER_MODEL_PATH"} <= set(call.values("-e"))
    passed = call.environ
    assert passed["INFER_MODEL_PATH"] == "/own-models/my model.xml"
    assert (passed["QUEUE_HOST"], passed["BROKER_HOST"], passed["INFER_TYPE"]) == ("127.0.0.1", "127.0.0.2", "car")
