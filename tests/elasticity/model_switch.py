"""The scenario `model-switch`: the pods' models, what is asked for by the API, and how the switches are judged."""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.commands.models import ask
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.model_views import TypeModel
from elastic_inference.domain.model_wish import DEFAULT_TIME_FACTOR
from tests.elasticity.record import Models, Run
from tests.elasticity.scenarios import Disturbance

ACTION = "model-"
RESET = "reset"
FOLDER = "/models"
SETTINGS_MODEL = "blazeface"
OTHER_MODEL = "blazeface-ir"
# What has to fail, and why.
FAILS = {"broken": "load", "no-such-model": "missing"}
# From the request until `ei_model_info` of every pod names the model, or until the API reports the failure. A pod under
# 100m has half of that for itself, and a switch takes some 0.7 CPU-s; Prometheus scrapes every 5 s.
SWITCHES_WITHIN_S = 60.0
FAILS_WITHIN_S = 60.0
# By how much the largest gap in a stream may be longer than the largest one before the first switch.
GAP_LONGER_S = 1.0
# Gaps before this second belong to the beginning of the load.
GAPS_SINCE_S = 5
_PREPARE = """
import pathlib, shutil, sys
from elastic_inference.flows.inference.runtime import load_openvino
source, folder = map(pathlib.Path, sys.argv[1:3])
kept, made, broken = (folder / each for each in ("blazeface/FP16", "blazeface-ir", "broken"))
for each in (kept, made, broken):
    each.mkdir(parents=True)
shutil.copyfile(source, kept / source.name)
openvino = load_openvino()
model = openvino.Core().read_model(source)
openvino.save_model(model, str(made / "blazeface-ir.xml"), compress_to_fp16=False)
(made / "blazeface-ir.yaml").write_text("labels: {0: face}")
(broken / "broken.onnx").write_text("no model")
"""


def with_models(documents: Sequence[Mapping[str, Any]], model: str) -> list[Mapping[str, Any]]:
    """The type's manifests, whose pods have a folder with several models, made of `model` in their image."""
    found = copy.deepcopy(list(documents))
    for each in found:
        if each["kind"] == "Deployment" and each["metadata"]["name"].startswith("ei-infer-"):
            _add_models(each["spec"]["template"]["spec"], model)
    return found


def prepare_command(model: str, folder: str = FOLDER) -> list[str]:
    """The program and its arguments that fill the folder."""
    return ["python", "-c", _PREPARE, model, folder]


def _add_models(pod: dict[str, Any], model: str) -> None:
    (container,) = pod["containers"]
    settings = {"INFER_MODEL_NAME": SETTINGS_MODEL, "INFER_MODEL_PATH": FOLDER}
    others = [each for each in container["env"] if each["name"] not in settings]
    container["env"] = [*others, *({"name": name, "value": value} for name, value in settings.items())]
    mount = {"name": "models", "mountPath": FOLDER}
    container["volumeMounts"].append({**mount, "readOnly": True})
    pod["volumes"].append({"name": "models", "emptyDir": {"sizeLimit": "64Mi"}})
    small = {"cpu": "20m", "memory": "128Mi"}
    pod["initContainers"] = [
        {
            "name": "models",
            "image": container["image"],
            "imagePullPolicy": container["imagePullPolicy"],
            "command": prepare_command(model),
            "securityContext": container["securityContext"],
            "volumeMounts": [mount, {"name": "tmp", "mountPath": "/tmp"}],
            "resources": {"requests": small, "limits": {"cpu": "1", "memory": "512Mi"}},
        }
    ]


def running_labels(infer_type: str) -> dict[str, str]:
    """The labels with which `ei_model_info` names the model that a pod of the type runs."""
    return {"infer_type": infer_type, "role": "running"}


class ModelApi:
    """The gateway's API of models, as `ei-model` uses it."""

    def __init__(self, gateway: str, token: str, infer_type: str) -> None:
        self._gateway, self._token, self._type = gateway, token, infer_type

    def request(self, what: str) -> TypeModel:
        """Asks for a model, or with `reset` for that of the settings. AssertionError if that is refused."""
        action = "reset" if what == RESET else "switch"
        return self._ask(action, model=what, max_time_factor=DEFAULT_TIME_FACTOR, min_agreement=0.0)

    def failure(self) -> str | None:
        """Why what was asked for last has failed; None if it has not, or if the gateway did not answer."""
        try:
            found = self._ask("show").failure
        except AssertionError:
            return None
        return found.reason.value if found else None

    def _ask(self, action: str, **fields: object) -> TypeModel:
        try:
            return ask(self._gateway, argparse.Namespace(type=self._type, action=action, **fields), self._token)
        except ElasticInferenceError as error:
            raise AssertionError(str(error)) from None


@dataclass(frozen=True)
class Switch:
    """One request. `done_s`: until all pods run the model, or until the failure was known; None if never.

    `others`: models that a pod ran without having been asked to. `gap_s`: the largest gap in a stream from then on.
    """

    asked_s: float
    what: str
    done_s: float | None
    others: tuple[str, ...]
    gap_s: float

    def __str__(self) -> str:
        done = "never" if self.done_s is None else f"after {self.done_s:.0f} s"
        return f"{self.what} at {self.asked_s:.0f} s: done {done}, largest gap {self.gap_s:.2f} s"


def requests(disturb: Sequence[Disturbance]) -> list[tuple[float, str]]:
    """(second, model or `reset`) of each request."""
    return [(at_s, what.removeprefix(ACTION)) for at_s, what in disturb if what.startswith(ACTION)]


def gap_before_s(run: Run, disturb: Sequence[Disturbance]) -> float:
    """The largest gap between two results of a stream before the first request."""
    return _largest(run, GAPS_SINCE_S, requests(disturb)[0][0])


def switches(run: Run, disturb: Sequence[Disturbance]) -> list[Switch]:
    """What came of each request until the next one."""
    asked = requests(disturb)
    ends = [*(at_s for at_s, _ in asked[1:]), math.inf]
    found, now = [], SETTINGS_MODEL
    for (asked_s, what), until_s in zip(asked, ends, strict=True):
        span = [each for each in run.models if asked_s <= each.at_s < until_s]
        before, now = now, now if what in FAILS else SETTINGS_MODEL if what == RESET else what
        done = _failed(span, FAILS[what]) if what in FAILS else _everywhere(span, now, run.expected)
        done_s = None if done is None else done.at_s - asked_s
        others = {
            name
            for each in span
            for name in each.running.values()
            # the former model is right until the switch is done
            if name != now and (name != before or (done is not None and each.at_s >= done.at_s))
        }
        found.append(Switch(asked_s, what, done_s, tuple(sorted(others)), _largest(run, asked_s, until_s)))
    return found


def _failed(span: Sequence[Models], reason: str) -> Models | None:
    return next((each for each in span if each.failure == reason), None)


def _everywhere(span: Sequence[Models], model: str, pods: int) -> Models | None:
    return next((each for each in span if len(each.running) >= pods and set(each.running.values()) == {model}), None)


def missed(run: Run, disturb: Sequence[Disturbance]) -> list[str]:
    """The bars that were missed."""
    problems = []
    usual_s = gap_before_s(run, disturb)
    for each in switches(run, disturb):
        fails = each.what in FAILS
        within_s = FAILS_WITHIN_S if fails else SWITCHES_WITHIN_S
        wanted = "its failure was known" if fails else "all pods ran it"
        if each.done_s is None or each.done_s > within_s:
            problems.append(f"{each}; expected that {wanted} after {within_s:g} s at most")
        if each.others:
            problems.append(f"{each}; pods ran {', '.join(each.others)} too")
        if each.gap_s > usual_s + GAP_LONGER_S:
            problems.append(f"{each}; expected at most {GAP_LONGER_S:g} s more than the {usual_s:.2f} s before")
    if run.disordered:
        problems.append(f"{run.disordered} results were not in their stream's order, or came twice")
    if run.changes():
        problems.append(f"the pool changed with a model: {run.changes()}")
    return problems


def _largest(run: Run, since_s: float, until_s: float) -> float:
    return max((gap for second, gap in run.gaps.items() if since_s <= second < until_s), default=0.0)
