"""tools/run-ois.sh: the real script and service; a stand-in only for the container engine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey, free_port
from support.waiting import TIME_FACTOR, wait_for
from tests.support.scripts import TOOLS, recording_engine
from tests.support.scripts import run as run_script

SCRIPT = TOOLS / "run-ois.sh"
SECRET = "pa55-of-the-worker"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return recording_engine(tmp_path)


def run(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run_script("run-ois.sh", *arguments, environ=environ)


def test_help_names_every_option(environ: dict[str, str]) -> None:
    done = run("-h", environ=environ)
    assert done.returncode == 0
    assert all(f"  {option} " in done.stdout for option in ("-t", "-i", "-o", "-p", "-u", "-y", "-h"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-p", "0"), "-p 0"),
        (("-p", "many"), "-p many"),
        (("-z",), "-z"),
        (("-t",), "-t needs a value"),
        (("stray",), "stray"),
        (("-i", "a b"), "a b"),
        (("-p", "1", "-u", "worker"), "QUEUE_PASSWORD"),
    ],
)
def test_a_mistake_is_one_line(environ: dict[str, str], arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments, environ=environ)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


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


def test_the_image_gets_the_settings_the_model_and_no_password_in_argv(environ: dict[str, str], tmp_path: Path) -> None:
    model = tmp_path / "my model.xml"
    model.touch()
    port = str(free_port())
    settings = {"INFER_MODEL_PATH": str(model), "INFER_DEVICE": "GPU", "QUEUE_PASSWORD": SECRET}
    done = run(
        *("-y", "registry.example/ei", "-t", "car", "-i", "127.0.0.1", "-o", "127.0.0.2", "-p", port, "-u", "worker"),
        environ=environ | settings,
    )
    assert done.returncode == 0, done.stderr
    call = json.loads((tmp_path / "call.json").read_text())
    argv, passed = call["argv"], call["environ"]
    assert argv[-1].startswith("registry.example/ei/ei-inference-service:")
    assert SECRET not in " ".join(argv)
    assert f"type=bind,source={tmp_path},target=/own-models,readonly" in argv
    named = {argv[at + 1] for at, each in enumerate(argv) if each == "-e"}
    for name in (
        "QUEUE_HOST",
        "QUEUE_PORT",
        "QUEUE_USERNAME",
        "QUEUE_PASSWORD",
        "BROKER_HOST",
        "INFER_TYPE",
        "INFER_DEVICE",
    ):
        assert name in named
    assert passed["INFER_MODEL_PATH"] == "/own-models/my model.xml"
    assert (passed["QUEUE_HOST"], passed["BROKER_HOST"], passed["INFER_TYPE"]) == ("127.0.0.1", "127.0.0.2", "car")
