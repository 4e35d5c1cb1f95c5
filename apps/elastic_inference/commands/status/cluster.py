"""Checks an installation in a Kubernetes cluster through `kubectl`: deployments and pods first, then from inside.

Runs only `kubectl get`, `kubectl logs` and one `kubectl exec` of this same program in the gateway's pod.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from elastic_inference.commands.status.findings import ChainLink, Finding, State
from elastic_inference.domain.errors import ElasticInferenceError

Kubectl = Callable[[Sequence[str]], str]

REDIS = "ei-redis-deployment"
RELAY = "ei-websocket-server-deployment"
GATEWAY = "ei-gateway-server-deployment"
HOUSEKEEPING = "ei-housekeeping-deployment"
EVENTS = "ei-event-deployment"
CAMERA_POOL = "ei-camera-pool-app"
CAMERA_CONTROLLER = "ei-camera-controller-deployment"


def kubectl(namespace: str | None) -> Kubectl:
    """A function that runs kubectl in a namespace (None: that of the context) and returns its output.

    Raises ElasticInferenceError with kubectl's own last line.
    """
    if shutil.which("kubectl") is None:
        raise ElasticInferenceError("kubectl is not installed: it is required to check a cluster.")

    def run(arguments: Sequence[str]) -> str:
        command = ["kubectl", *(("-n", namespace) if namespace else ()), "--request-timeout=15s", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=45, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise ElasticInferenceError(f"kubectl {arguments[0]} gave no answer within 45 s.") from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ElasticInferenceError(f"kubectl {arguments[0]}: {last}")
        return done.stdout

    return run


def check(run: Kubectl) -> tuple[list[Finding], list[str]]:
    """One finding per link, and a warning for each list that could not be read and is not essential.

    Raises ElasticInferenceError if the deployments cannot be listed.
    """
    warnings: list[str] = []
    deployments = {item["metadata"]["name"]: item for item in _items(run, "deployments")}
    pods = _optional_items(run, "pods", warnings) or []
    warnings += [text for pod in pods if (text := _waits_for_resize(pod))]
    asleep: list[str] = []
    outside = {ChainLink.SCALING: _scaling(run, warnings)}
    for link, names in _links(deployments).items():
        problems: dict[str, str] = {}
        for name in names:
            problem = _problem(name, deployments.get(name), pods, run)
            if problem and link is ChainLink.WORKER and deployments.get(name, {}).get("spec", {}).get("replicas") == 0:
                asleep.append(name)
            elif problem:
                problems[name] = problem
        if problems:
            advice = _advice(link, next(iter(problems)), deployments)
            outside[link] = Finding.broken(link, "; ".join(problems.values()), advice)
    inside = _inside(run) if ChainLink.GATEWAY not in outside else {}
    found = []
    for link in ChainLink:
        finding = outside.get(link) or inside.get(link)
        if finding is None and link is ChainLink.EVENTS and EVENTS not in deployments:
            finding = Finding.unknown(link, "there is no event service, so there are no events")
        elif finding is None:
            finding = Finding.unknown(link, "its pods are Ready; only the gateway can tell more")
        elif link is ChainLink.WORKER and asleep and finding.state is State.BROKEN:
            finding = Finding(
                link, finding.state, f"{finding.text}; scaled to zero: {', '.join(asleep)}", finding.advice
            )
        found.append(finding)
    return found, warnings


def autoscaler_conflicts(
    hpas: Iterable[dict[str, Any]], scaled_objects: Iterable[dict[str, Any]]
) -> dict[str, list[str]]:
    """Each target of more than one autoscaler (`Deployment x`), with these autoscalers (`hpa y`, `scaledobject z`).

    The HPA that KEDA creates for a ScaledObject counts as that ScaledObject.
    """
    targets: dict[str, set[str]] = {}
    for kind, items in (("hpa", hpas), ("scaledobject", scaled_objects)):
        for item in items:
            target = item["spec"]["scaleTargetRef"]
            # For KEDA, a target without a kind is a deployment
            key = f"{target.get('kind', 'Deployment')} {target['name']}"
            targets.setdefault(key, set()).add(_owner(item) or f"{kind} {item['metadata']['name']}")
    return {target: sorted(found) for target, found in sorted(targets.items()) if len(found) > 1}


def _owner(item: dict[str, Any]) -> str | None:
    owners = item["metadata"].get("ownerReferences", ())
    return next((f"scaledobject {owner['name']}" for owner in owners if owner["kind"] == "ScaledObject"), None)


def _scaling(run: Kubectl, warnings: list[str]) -> Finding:
    hpas = _optional_items(run, "hpa", warnings)
    scaled_objects = _optional_items(run, "scaledobjects.keda.sh", warnings)
    every = [*(hpas or ()), *(scaled_objects or ())]
    conflicts = autoscaler_conflicts(hpas or (), scaled_objects or ())
    if conflicts:
        text = "; ".join(
            f"{target} has {len(names)} autoscalers ({', '.join(names)}): both stop, and it keeps its size"
            for target, names in conflicts.items()
        )
        kubectl = f"kubectl -n {every[0]['metadata']['namespace']}"
        advice = " ".join(
            f"Keep one for {target} and delete the rest: {' or '.join(f'{kubectl} delete {name}' for name in names)}."
            for target, names in conflicts.items()
        )
        return Finding.broken(ChainLink.SCALING, text, advice)
    if hpas is None or scaled_objects is None:
        return Finding.unknown(ChainLink.SCALING, "unknown which autoscalers there are")
    stopped = stopped_autoscalers(hpas, "hpa", ("ScalingActive", "AbleToScale"))
    stopped |= stopped_autoscalers(scaled_objects, "scaledobject", ("Ready",))
    if stopped:
        text = "; ".join(f"{name} does not scale: {why}" for name, why in stopped.items())
        command = f"kubectl -n {every[0]['metadata']['namespace']} describe {next(iter(stopped))}"
        return Finding.broken(
            ChainLink.SCALING, text, f"See `{command}`; doc/hpa_on_custom_metrics.md goes through the chain behind it."
        )
    if not every:
        return Finding.good(ChainLink.SCALING, "there is no autoscaler: each deployment keeps its size")
    return Finding.good(ChainLink.SCALING, "one autoscaler per deployment, and each works")


def stopped_autoscalers(items: Iterable[dict[str, Any]], kind: str, conditions: Sequence[str]) -> dict[str, str]:
    """Autoscalers of a kind with a condition that says that they do not scale, each with reason and message.

    An HPA whose deployment is scaled to zero is idle (`ScalingDisabled`), which is normal.
    """
    found = {}
    for item in items:
        for each in item.get("status", {}).get("conditions", ()):
            reason = each.get("reason") or "no reason given"
            if each["type"] in conditions and each["status"] == "False" and reason != "ScalingDisabled":
                message = f" ({each['message']})" if each.get("message") else ""
                found[f"{kind} {item['metadata']['name']}"] = reason + message
    return found


def _items(run: Kubectl, kind: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(run(["get", kind, "-o", "json"]))["items"]
    return items


def _optional_items(run: Kubectl, kind: str, warnings: list[str]) -> list[dict[str, Any]] | None:
    """None, and a warning, if they cannot be listed; empty if the cluster does not know the kind."""
    try:
        return _items(run, kind)
    except ElasticInferenceError as error:
        if "have a resource type" in str(error):
            return []
        warnings.append(f"{kind} cannot be listed ({error})")
        return None


def _links(deployments: dict[str, Any]) -> dict[ChainLink, list[str]]:
    producers = sorted(name for name in deployments if name.startswith(("ei-sample-", "ei-camera-")))
    if deployments.get(CAMERA_POOL, {}).get("spec", {}).get("replicas") == 0:
        # An installation without cameras in the pool needs neither.
        producers = [name for name in producers if name not in (CAMERA_POOL, CAMERA_CONTROLLER)]
    workers = sorted(name for name in deployments if name.startswith("ei-infer-"))
    return {
        ChainLink.CAMERA: producers,
        ChainLink.QUEUE: [REDIS] if REDIS in deployments else [],  # an external Redis has none
        ChainLink.WORKER: workers,
        ChainLink.RELAY: [RELAY],
        ChainLink.GATEWAY: [GATEWAY],
        ChainLink.HOUSEKEEPING: [HOUSEKEEPING],
        # An installation without events needs none.
        ChainLink.EVENTS: [EVENTS] if deployments.get(EVENTS, {}).get("spec", {}).get("replicas", 0) else [],
    }


def _problem(name: str, deployment: dict[str, Any] | None, pods: list[dict[str, Any]], run: Kubectl) -> str | None:
    if deployment is None:
        return f"{name} does not exist"
    if deployment["spec"].get("replicas", 1) == 0:
        return f"{name} is scaled to zero"
    if deployment.get("status", {}).get("readyReplicas", 0) > 0:
        return None
    labels = deployment["spec"]["selector"]["matchLabels"].items()
    own = [pod for pod in pods if labels <= pod["metadata"].get("labels", {}).items()]
    reasons = [reason for pod in own if (reason := _pod_reason(pod, run))]
    return f"{name} has no Ready pod" + (f" ({reasons[0]})" if reasons else "")


def _waits_for_resize(pod: dict[str, Any]) -> str | None:
    """What to say of a pod whose resize in place does not fit its node."""
    for each in pod.get("status", {}).get("conditions", ()):
        if each["type"] == "PodResizePending" and each["status"] == "True":
            return (
                f"pod {pod['metadata']['name']} waits for its new size ({each.get('reason', 'Deferred')}). Scheduler "
                "and HPA count with it already, so new pods can stay Pending: lower its request or make room"
            )
    return None


def _pod_reason(pod: dict[str, Any], run: Kubectl) -> str:
    status = pod.get("status", {})
    for container in status.get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            detail = str(waiting.get("message", ""))[:160]
            if container.get("restartCount", 0) > 0:
                detail = _last_line(pod["metadata"]["name"], run) or detail
            return f"{waiting.get('reason', 'waiting')}: {detail}".rstrip(": ")
    for condition in status.get("conditions", ()):
        if condition.get("status") == "False" and condition.get("message"):
            return f"{condition['type']} is false: {condition['message'][:160]}"
    return str(status.get("phase", ""))


def _last_line(pod: str, run: Kubectl) -> str:
    try:
        lines = run(["logs", pod, "--previous", "--tail=1"]).strip().splitlines()
    except ElasticInferenceError:
        return ""
    return lines[-1][:200] if lines else ""


def _advice(link: ChainLink, name: str, deployments: dict[str, Any]) -> str:
    namespace = next((each["metadata"].get("namespace") for each in deployments.values()), None)
    kubectl = f"kubectl -n {namespace}" if namespace else "kubectl"
    return f"{kubectl} describe deployment {name}; {kubectl} rollout status deployment/{name}; link: {link.value}."


def _inside(run: Kubectl) -> dict[ChainLink, Finding]:
    """Runs this program inside the gateway's pod, which has all addresses and credentials; returns its findings."""
    try:
        # exit code 1 means that a link is broken, which is an answer
        command = "ei-status --inside --json || test $? = 1"
        text = run(["exec", f"deployment/{GATEWAY}", "--", "sh", "-c", command])
        rows = json.loads(text)["findings"]
        return {
            ChainLink(row["link"]): Finding(ChainLink(row["link"]), State(row["state"]), row["text"], row["advice"])
            for row in rows
        }
    except (ElasticInferenceError, ValueError, KeyError) as error:
        return {ChainLink.GATEWAY: Finding.unknown(ChainLink.GATEWAY, f"the check from inside its pod failed: {error}")}
