"""What a service does not load at start, and that the real module is loaded where somebody asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Prefixes of modules that no service needs before its first request or frame.
NOWHERE = (
    *("redis.cluster", "redis.asyncio.cluster", "redis.keyspace_notifications", "redis.asyncio.keyspace_notifications"),
    *("redis.sentinel", "redis.asyncio.sentinel"),
    *("elastic_inference.adapters.redis_cluster", "elastic_inference.base.zone_counters"),
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
PYDANTIC = ("pydantic_core", "pydantic.main")
TORNADO = ("curses", "pickle", "multiprocessing", "csv", "gettext")
PRODUCERS = (
    *(*PYDANTIC, "cv2", "PIL", "tornado", "openvino", *SINKS),
    *("elastic_inference.domain.pool", "elastic_inference.domain.events", "elastic_inference.adapters.camera_registry"),
)
CASES = {
    "relay.websocket_service": (
        *PYDANTIC,
        *DRAWING,
        *MODELS,
        *SINKS,
        "multiprocessing",
        "tornado",
        "msgpack",
        "elastic_inference.domain.pool",
    ),
    "gateway.gateway_service": (*PYDANTIC, *DRAWING, *MODELS, *SINKS, *REST, *TORNADO),
    "produce.file_service": PRODUCERS,
    "produce.camera_service": PRODUCERS,
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
        "print(logging.handlers.QueueHandler.__module__)"
    )
    found = run(code, "gateway.gateway_service")
    assert found == ["redis.cluster", "urllib.request", "True", "wsgiref.simple_server", "logging.handlers"]


def test_a_pod_loads_no_documents_of_the_gateway() -> None:
    unwanted = (*REST, *SINKS, "elastic_inference.domain.camera", "elastic_inference.domain.events", "PIL", "openvino")
    code = (
        "import elastic_inference.flows.inference.inference_service\n"
        f"print(*(name for name in sys.modules if name.startswith({unwanted!r})))"
    )
    assert run(code, "inference.inference_service") == []


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
