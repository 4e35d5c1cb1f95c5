"""KEDA's query for a pool that works, sleeps, or cannot be scraped: promtool runs it from the generated manifest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.monitoring import generated, tool

N = 'namespace="default"'
PODS = (
    f'ei_scale_ratio{{{N},infer_type="face-fp32",pod="a"}}',
    f'ei_scale_ratio{{{N},infer_type="face-fp32",pod="b"}}',
)
UP = f'ei_redis_up{{{N},part="broker",pod="h1"}}'
REFUSED = f'ei_redis_refused{{{N},part="broker",pod="h1"}}'
# A Prometheus that came back 10 s ago.
BACK = "_x18 1x2"
WORKERS = f'ei_workers{{{N},infer_type="face-fp32",pod="h1"}}'


SOURCES = tuple(f'ei_scale_ratio{{{N},pod="ei-camera-pool-app-{pod}"}}' for pod in "ab")


@pytest.fixture(scope="module")
def triggers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The Prometheus trigger of each ScaledObject, by its name."""
    found: dict[str, dict[str, str]] = {}
    for each in generated(tmp_path_factory.mktemp("keda"), "scale/keda"):
        if each["kind"] == "ScaledObject":
            (found[each["metadata"]["name"]],) = (
                trigger["metadata"] for trigger in each["spec"]["triggers"] if trigger["type"] == "prometheus"
            )
    return found


@pytest.fixture(scope="module")
def trigger(triggers: dict[str, dict[str, str]]) -> dict[str, str]:
    return triggers["ei-infer-face-fp32-app"]


def test_a_missing_value_is_an_error_and_not_a_demand_of_zero(trigger: dict[str, str]) -> None:
    assert trigger["ignoreNullValues"] == "false"


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param({PODS[0]: "1.5x20", PODS[1]: "0.9x20", UP: "1x20", WORKERS: "2x20"}, 2.4, id="two pods"),
        pytest.param({PODS[0]: "1.5x20"}, 1.5, id="no housekeeping"),
        pytest.param({UP: "1x20", WORKERS: "0x20"}, 0, id="asleep"),
        pytest.param({UP: "1x20"}, 0, id="asleep and never used"),
        pytest.param({UP: "1x20", WORKERS: "2x20"}, None, id="the pods cannot be scraped"),
        pytest.param({UP: "1x20", REFUSED: "0x20", WORKERS: "0x20"}, 0, id="asleep, nothing refused"),
        pytest.param({UP: "0x20"}, None, id="the broker is unavailable"),
        pytest.param({UP: "1x20", REFUSED: "1x20"}, None, id="the broker refuses to name the pods"),
        pytest.param({}, None, id="a Prometheus that has just started"),
        pytest.param({PODS[0]: BACK, UP: BACK, WORKERS: "_x18 2x2"}, None, id="it is back, a pod is missing"),
        pytest.param({PODS[0]: BACK}, None, id="it is back, one pod and no housekeeping yet"),
        pytest.param({PODS[0]: BACK, UP: BACK}, None, id="it is back, and the pods are not registered yet"),
        pytest.param({PODS[0]: BACK, PODS[1]: BACK, UP: BACK, WORKERS: "_x18 2x2"}, 2, id="it is back, with all pods"),
        pytest.param({PODS[0]: "_x15 1x5"}, 1, id="it has been back for 25 s, no housekeeping"),
        pytest.param({PODS[0]: BACK, UP: "1x20", WORKERS: "0x20"}, 1, id="the first pod of a type"),
        pytest.param({PODS[0]: "1x20", UP: "1x20", WORKERS: "1x19 2"}, 1, id="a pod joins"),
        pytest.param({PODS[0]: "1x20", PODS[1]: "1x10 stale", UP: "1x20", WORKERS: "2x20"}, 1, id="a pod was killed"),
        pytest.param({PODS[0]: "1x20", PODS[1]: "1x4 stale", WORKERS: "2x20"}, None, id="a pod is no longer scraped"),
        pytest.param({PODS[0].replace("face-fp32", "face-int8"): "1x20"}, None, id="another type"),
        pytest.param({PODS[0].replace("default", "other"): "1x20"}, None, id="another namespace"),
    ],
)
def test_the_demand_in_pods(
    trigger: dict[str, str], tmp_path: Path, series: dict[str, str], expected: float | None
) -> None:
    check(tmp_path, trigger["query"], series, expected)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param({SOURCES[0]: "0.5x20", SOURCES[1]: "0.7x20"}, 1.2, id="two workers"),
        pytest.param({SOURCES[0]: "0.5x20", SOURCES[1]: BACK}, 1.5, id="a worker joins"),
        pytest.param({SOURCES[0]: BACK}, None, id="a Prometheus that is back"),
        pytest.param({SOURCES[0]: "_x15 1x5"}, 1, id="a Prometheus that has been back for 25 s"),
        pytest.param({}, None, id="a Prometheus that has just started"),
    ],
)
def test_the_source_workers_demand(
    triggers: dict[str, dict[str, str]], tmp_path: Path, series: dict[str, str], expected: float | None
) -> None:
    check(tmp_path, triggers["ei-camera-pool-app"]["query"], series, expected)


def check(tmp_path: Path, query: str, series: dict[str, str], expected: float | None) -> None:
    """Evaluates the query after 100 s; None: it has no value."""
    samples = [] if expected is None else [{"labels": "{}", "value": expected}]
    case = {
        "interval": "5s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "100s", "exp_samples": samples}],
    }
    (tmp_path / "tests.yml").write_text(json.dumps({"evaluation_interval": "5s", "tests": [case]}))
    done = subprocess.run(
        [tool("promtool"), "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
