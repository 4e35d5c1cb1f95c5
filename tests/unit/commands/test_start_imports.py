"""What a service does not load at start, and that the real module is loaded where somebody asks for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Prefixes of modules that no service needs before its first request or frame.
NOWHERE = (
    *("redis.cluster", "redis.asyncio.cluster", "redis.keyspace_notifications", "redis.asyncio.keyspace_notifications"),
    *("redis.sentinel", "redis.asyncio.sentinel"),
    "elastic_inference.base.zone_counters",
    *("importlib.metadata._", "urllib.request", "wsgiref.simple_server", "PIL", "yaml"),
)
DRAWING = ("cv2", "numpy.lib", "simplejpeg", "openvino")
MODELS = (
    "elastic_inference.domain.model_wish",
    "elastic_inference.domain.camera_documents",
    "elastic_inference.domain.events",
)
SINKS = ("elastic_inference.domain.sink_",)
REST = (
    "elastic_inference.flows.gateway.routes",
    "elastic_inference.domain.rest_events",
    "elastic_inference.domain.leases",
    *("elastic_inference.domain.rest", "elastic_inference.domain.pool", "elastic_inference.flows.gateway.documents"),
)
CLUSTER = ("elastic_inference.adapters.redis_cluster",)
PYDANTIC = ("pydantic_core", "pydantic.main")
TORNADO = ("curses", "pickle", "multiprocessing", "csv", "gettext")
ASYNCIO = ("asyncio", "redis.asyncio", "concurrent")
PRODUCERS = (
    *(*PYDANTIC, *CLUSTER, "cv2", "PIL", "tornado", "openvino", *SINKS),
    *("elastic_inference.domain.pool", "elastic_inference.domain.events", "elastic_inference.adapters.camera_registry"),
)
CASES = {
    "relay.websocket_service": (
        *PYDANTIC,
        *CLUSTER,
        *DRAWING,
        *MODELS,
        *SINKS,
        "multiprocessing",
        "tornado",
        "msgpack",
        "elastic_inference.domain.pool",
    ),
    "gateway.gateway_service": (*PYDANTIC, *CLUSTER, *DRAWING, *MODELS, *SINKS, *REST, *TORNADO),
    "produce.file_service": (*PRODUCERS, *ASYNCIO),
    "produce.camera_service": PRODUCERS,
    "inference.inference_service": (
        *(*PYDANTIC, *ASYNCIO, *SINKS, *REST, "openvino", "tornado", "numpy._typing"),
        *("elastic_inference.domain.camera", "elastic_inference.domain.events", "elastic_inference.domain.tracks"),
        *("elastic_inference.domain.model_views", "elastic_inference.flows.inference.adapters.layouts"),
        *("elastic_inference.flows.inference.adapters.yolo", "elastic_inference.flows.inference.adapters.ssd"),
        *("html.entities", "bz2", "gzip", "tempfile", "zipfile", "difflib"),
    ),
}


def run(code: str, service: str = "") -> list[str]:
    """The words that `code` prints in a process of its own, as a service starts it."""
    begin = f"import sys; from elastic_inference.commands.left_out import leave_out; leave_out({service!r})\n"
    done = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("module", CASES)
def test_a_service_starts_without(module: str) -> None:
    unwanted = (*NOWHERE, *CASES[module])
    code = (
        f"import elastic_inference.flows.{module}\nprint(*sorted(n for n in sys.modules if n.startswith({unwanted!r})))"
    )
    assert run(code, module) == []


def test_what_was_left_out_is_there_for_who_asks() -> None:
    code = (
        "import redis, redis.cluster, urllib.request, importlib.metadata, wsgiref.simple_server, logging.handlers\n"
        "print(redis.cluster.RedisCluster.__module__, urllib.request.Request.__module__)\n"
        "print(importlib.metadata.version('redis') == redis.__version__, wsgiref.simple_server.WSGIServer.__module__)\n"
        "print(logging.handlers.QueueHandler.__module__)\n"
        "import gzip, html.entities, mimetypes, shutil, urllib.error\n"
        "print(gzip.GzipFile.__module__, html.escape('<'), mimetypes.guess_type('a.html')[0])\n"
        "print(shutil.rmtree.__module__, urllib.error.HTTPError.__module__)"
    )
    found = run(code, "gateway.gateway_service")
    late = ["gzip", "&lt;", "text/html", "shutil", "urllib.error"]
    assert found == ["redis.cluster", "urllib.request", "True", "wsgiref.simple_server", "logging.handlers", *late]


def test_a_pod_that_runs_a_model_of_the_catalogue_loads_no_pydantic(tmp_path: Path) -> None:
    """Finding it, reading that there is no wish, and writing a result."""
    (tmp_path / "face-detection-retail-0005" / "FP32").mkdir(parents=True)
    for suffix in (".xml", ".bin"):
        (tmp_path / "face-detection-retail-0005" / "FP32" / f"face-detection-retail-0005{suffix}").write_text("x")
    code = (
        "import elastic_inference.flows.inference.inference_service\n"
        "from pathlib import Path\n"
        "from elastic_inference.adapters.catalogue import find_model\n"
        "from elastic_inference.domain.model_wish import PodModel, read_wish\n"
        "from elastic_inference.domain.result import Detection, Result, result_json\n"
        f"spec = find_model('face-detection-retail-0005_FP32', Path({str(tmp_path)!r}), 'face')\n"
        "found = Detection(spec.name, 1, 0.5, (0, 0, 1, 1))\n"
        "result = Result(stream='a:face:inferred', type='face', model='m', precision='FP32', device='CPU', order=1,\n"
        "    seq=None, ts=None, width=9, height=9, pod='p', age_ms=0, queue_ms=0, infer_ms=0, detections=(found,))\n"
        "assert b'0005' in result_json(result) and read_wish(None) is None and PodModel() == PodModel()\n"
        f"print(*(name for name in sys.modules if name.startswith({PYDANTIC!r})))"
    )
    assert run(code, "inference.inference_service") == []


def test_operators_of_openvino_are_loaded_when_they_are_used() -> None:
    code = (
        "from elastic_inference.flows.inference.runtime import load_openvino\n"
        "openvino = load_openvino()\n"
        "print(*(name for name in sys.modules if name.startswith('openvino.opset')))\n"
        "from openvino import opset13 as ops\n"
        "print(ops.constant(1.0).get_type_name(), openvino.opset1.parameter([1]).get_type_name())\n"
        "import openvino.opset8; print(openvino.opset8.relu.__name__)"
    )
    assert run(code) == ["Constant", "Parameter", "relu"]


def test_numpy_and_opencv_start_no_threads() -> None:
    code = "import os, numpy, cv2\nprint(len(os.listdir('/proc/self/task')))"
    assert run(code) == ["1"]


def test_a_stand_in_says_why_it_cannot_be_used() -> None:
    code = "import redis\ntry: redis.RedisCluster()\nexcept ImportError as error: print(error)"
    assert " ".join(run(code)).startswith("redis.cluster.RedisCluster was left out at start")


def test_plugins_and_metadata_are_asked_for_by_nobody() -> None:
    code = (
        "import redis\n"
        "from pydantic import BaseModel\n"
        "from elastic_inference.adapters.redis_connection import connect, connect_async\n"
        "from elastic_inference.base.config import RedisTarget, Secret\n"
        "target = RedisTarget(Secret('redis://127.0.0.1:1'))\n"
        "made = [make(target).connection_pool.make_connection() for make in (connect, connect_async)]\n"
        "print(*(each.driver_info.lib_version == redis.__version__ for each in made))\n"
        "print(*sorted(n for n in sys.modules if n.startswith('importlib.metadata._')))"
    )
    assert run(code) == ["True", "True"]
