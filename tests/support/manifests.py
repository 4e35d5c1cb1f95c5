"""Generated manifests, and the rules of a platform team for them."""

from __future__ import annotations

import contextlib
import functools
import io
import ipaddress
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes_validate
import kubernetes_validate.utils
import pytest
import yaml

from elastic_inference.commands.manifests.main import main

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "tools" / "gen-k8s-yaml.sh"
VERSIONS = ("1.33", "1.34", "1.35", "1.36")
# Groups whose kinds Kubernetes itself serves; others (monitoring.coreos.com, keda.sh) are checked where they live.
BUILT_IN = {"", "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"}
BUILT_IN |= {"apiregistration.k8s.io", "storage.k8s.io"}
Document = dict[str, Any]
CORE = "kubernetes/elastic-inference.yaml.template"
TEMPLATES = sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / "kubernetes").rglob("*.template"))
VARIANTS = {
    "plain": [],
    "pod network": ["-P", "10.244.0.0/16", "-P", "fd00:10:244::/56"],
    "gpu": ["-d", "GPU:xe", "--set", "RENDER_GROUP=992"],
    "npu": ["-d", "NPU"],
    "tls": ["--redis-tls", "redis-tls", "--set", "GATEWAY_TLS=gateway-tls", "--set", "PULL_SECRET=pull"],
    "external": ["--redis-url", "redis+sentinel://a.example:26379,b.example:26379/main/0", "--redis-ca", "ca"],
    "cluster": [
        *("--redis-url", "redis+cluster://a.example:7001,b.example:7002"),
        *("--broker-url", "rediss://broker.example:6380/0", "--redis-ca", "ca"),
    ],
    "no node ports": ["--set", "QUEUE_NODE_PORT=", "--set", "GATEWAY_NODE_PORT="],
    "node labels": ["--set", "NODE_SELECTOR=gpu=yes,zone=1"],
    "words of YAML": [
        *("-g", "123", "--redis-tls", "true", "--redis-ca", "17", "--existing-secret", "null"),
        *(
            "--set",
            "PULL_SECRET=1e3",
            "--set",
            "GATEWAY_TLS=no",
            "--set",
            "INFER_CPU_REQUEST=1",
            "--set",
            "LOG_LEVEL=0",
        ),
    ],
    "push scaler": ["--set", "PUSH_SCALER=on", "--set", "SCALER_TLS=scaler-tls"],
    "own secret": ["--existing-secret", "mine", "--open-dashboard"],
}


def generate(*arguments: str, expect: int = 0, environ: Mapping[str, str] | None = None) -> str:
    """Runs the command in this process and returns what it printed. AssertionError if its exit code is not `expect`.

    `run_script` is the script around it, which takes half a second more.
    """
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        for name, value in (environ or {}).items():
            patch.setenv(name, value)
        try:
            code = main(arguments)
        except SystemExit as end:  # -h
            code = int(end.code or 0)
    assert code == expect, f"exit code {code}: {printed.getvalue()}"
    return printed.getvalue()


def run_script(*arguments: str, expect: int = 0, environ: Mapping[str, str] | None = None) -> str:
    """Runs tools/gen-k8s-yaml.sh and returns what it printed. AssertionError if its exit code is not `expect`."""
    done = subprocess.run(
        [str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(environ or {})},
    )
    assert done.returncode == expect, f"exit code {done.returncode}: {done.stderr}{done.stdout}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def load(*files: Path) -> list[Document]:
    """Every document of the files; a key that appears twice is an error."""
    found: list[Document] = []
    for file in files:
        found += [each for each in yaml.load_all(file.read_text(), _StrictLoader) if each is not None]
    return found


# The parser in C takes a tenth of the time.
class _StrictLoader(yaml.CSafeLoader):
    """YAML silently uses the last of two equal keys; here that is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"a key appears twice in {keys} at {node.start_mark}"
        return super().construct_mapping(node, deep)


def name_of(document: Document) -> str:
    """`Kind/name`."""
    return f"{document['kind']}/{document['metadata']['name']}"


def workloads(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """(name, pod template) of everything that makes pods."""
    for each in documents:
        if each["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield name_of(each), each["spec"]["template"]


def restricted_problems(template: Document) -> list[str]:
    """What Pod Security `restricted` would refuse, and other settings that each pod must have."""
    spec = template["spec"]
    security = spec.get("securityContext", {})
    problems = []
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        problems.append("runAsNonRoot with a numeric user is missing")
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        problems.append("seccompProfile RuntimeDefault is missing")
    problems += [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    allowed = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim", "downwardAPI", "csi"}
    for volume in spec.get("volumes", ()):
        kinds = set(volume) - {"name"}
        if not kinds <= allowed:
            problems.append(f"volume {volume['name']} is of kind {kinds - allowed}")
        if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
            problems.append(f"emptyDir {volume['name']} has no limit")
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        own = container.get("securityContext", {})
        name = container["name"]
        if own.get("allowPrivilegeEscalation") is not False:
            problems.append(f"{name} may escalate privileges")
        if own.get("readOnlyRootFilesystem") is not True:
            problems.append(f"{name} may write to its root")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
            problems.append(f"{name} keeps capabilities")
        if own.get("privileged") or any("hostPort" in port for port in container.get("ports", ())):
            problems.append(f"{name} is privileged or takes a host port")
    return problems


def upkeep_problems(template: Document) -> list[str]:
    """Missing probes and limits, and images without a version."""
    spec = template["spec"]
    problems = []
    for container in spec["containers"]:
        name, image = container["name"], container["image"]
        problems += [
            f"{name} has no {probe}"
            for probe in ("startupProbe", "readinessProbe", "livenessProbe")
            if probe not in container
        ]
        policy = {each["resourceName"]: each["restartPolicy"] for each in container.get("resizePolicy", ())}
        if "/ei-" in image and policy.get("cpu") != "NotRequired":
            problems.append(f"{name} does not say that a change of its CPU needs no restart")
        for kind in ("requests", "limits"):
            missing = {"cpu", "memory"} - set(container.get("resources", {}).get(kind, {}))
            problems += [f"{name} has no {kind} of {each}" for each in sorted(missing)]
        tag = image.rpartition("/")[2].partition(":")[2]
        if not tag or tag == "latest":
            problems.append(f"{name}'s image {image} is not pinned")
    return problems


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod with its labels and its namespace's, or an address outside."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: Mapping[str, str] = field(default_factory=dict)
    own_namespace: bool = True
    address: str = ""


def allowed(policies: Sequence[Document], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether NetworkPolicies let `source` reach `port` of `target`, by both sides' rules."""
    if target.own_namespace and target.labels and not _side(policies, "Ingress", target, source, port, protocol):
        return False
    if source.own_namespace and source.labels:
        return _side(policies, "Egress", source, target, port, protocol)
    return True


def _side(  # noqa: PLR0917  one question, seen from either end
    policies: Sequence[Document], kind: str, self: Peer, other: Peer, port: int, protocol: str
) -> bool:
    chosen = [
        each["spec"]
        for each in policies
        if kind in each["spec"]["policyTypes"] and _matches(each["spec"]["podSelector"], self.labels)
    ]
    if not chosen:
        return True
    key, peers = ("ingress", "from") if kind == "Ingress" else ("egress", "to")
    for spec in chosen:
        for rule in spec.get(key) or ():
            ports = rule.get("ports")
            fits = ports is None or any(
                each["port"] <= port <= each.get("endPort", each["port"]) and each.get("protocol", "TCP") == protocol
                for each in ports
            )
            if fits and (not rule.get(peers) or any(_is_peer(each, other) for each in rule[peers])):
                return True
    return False


def _is_peer(rule: Document, other: Peer) -> bool:
    if "ipBlock" in rule:
        if not other.address:
            return False
        address = ipaddress.ip_address(other.address)
        block = ipaddress.ip_network(rule["ipBlock"]["cidr"])
        excluded = [ipaddress.ip_network(each) for each in rule["ipBlock"].get("except", ())]
        return address in block and not any(address in each for each in excluded)
    if not other.labels:
        return False
    if "namespaceSelector" in rule:
        if not _matches(rule["namespaceSelector"], other.namespace):
            return False
    elif not other.own_namespace:
        return False
    return _matches(rule.get("podSelector", {}), other.labels)


def _matches(selector: Document, labels: Mapping[str, str]) -> bool:
    exact = (selector.get("matchLabels") or {}).items() <= dict(labels).items()
    return exact and all(
        labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions") or ()
        if each["operator"] == "In"
    )


def made(folder: Path, *arguments: str) -> list[Document]:
    """Generates manifests into `folder` and returns their documents."""
    generate("-r", "registry.example.org/team", "--models", "all", "-o", str(folder), *arguments)
    return load(*sorted(folder.rglob("*.yaml")) if folder.is_dir() else [folder])


def valid(documents: Sequence[Document]) -> list[str]:
    """What the schemas of the last four versions object to."""
    return [
        problem
        for each in documents
        if each["apiVersion"].rpartition("/")[0] in BUILT_IN
        for version in VERSIONS
        if (problem := _problem(json.dumps(each, sort_keys=True), version))
    ]


@functools.cache  # most objects of the variants are equal
def _problem(document: str, version: str) -> str:
    each = json.loads(document)
    try:
        kubernetes_validate.validate(each, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{version} {name_of(each)}: {error.message[:300]}"
    return ""


# It reads a megabyte of definitions for each object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def labels_of(documents: Sequence[Document], component: str) -> Peer:
    for _, pod in workloads(documents):
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component:
            return Peer(pod["metadata"]["labels"], address="10.244.0.9")
    raise AssertionError(component)
