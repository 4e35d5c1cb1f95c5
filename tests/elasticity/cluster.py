"""An installation in its own namespace of the cluster in KUBECONFIG: installs, observes and removes it."""

from __future__ import annotations

import base64
import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.elasticity.model_switch import running_labels, with_models
from tests.elasticity.wake import WATCH_S, Watch
from tests.support.manifests import PROJECT, generate, load
from tests.support.ports import free_port, own_address

NAMESPACE = "ei-elasticity"
MONITORING = "ei-monitoring"
TYPE = "face"
CAMERA_POOL = "ei-camera-pool-app"
# The CPU limit of a source worker.
WORKER_CORES = 0.3
QUEUE_NODE_PORT = 31103
GATEWAY_NODE_PORT = 31102
TYPE_LABEL = "elastic-inference/type"
# Parts of the names of the external metrics that are sums of ratios; KEDA begins them with the trigger's number.
_RATIOS = ("prometheus", "ei_scale_ratio")
MODEL = "/opt/ei/models/blazeface/FP16/blazeface.tflite"


def wait_until(condition: Callable[[], bool], limit_s: float, what: str) -> float:
    """Seconds until `condition` held; AssertionError after `limit_s`."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"{what} did not come within {limit_s:g} s"
        time.sleep(0.5)
    return time.monotonic() - began


def deployment_of(infer_type: str) -> str:
    """The name of a type's Deployment."""
    return f"ei-infer-{infer_type}-app"


def selector_of(infer_type: str) -> str:
    """The label by which all objects of a type are found, its autoscaler too."""
    return f"app={deployment_of(infer_type)}"


class Cluster:
    """A context in which a proxy to the API runs."""

    def __init__(
        self,
        folder: Path,
        images: tuple[str, str],
        cpu: str,
        window_s: int,
        *,
        infer_type: str = TYPE,
        beside: bool = False,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        """`folder` is for the generated manifests; `images` are registry and tag; `cpu` limits a pod.

        `digests` of images: a node keeps an image of a tag, whatever the registry has under it since.

        `window_s` is the scale-in window. With `beside`, only the type is installed and removed, in an installation
        that is there already.
        """
        self.type = infer_type
        self.pool = deployment_of(infer_type)
        self._beside = beside
        self._digests = digests or {}
        self._folder, (self._registry, self._tag), self._window_s = folder, images, window_s
        self._cpu = cores(cpu)
        self._settings = {
            "INFER_CPU_LIMIT": cpu,
            # small requests, so that all pods fit a node of two cores
            "INFER_CPU_REQUEST": "20m",
            "REDIS_CPU_REQUEST": "20m",
            "CAMERA_POOL_CPU_LIMIT": str(WORKER_CORES),
            "CAMERA_POOL_CPU_REQUEST": "100m",
            "INFER_MEMORY_REQUEST": "128Mi",
            "MAX_REPLICAS": "8",
            "GATEWAY_REPLICAS": "1",
            "HOUSEKEEPING_REPLICAS": "1",
            "WEBSOCKET_REPLICAS": "1",
            "QUEUE_NODE_PORT": str(QUEUE_NODE_PORT),
            "GATEWAY_NODE_PORT": str(GATEWAY_NODE_PORT),
            "NAMESPACE": NAMESPACE,
            # for keda-push; the other autoscalers do not use it
            "PUSH_SCALER": "on",
        }
        self._port = free_port()
        self._proxy: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cluster:
        self.kubectl("--request-timeout=10s", "get", "nodes")
        self._proxy = subprocess.Popen(
            ["kubectl", "proxy", f"--port={self._port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: self.get("/readyz") is not None, 30, "kubectl proxy")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait(10)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """The output of kubectl; AssertionError with its last line if it fails."""
        done = subprocess.run(
            ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0 or not check, (
            f"kubectl {' '.join(arguments)}: {(done.stderr.strip().splitlines() or [''])[-1]}"
        )
        return done.stdout

    def get(self, path: str) -> Any:
        """The API's answer as JSON, or as text if it is not JSON; None for an error."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
                body = answer.read()
        except OSError:
            return None
        try:
            return json.loads(body)
        except ValueError:
            return body.decode(errors="replace")

    def events(self, path: str, limit_s: int) -> Iterator[Any]:
        """What happens to the objects of a path, for `limit_s` at most: first each as it is, then each change."""
        url = f"http://127.0.0.1:{self._port}{path}&watch=true&timeoutSeconds={limit_s}"
        with urllib.request.urlopen(url, timeout=limit_s + 30) as answer:
            for line in answer:
                yield json.loads(line)

    def query(self, expression: str) -> list[Any]:
        """Samples of an instant query to Prometheus; none while it is unavailable."""
        path = f"/api/v1/namespaces/{MONITORING}/services/ei-prometheus:9090/proxy/api/v1/query?"
        answer = self.get(path + urllib.parse.urlencode({"query": expression}))
        return list(answer["data"]["result"]) if isinstance(answer, dict) and answer.get("status") == "success" else []

    def deployment(self) -> tuple[int, int]:
        """(replicas, ready) of the type's pods; (-1, -1) if the API gave no answer."""
        found = self.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{self.pool}")
        if not isinstance(found, dict) or "spec" not in found:
            return -1, -1
        return int(found["spec"].get("replicas", 1)), int(found.get("status", {}).get("readyReplicas", 0))

    def autoscaler_sees(self) -> float | None:
        """The mean ratio that the HPA shows, for hpa-cpu the share of the limit; None for `<unknown>`."""
        found = self.get(f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers")
        for item in (found or {}).get("items", ()):
            if item["spec"]["scaleTargetRef"]["name"] != self.pool:
                continue
            for metric in item.get("status", {}).get("currentMetrics") or ():
                source = metric.get("pods") or metric.get("external") or {}
                value = source.get("current", {}).get("averageValue")
                if "containerResource" in metric:
                    used = metric["containerResource"].get("current", {}).get("averageValue")
                    return None if used is None else cores(used) / self._cpu
                ratio = "pods" in metric or any(part in source["metric"]["name"] for part in _RATIOS)
                if value is not None and ratio:
                    return cores(value)
        return None

    def pods(self) -> list[Any]:
        """The type's pods as the API returns them; none if it gave no answer."""
        found = self.get(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3D{self.pool}")
        return list(found["items"]) if isinstance(found, dict) and "items" in found else []

    def watch(self, began: float) -> Watch:
        """Notes when the type gets pods, in seconds since `began`."""
        deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments?fieldSelector=metadata.name%3D{self.pool}"
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3D{self.pool}"
        return Watch(lambda: self.events(deployments, WATCH_S), lambda: self.events(pods, WATCH_S), began)

    def models(self) -> dict[str, str]:
        """The model that each pod runs, by `ei_model_info`."""
        labels = {"namespace": NAMESPACE, **running_labels(self.type)}
        selector = ",".join(f'{name}="{value}"' for name, value in labels.items())
        found = self.query(f"ei_model_info{{{selector}}} == 1")
        return {each["metric"]["pod"]: each["metric"]["model"] for each in found}

    def secret(self, key: str) -> str:
        """One password of the installation."""
        document = json.loads(self.kubectl("-n", NAMESPACE, "get", "secret", "ei-credentials", "-o", "json"))
        return base64.b64decode(document["data"][key]).decode()

    def set_up(self, with_monitoring: bool) -> None:
        """Installs core, type and monitoring if needed, without an autoscaler; waits until all pods are Ready."""
        if self._beside:
            self._set_up_type()
            return
        if with_monitoring:
            self._monitor()
        # For the cameras of this machine.
        self._settings["CAMERA_NETWORKS"] = f"{self.here()}/32"
        self.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        self.kubectl("create", "namespace", NAMESPACE)
        self.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        core = load(*self._generate("core", "-f", str(PROJECT / "kubernetes/elastic-inference.yaml.template")))
        self._apply([each for each in core if TYPE_LABEL not in each["metadata"].get("labels", {})], NAMESPACE)
        self._set_up_type()
        for name in ("ei-redis-deployment", "ei-gateway-server-deployment", "ei-housekeeping-deployment"):
            self.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout=240s")

    def _set_up_type(self) -> None:
        self.own_type("hpa-ratio")
        self._apply(load(self._folder / "type" / "deployment.yaml"), NAMESPACE)
        self.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{self.pool}", "--timeout=240s")

    def _monitor(self) -> None:
        served = self.get("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.custom.metrics.k8s.io")
        service = ((served or {}).get("spec") or {}).get("service") or {"namespace": MONITORING}
        assert service["namespace"] == MONITORING, (
            f"custom metrics are served by another adapter, in the namespace {service['namespace']}: it would be "
            "replaced. Remove it, or use another cluster"
        )
        documents = load(*self._generate("monitoring", "-f", str(PROJECT / "kubernetes" / "monitoring")))
        if self.get(f"/apis/apps/v1/namespaces/{MONITORING}/deployments/ei-grafana") is not None:
            # A running Grafana keeps its password.
            documents = [each for each in documents if each["kind"] != "Secret"]
        self._apply(documents, None)

    def own_type(self, autoscaler: str) -> Path:
        """Writes the manifests of the type with an autoscaler; returns the autoscaler's file."""
        self._generate("type", "-t", self.type, "-m", MODEL, "-a", autoscaler)
        return self._folder / "type" / "autoscaler.yaml"

    def use(self, autoscaler: str, window_s: int | None = None) -> None:
        """Replaces the autoscaler; `window_s` replaces the scale-in window."""
        window = str(window_s or self._window_s)
        self._settings.update(SCALE_DOWN_WINDOW_S=window, KEDA_COOLDOWN_S=window)
        own = ("-l", selector_of(self.type))
        self.kubectl("-n", NAMESPACE, "delete", "scaledobject", *own, "--ignore-not-found", check=False)
        self.kubectl("-n", NAMESPACE, "delete", "hpa", *own, "--ignore-not-found")
        if autoscaler == "none":
            return
        documents = load(self.own_type(autoscaler))
        if autoscaler == "keda":
            whole = load(*self._generate("keda", "-f", str(PROJECT / "kubernetes/scale/keda")))
            documents = [each for each in whole if each["kind"] == "TriggerAuthentication"] + documents
        self._apply(documents, NAMESPACE)

    def here(self) -> str:
        """The address of this machine for the pods."""
        (found, *_) = (self.get("/api/v1/nodes") or {})["items"]
        addresses = {each["type"]: each["address"] for each in found["status"]["addresses"]}
        return own_address(addresses["InternalIP"])

    def scale_cameras(self) -> None:
        """The camera pool follows its ratio."""
        self._settings.update(SCALE_DOWN_WINDOW_S=str(self._window_s))
        made = load(*self._generate("hpa-ratio", "-f", str(PROJECT / "kubernetes/scale/hpa-ratio")))
        self._apply([each for each in made if each["metadata"]["name"] == CAMERA_POOL], NAMESPACE)

    def has_keda(self) -> bool:
        """Whether KEDA is installed."""
        return self.get("/apis/keda.sh/v1alpha1") is not None

    def scale(self, replicas: int) -> None:
        """Sets the number of pods and waits until exactly this number runs."""
        self.kubectl("-n", NAMESPACE, "scale", f"deployment/{self.pool}", f"--replicas={replicas}")
        wait_until(lambda: self.deployment() == (replicas, replicas), 180, f"{replicas} pods")

    def resize(self, factor: float) -> None:
        """Gives each of the type's pods this multiple of the Deployment's CPU limit, in place."""
        limits = {"cpu": f"{round(1000 * self._cpu * factor)}m"}
        patch = json.dumps({"spec": {"containers": [{"name": "inference", "resources": {"limits": limits}}]}})
        for pod in self.pods():
            name = pod["metadata"]["name"]
            self.kubectl("-n", NAMESPACE, "patch", "pod", name, "--subresource", "resize", "--patch", patch)

    def several_models(self, several: bool) -> None:
        """Replaces the type's pods with none; later ones have a folder with several models, or only their own."""
        self.use("none")
        self.scale(0)
        documents = load(self._folder / "type" / "deployment.yaml")
        self._apply(with_models(documents, MODEL) if several else documents, NAMESPACE)

    def limit(self, cpu: str) -> None:
        """Replaces the type's pods with pods of another CPU limit."""
        self.use("none")
        self.scale(0)
        self.kubectl("-n", NAMESPACE, "set", "resources", f"deployment/{self.pool}", f"--limits=cpu={cpu}")

    def take_down(self) -> None:
        """Removes the namespace (the monitoring stays); beside another run, only the type."""
        if self._beside:
            self.use("none")
            self.kubectl("-n", NAMESPACE, "delete", f"deployment/{self.pool}", "--ignore-not-found")
            return
        self.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")

    def _generate(self, name: str, *arguments: str) -> list[Path]:
        target = self._folder / name
        target.mkdir(parents=True, exist_ok=True)
        settings = [part for key, value in self._settings.items() for part in ("--set", f"{key}={value}")]
        out = target / "core.yaml" if name == "core" else target
        generate("-r", self._registry, "-g", self._tag, "-o", str(out), *settings, *arguments)
        return sorted(target.glob("*.yaml"))

    def _apply(self, documents: Sequence[Mapping[str, Any]], namespace: str | None) -> None:
        where = ("-n", namespace) if namespace else ()
        text = yaml.safe_dump_all(documents, width=math.inf)
        for image, digest in self._digests.items():
            text = text.replace(f"image: {image}\n", f"image: {image}@{digest}\n")
        self.kubectl(*where, "apply", "-f", "-", stdin=text)


def digests_of(file: Path, registry: str, tag: str) -> dict[str, str]:
    """The digests of a registry's images in a file of `container/build.sh`; none if it has not built these."""
    lines = file.read_text().splitlines() if file.exists() else []
    found = dict(each.split() for each in lines if each.startswith(f"{registry}/"))
    return {image: digest for image, digest in found.items() if image.endswith(f":{tag}")}


def cores(quantity: str) -> float:
    """A Kubernetes quantity as a number: `100m` is 0.1."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def seconds(text: str) -> float:
    """A time of the API in seconds, for comparison with others."""
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
