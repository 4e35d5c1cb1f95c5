"""The suite installed on a real cluster, from `build.sh` to `kubectl apply`, as the README describes it.

Which cluster: the one that KUBECONFIG names; else the one of EI_CLUSTER_COMMAND (a command with `up`, `env` and
`images`), by default `shared/tools/cluster/cluster` beside the project.
EI_TEST_REGISTRY: a registry that this machine and the cluster reach (default: one on loopback, which a cluster on this
machine reaches). EI_TEST_NODE: address of a node (default: localhost with the command, else the first node's).
EI_TEST_POD_CIDR: the pods' network, if the nodes do not say it. EI_CLUSTER_KEEP=1 leaves everything in place.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import pytest
import redis

from tests.cluster.kubectl import Kubectl
from tests.cluster.own_cluster import bring_up, cluster_command
from tests.cluster.traffic import Camera, Results, Watcher
from tests.conftest import missing_tool
from tests.support.manifests import PROJECT, generate, load
from tests.support.ports import free_port, own_address
from tests.support.waiting import wait_for

# The tests' own type, so that its account contains only the tests' frames.
OWN_TYPE = "counted"
REDIS, RELAY, GATEWAY = "ei-redis-deployment", "ei-websocket-server-deployment", "ei-gateway-server-deployment"
HOUSEKEEPING = "ei-housekeeping-deployment"
# On a machine that builds, serves and infers at once, everything happens within this time.
PATIENCE_S = 120
# A node with two cores has no room for the usual request of three more source workers. With less than this, others on
# the node would keep them from starting in time.
SMALL = ["--set", "SAMPLE_FPS=3", "--set", "CAMERA_POOL_CPU_REQUEST=40m"]
CAMERA_POOL, CAMERA_CONTROLLER = "ei-camera-pool-app", "ei-camera-controller-deployment"


@dataclass
class Installation:
    """Where the installed suite answers, and how the tests reach it."""

    kubectl: Kubectl
    registry: str
    tag: str
    node: str
    folder: Path
    gateway_port: int = 31002
    queue_port: int = 31003
    pod_cidr: str = ""
    # This machine's address, as pods see it.
    here: str = ""
    image_mb: Mapping[str, int] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    applied: list[Path] = field(default_factory=list)
    jpeg: bytes = b""

    @property
    def token(self) -> str:
        return self.passwords["gateway-token"]

    @property
    def queue_address(self) -> tuple[str, int]:
        return self.node, self.queue_port

    @property
    def websocket_base(self) -> str:
        return f"ws://{self.node}:{self.gateway_port}"

    def http(
        self, path: str, token: bool = True, method: str = "GET", document: object = None
    ) -> tuple[int, bytes, str]:
        """(status, body, content type) of a request at the gateway's node port, with a JSON document as its body."""
        request = urllib.request.Request(f"http://{self.node}:{self.gateway_port}{path}", method=method)
        if document is not None:
            request.data = json.dumps(document).encode()
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers.get("Content-Type", "")

    def redis(self, user: str) -> redis.Redis:
        """A client at the queue's node port."""
        return redis.Redis(
            host=self.node,
            port=self.queue_port,
            username=user,
            password=self.passwords[f"{user}-password"],
            socket_timeout=5,
            socket_connect_timeout=5,
            retry=None,
        )

    def camera(self, name: str, fps: float = 8) -> Camera:
        """A camera of the tests' own type."""
        password = self.passwords["camera-password"]
        return Camera(self.queue_address, password, OWN_TYPE, name=name, jpeg=self.jpeg, fps=fps)

    def results(self) -> Results:
        """Every result of the tests' own type."""
        return Results(self.queue_address, self.passwords["admin-password"], OWN_TYPE)

    def watcher(self, stream_id: str) -> Watcher:
        """A viewer at the node port."""
        return Watcher(self.websocket_base, stream_id, self.token)

    def generate(self, *arguments: str) -> str:
        """Runs gen-k8s-yaml.sh for this installation's images."""
        return generate("-r", self.registry, "-g", self.tag, *arguments)

    def apply(self, *files: Path) -> None:
        """Applies, and remembers what the end has to delete."""
        self.applied += files
        self.kubectl.apply(*files)

    def remove(self, *files: Path) -> None:
        """Deletes what was applied."""
        self.kubectl.run("delete", "--ignore-not-found", *[part for each in files for part in ("-f", str(each))])
        self.applied = [each for each in self.applied if each not in files]


@pytest.fixture(scope="session")
def cluster_environ() -> dict[str, str]:
    """What kubectl needs to reach the cluster; brings up the cluster of EI_CLUSTER_COMMAND where none is named."""
    if os.environ.get("KUBECONFIG"):
        return {}
    command = cluster_command()
    if command is None:
        missing_tool("a cluster (set KUBECONFIG or EI_CLUSTER_COMMAND)")
    assert command is not None
    found = bring_up(command)
    subprocess.run([str(command), "images", "valkey"], check=True, timeout=900)
    return found


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """EI_TEST_REGISTRY, or the tests' own registry on loopback, which ends with them."""
    given = os.environ.get("EI_TEST_REGISTRY")
    if given:
        yield given
        return
    if shutil.which("docker-registry") is None:
        missing_tool("docker-registry (or a registry in EI_TEST_REGISTRY)")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ei-registry-") as folder:
        settings = Path(folder) / "registry.yml"
        settings.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(["docker-registry", "serve", str(settings)], stdout=log, stderr=log)
        try:
            wait_for(lambda: _answers(port), 30, "the registry to answer")
            yield f"localhost:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def installed(
    cluster_environ: dict[str, str], registry: str, shared_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Images built and published, manifests generated and applied, every pod Ready; all of it deleted at the end."""
    mark = secrets.token_hex(3)
    tag = f"test-{mark}"
    began = time.monotonic()
    build_log = tmp_path_factory.mktemp("build") / "log"
    command = [str(PROJECT / "container" / "build.sh"), "-r", registry, "-g", tag, "-m", str(shared_models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as build, build_log.open("w") as copy:
        assert build.stdout
        for line in build.stdout:
            print(line, end="", flush=True)
            copy.write(line)
    assert build.returncode == 0
    print(f"\nbuilt and published in {time.monotonic() - began:.0f} s")
    kubectl = Kubectl(f"ei-test-{mark}", cluster_environ)
    nodes = kubectl.get("nodes")["items"]
    addresses = {each["type"]: each["address"] for each in nodes[0]["status"]["addresses"]}
    node = os.environ.get("EI_TEST_NODE") or (
        "localhost" if "KUBECONFIG" in cluster_environ else addresses["InternalIP"]
    )
    folder = tmp_path_factory.mktemp("manifests")
    sizes = {name: int(mb) for name, mb in re.findall(r"/(ei-[a-z-]+):\S+ +(\d+) MB", build_log.read_text())}
    here = Installation(
        kubectl, registry, tag, node, folder, image_mb=sizes, pod_cidr=_pod_cidr(kubectl, nodes[0]), jpeg=_jpeg()
    )
    here.here = own_address(addresses["InternalIP"])
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.run("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        core, samples = folder / "elastic-inference.yaml", folder / "sample-infer"
        narrowed = ["-P", here.pod_cidr] if here.pod_cidr else []
        models = ["--models", str(PROJECT / "build" / "models")]
        print(
            here.generate(
                "-f",
                str(PROJECT / "kubernetes/elastic-inference.yaml.template"),
                "-o",
                str(core),
                *narrowed,
                *models,
                *SMALL,
                *("--set", f"CAMERA_NETWORKS={here.here}/32"),
            )
        )
        here.generate("-f", str(PROJECT / "kubernetes/sample-infer"), "-o", str(samples), *models, *SMALL)
        here.generate("-t", OWN_TYPE, "-m", "blazeface", "-a", "none", "-o", str(folder / OWN_TYPE))
        here.passwords = next(each["stringData"] for each in load(core) if each["kind"] == "Secret")
        began = time.monotonic()
        here.apply(core, samples, folder / OWN_TYPE / "deployment.yaml")
        kubectl.wait_rolled_out(400)
        print(f"every pod Ready after {time.monotonic() - began:.0f} s")
        yield here
    finally:
        if not os.environ.get("EI_CLUSTER_KEEP"):
            kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false", check=False)
            _remove_images(registry, tag)


def _pod_cidr(kubectl: Kubectl, node: Mapping[str, Mapping[str, str]]) -> str:
    given = os.environ.get("EI_TEST_POD_CIDR") or node["spec"].get("podCIDR", "")
    if given:
        return given
    # If the node does not report it: on such clusters DNS is in the pods' network, which is at least a /24.
    slices = kubectl.get("endpointslices", "-n", "kube-system")["items"]
    found = [a for each in slices for e in each.get("endpoints") or () for a in e["addresses"] if ":" not in a]
    return str(ipaddress.ip_network(f"{found[0]}/24", strict=False)) if found else ""


def _jpeg() -> bytes:
    """One small frame of the clip that the build downloaded."""
    clip = cv2.VideoCapture(str(PROJECT / "build" / "videos" / "carphone_pristine.mp4"))
    found, frame = clip.read()
    assert found
    encoded, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert encoded
    return bytes(data.tobytes())


def _remove_images(registry: str, tag: str) -> None:
    for engine in ("docker", "podman"):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            listed = subprocess.run(
                [engine, "images", "--format", "{{.Repository}}:{{.Tag}}"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            ).stdout.split()
            own = [each for each in listed if each.startswith(registry) and each.endswith(f":{tag}")]
            if own:
                subprocess.run([engine, "rmi", *own], capture_output=True, timeout=120, check=False)
