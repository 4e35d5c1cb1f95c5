"""`ei-status` with a server that is not Redis, foreign keys in Redis, a `kubectl`, and contradictory options."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from elastic_inference.commands.demo import main as demo_main
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.commands.status.cluster import EVENTS, GATEWAY, HOUSEKEEPING, RELAY
from elastic_inference.commands.status.main import running_demo
from elastic_inference.domain import keys
from tests.conftest import REPOSITORY
from tests.support.scripts import web_server
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for


@pytest.fixture
def web_port() -> Iterator[int]:
    with web_server() as port:
        yield port


def status(
    *arguments: str, folder: Path | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "elastic_inference.commands.status.main", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, **(environ or {})},
    )


class Cluster:
    """A fake `kubectl` of a healthy cluster, with an HPA for its one type."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the program and its answers."""
        self.folder = folder
        (folder / "bin").mkdir()
        program = folder / "bin" / "kubectl"
        # the folder "says" holds an answer for each kind, "refuses" an error message
        program.write_text(
            f"""#!/bin/sh
echo "$*" >> {folder}/asked
for kind in deployments pods hpa scaledobjects exec; do
    case "$*" in *" get $kind"* | *" $kind "*)
        cat {folder}/refuses/$kind >&2 2>/dev/null && exit 1
        cat {folder}/says/$kind
        exit ;;
    esac
done
"""
        )
        program.chmod(0o755)
        for name in ("says", "refuses"):
            (folder / name).mkdir()
        names = ("ei-sample-people-deployment", "ei-infer-people-app", RELAY, GATEWAY, HOUSEKEEPING)
        self.says("deployments", [{"metadata": {"name": name}, **READY} for name in names])
        self.says("pods", [])
        self.says("hpa", [autoscaler("own")])
        self.refuses("scaledobjects", 'error: the server doesn\'t have a resource type "scaledobjects"')
        links = ("camera", "queue", "worker", "broker", "relay", "gateway", "housekeeping")
        rows = [{"link": link, "state": "ok", "text": "fine", "advice": ""} for link in links]
        (folder / "says" / "exec").write_text(json.dumps({"findings": rows}))

    def says(self, kind: str, items: list[dict[str, Any]]) -> None:
        (self.folder / "says" / kind).write_text(json.dumps({"items": items}))
        (self.folder / "refuses" / kind).unlink(missing_ok=True)

    def refuses(self, kind: str, words: str) -> None:
        (self.folder / "refuses" / kind).write_text(words)

    def status(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return status(*arguments, folder=self.folder, environ={"PATH": path, "KUBECONFIG": "/nonexistent"})


READY = {"spec": {"replicas": 1, "selector": {"matchLabels": {}}}, "status": {"readyReplicas": 1}}


def autoscaler(name: str) -> dict[str, Any]:
    target = {"kind": "Deployment", "name": "ei-infer-people-app"}
    return {"metadata": {"name": name, "namespace": "video"}, "spec": {"scaleTargetRef": target}}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[None]:
    """A demo that seems to run in the folder: its file, and a process of its name."""
    (tmp_path / ".demo").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()", "ei-demo"], stdin=subprocess.PIPE) as process:
        state = {"pid": process.pid, "gateway": "http://localhost:1", "queue_port": 2, "websocket_port": 3}
        file = tmp_path / ".demo" / "demo.json"
        file.write_text(json.dumps(state))
        wait_for(lambda: running_demo(file), 10, "the demo to be found")
        yield
        process.communicate(b"\n")


def test_the_dashboards_port_is_not_mistaken_for_the_queues(web_port: int) -> None:
    done = status("-q", "127.0.0.1", "-p", str(web_port))
    assert done.returncode == 1, done.stderr
    assert "answers HTTP: 31002 is the dashboard, the queue is 31003" in done.stdout
    assert "First broken link: queue. Give the queue's port with -p 31003." in done.stdout


def test_a_foreign_key_is_reported_without_a_traceback(valkey: EmbeddedValkey) -> None:
    with redis.Redis(port=valkey.port) as client:
        client.set(keys.tokens("people"), "x")
        client.rpush(keys.legacy_queue("people"), "x")
    done = status("-q", "127.0.0.1", "-p", str(valkey.port))
    assert done.returncode == 1, done.stderr
    assert "WRONGTYPE" in done.stdout


@pytest.mark.parametrize("url", ["ws://127.0.0.1:99999", "127.0.0.1:31611", "ws://[::1"])
def test_a_wrong_websocket_address_gives_one_line(url: str) -> None:
    done = status("-w", url)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: -w='{url}' is not accepted: expected ws://host:port")
    assert done.stderr.count("\n") == 1


def test_a_killed_demo_does_not_count(tmp_path: Path) -> None:
    state = tmp_path / "demo.json"
    assert running_demo(state) is None
    demo = {"pid": os.getpid(), "gateway": "http://localhost:1", "queue_port": 2, "websocket_port": 3}
    # This process is not a demo: the command line decides.
    state.write_text(json.dumps(demo))
    assert running_demo(state) is None
    for command in ("ei-demo", demo_main.__name__):
        with subprocess.Popen([sys.executable, "-c", "input()", command], stdin=subprocess.PIPE) as process:
            state.write_text(json.dumps({**demo, "pid": process.pid}))
            # A process that has just started shows no command yet.
            assert wait_for(lambda: running_demo(state), 10, "the demo to be found") == {**demo, "pid": process.pid}
            process.communicate(b"\n")
        assert running_demo(state) is None
    for text in ("", '{"pid": 1', "[]", '{"pid": "x"}'):
        state.write_text(text)
        assert running_demo(state) is None


@pytest.mark.usefixtures("demo")
def test_a_namespace_means_the_cluster_though_a_demo_runs_here(cluster: Cluster) -> None:
    done = cluster.status("--namespace", "video")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scaling      ok" in done.stdout
    asked = (cluster.folder / "asked").read_text().splitlines()
    assert all(line.startswith("-n video ") for line in asked)
    # without a namespace it is the demo
    assert "127.0.0.1:2" in cluster.status().stdout


@pytest.mark.parametrize("look", [["-k"], ["-n", "video"]])
def test_a_cluster_and_an_address_at_once_are_refused(look: list[str]) -> None:
    done = status(*look, "-q", "127.0.0.1")
    assert done.returncode == 2
    assert "-k and -n check a cluster" in done.stderr


@pytest.mark.parametrize("kind", ["pods", "hpa", "scaledobjects"])
def test_a_list_that_is_forbidden_is_a_warning_and_the_check_continues(kind: str, cluster: Cluster) -> None:
    cluster.refuses(kind, f"Error from server (Forbidden): {kind} is forbidden: User x")
    done = cluster.status("-k")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gateway      ok" in done.stdout
    assert ("scaling      ok" in done.stdout) is (kind == "pods")
    assert f"{kind} is forbidden" in done.stdout.split("warning: ", 1)[1]


def test_without_the_deployments_the_check_cannot_run(cluster: Cluster) -> None:
    cluster.refuses("deployments", "Error from server (Forbidden): deployments is forbidden")
    done = cluster.status("-k")
    assert done.returncode == 2
    assert "deployments is forbidden" in done.stderr


def test_two_autoscalers_are_a_broken_link_with_the_commands_that_delete_either(cluster: Cluster) -> None:
    cluster.says("scaledobjects", [autoscaler("other")])
    done = cluster.status("-k")
    assert done.returncode == 1, done.stderr
    assert "Every link" not in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("First broken link: scaling. Keep one for Deployment ei-infer-people-app")
    assert "kubectl -n video delete hpa own or kubectl -n video delete scaledobject other" in last
    found = json.loads(cluster.status("-k", "--json").stdout)
    assert found["first_broken"] == "scaling"
    # what stops the video is named first
    cluster.says("deployments", [])
    assert json.loads(cluster.status("-k", "--json").stdout)["first_broken"] == "relay"


def test_an_autoscaler_without_a_metric_is_a_broken_link(cluster: Cluster) -> None:
    found = {"reason": "FailedGetPodsMetric", "message": "no metrics returned from custom metrics API"}
    condition = {"type": "ScalingActive", "status": "False", **found}
    cluster.says("hpa", [autoscaler("own") | {"status": {"conditions": [condition]}}])
    done = cluster.status("-k")
    assert done.returncode == 1, done.stderr
    assert "hpa own does not scale: FailedGetPodsMetric (no metrics returned" in done.stdout
    assert "kubectl -n video describe hpa own" in done.stdout.splitlines()[-1]


def test_the_advice_names_the_deployment_that_is_broken(cluster: Cluster) -> None:
    pool = ("ei-camera-controller-deployment", "ei-camera-pool-app")
    names = (*pool, "ei-infer-people-app", RELAY, GATEWAY, HOUSEKEEPING)
    asleep = READY | {"spec": {"replicas": 0}}
    deployments = [{"metadata": {"name": name, "namespace": "video"}, **READY} for name in names]
    cluster.says("deployments", [*deployments, {"metadata": {"name": "ei-sample-people-deployment"}, **asleep}])
    done = cluster.status("-n", "video")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "kubectl -n video describe deployment ei-sample-people-deployment;" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("replicas", "said"),
    [
        (None, "events       ?       there is no event service"),
        (0, "events       ?       "),
        (2, f"events       BROKEN  {EVENTS} has no Ready pod"),
    ],
    ids=["none", "scaled to zero", "not ready"],
)
def test_an_event_service_without_a_ready_pod_is_a_broken_link(
    replicas: int | None, said: str, cluster: Cluster
) -> None:
    deployments = json.loads((cluster.folder / "says" / "deployments").read_text())["items"]
    spec = {"replicas": replicas, "selector": {"matchLabels": {}}}
    own = {"metadata": {"name": EVENTS}, "spec": spec, "status": {}}
    cluster.says("deployments", [*deployments, own] if replicas is not None else deployments)
    done = cluster.status("-k")
    assert said in done.stdout, done.stdout + done.stderr
    assert done.returncode == (1 if replicas else 0)


def test_a_pod_that_waits_for_a_resize_is_said(cluster: Cluster) -> None:
    condition = {"type": "PodResizePending", "status": "True", "reason": "Deferred"}
    cluster.says("pods", [{"metadata": {"name": "ei-infer-x"}, "status": {"conditions": [condition]}}])
    assert "pod ei-infer-x waits for its new size (Deferred)" in cluster.status("-k").stdout


def test_a_link_to_the_script_finds_the_program(tmp_path: Path) -> None:
    tools = tmp_path / "project" / "tools"
    program = tmp_path / "project" / ".venv" / "bin" / "ei-status"
    tools.mkdir(parents=True)
    program.parent.mkdir(parents=True)
    (tools / "status.sh").write_bytes((REPOSITORY / "tools" / "status.sh").read_bytes())
    shutil.copytree(REPOSITORY / "tools" / "lib", tools / "lib")
    program.write_text('#!/bin/sh\necho "this one: $*"\n')
    for file in (tools / "status.sh", program):
        file.chmod(0o755)
    (tmp_path / "link").symlink_to(tools / "status.sh")
    done = subprocess.run([tmp_path / "link", "-k"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "this one: -k\n", done.stderr


def test_whether_a_janitor_runs_is_seen_in_redis(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with redis.Redis(port=valkey.port) as client:
        client.zadd(keys.sources("people"), {"gate-1": time.time() * 1000})
        assert "housekeeping BROKEN  no janitor runs" in status("-q", "127.0.0.1", "-p", str(valkey.port)).stdout
        service = ServiceProcess("housekeeping", {"QUEUE_URL": valkey.url}, tmp_path, "housekeeping").start()
        try:
            service.wait_ready()
            assert "housekeeping ok      the janitor runs" in status("-q", "127.0.0.1", "-p", str(valkey.port)).stdout
        finally:
            service.kill()
