"""The camera controller and a real API server: killed, the server silent or unreachable, and changes that collide.

The controller runs on this machine, with a Redis of its own, and reaches the API server through a proxy that breaks.
It needs no image, and takes some 20 seconds.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
import yaml

from elastic_inference.adapters.camera_resource.kubernetes_store import KubernetesStore, connect
from elastic_inference.adapters.camera_resource.resource import LOGINS_SECRET
from elastic_inference.adapters.camera_resource.schema import definition
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_errors import CameraRefusal
from tests.cluster.kubectl import Kubectl
from tests.support.half_open_proxy import HalfOpenProxy
from tests.support.system import ServiceProcess
from tests.support.waiting import TIME_FACTOR, busy, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
PATIENCE_S = 60
# From the end of `kubectl apply` to the pool's registry, on a machine that has nothing else to do.
FOLLOWS_S = 2.0


class Site:
    """A namespace, a Redis and a controller."""

    def __init__(self, kubectl: Kubectl, server: EmbeddedValkey, proxy: HalfOpenProxy, folder: Path) -> None:
        self.kubectl, self.proxy = kubectl, proxy
        self.redis = redis.Redis(port=server.port)
        self.kubeconfig = folder / "config"
        environ = {"QUEUE_URL": server.url, "KUBECONFIG": str(self.kubeconfig)}
        self.controller = ServiceProcess("controller", environ, folder, "controller")

    def apply(self, name: str) -> None:
        """Makes a camera, past the proxy."""
        document = {
            "apiVersion": "elastic-inference.io/v1",
            "kind": "Camera",
            "metadata": {"name": name},
            "spec": {"url": f"rtsp://10.0.0.7/{name}", "types": ["people"]},
        }
        self.kubectl.run("apply", "-f", "-", stdin=json.dumps(document))

    def wait_known(self, *names: str) -> None:
        """Waits until these are the cameras of the pool."""
        wanted = sorted(name.encode() for name in names)
        try:
            wait_for(lambda: sorted(self.redis.hkeys(keys.CAMERA_SPECS)) == wanted, PATIENCE_S, f"cameras {names}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the controller says: {self.controller.log()[-2000:]}") from None


@pytest.fixture(scope="module")
def kubectl(cluster_environ: Mapping[str, str]) -> Iterator[Kubectl]:
    found = Kubectl(f"ei-controller-{secrets.token_hex(3)}", cluster_environ)
    found.run("create", "namespace", found.namespace)
    try:
        found.run("apply", "-f", "-", stdin=json.dumps(definition()))
        found.run("create", "secret", "generic", LOGINS_SECRET)
        yield found
    finally:
        found.run("delete", "namespace", found.namespace, "--wait=false", check=False)


def write_kubeconfig(kubectl: Kubectl, file: Path, port: int | None = None) -> int:
    """The cluster's, for the namespace; with a port, through the proxy there. Returns the API server's own port."""
    document = yaml.safe_load(kubectl.run("config", "view", "--raw", "--flatten", "--minify"))
    document["contexts"][0]["context"]["namespace"] = kubectl.namespace
    cluster = document["clusters"][0]["cluster"]
    address = urllib.parse.urlsplit(cluster["server"])
    if port is not None:
        if address.hostname not in ("127.0.0.1", "localhost"):
            pytest.skip("the API server is on another machine")
        cluster["server"] = f"https://{address.hostname}:{port}"
    file.write_text(yaml.safe_dump(document))
    return address.port or 443


@pytest.fixture
def site(kubectl: Kubectl, tmp_path: Path) -> Iterator[Site]:
    api_port = write_kubeconfig(kubectl, tmp_path / "direct")
    with EmbeddedValkey() as server, HalfOpenProxy(api_port) as proxy:
        made = Site(kubectl, server, proxy, tmp_path)
        write_kubeconfig(kubectl, made.kubeconfig, proxy.port)
        made.controller.start()
        try:
            made.controller.wait_ready(PATIENCE_S)
            made.apply("gate-1")
            made.wait_known("gate-1")
            yield made
        finally:
            made.controller.kill()
            made.redis.close()
            kubectl.run("delete", "cameras", "--all", check=False)


def test_the_pool_follows_the_cluster_in_time(site: Site) -> None:
    site.apply("gate-2")
    began = time.monotonic()
    site.wait_known("gate-1", "gate-2")
    assert time.monotonic() - began < FOLLOWS_S * TIME_FACTOR * busy()


def test_a_killed_controller_continues_with_what_changed_meanwhile(site: Site) -> None:
    site.controller.kill()
    site.apply("gate-2")
    site.kubectl.run("delete", "camera", "gate-1")
    assert site.redis.hkeys(keys.CAMERA_SPECS) == [b"gate-1"], "the pool runs on as it was"
    site.controller.start()
    site.wait_known("gate-2")


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "unreachable"])
def test_an_api_server_that_is_away_leaves_the_pool_as_it_is(site: Site, silent: bool) -> None:
    site.proxy.swallowing = True
    site.proxy.break_open() if silent else site.proxy.cut()
    site.apply("gate-2")
    if not silent:
        # A watch that is silent may also have nothing to say, so only its own limit ends it.
        wait_for(lambda: not site.controller.ready()["ready"], PATIENCE_S, "the controller to say it")
        assert "API server" in json.dumps(site.controller.ready()), site.controller.ready()
    assert site.redis.hkeys(keys.CAMERA_SPECS) == [b"gate-1"]
    assert site.controller.process is not None
    assert site.controller.process.poll() is None
    site.proxy.swallowing = False
    site.proxy.cut()
    site.wait_known("gate-1", "gate-2")
    wait_for(lambda: site.controller.ready()["ready"], PATIENCE_S, "the controller to be ready again")


async def test_a_change_of_what_somebody_else_has_changed_is_refused(
    kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kubeconfig(kubectl, tmp_path / "direct")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "direct"))
    store = KubernetesStore(connect(), kubectl.namespace)
    zone = {"name": "door", "points": [[0, 0], [1, 0], [1, 1]]}
    spec = CameraSpec.model_validate({"name": "gate-3", "url": "rtsp://10.0.0.7/live", "zones": [zone]})
    stop = asyncio.Event()
    watching = asyncio.create_task(store.watch(stop))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while store.problem:
                await asyncio.sleep(0.05)
        await store.create(spec)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        kubectl.run("annotate", "camera", "gate-3", "seen=by-somebody-else")
        with pytest.raises(CameraRefusal) as refused:
            await store.replace(spec.model_copy(update={"fps": 3}))
        assert refused.value.status == 412
        held = kubectl.get("camera", "gate-3")
        assert held["metadata"]["annotations"]["seen"] == "by-somebody-else"
        assert held["spec"].get("fps") != 3
    finally:
        watching.cancel()
        await store.close()
        kubectl.run("delete", "cameras", "--all", check=False)
