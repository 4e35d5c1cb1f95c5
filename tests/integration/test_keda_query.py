"""KEDA's query for a pool that works, sleeps, or cannot be scraped: promtool runs it from the generated manifest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.monitoring import generated, tool

N = 'namespace="default"'
PODS = (
    f'ei_scale_ratio{{{N},infer_type="face-fp32",pod="a"}}',
    f'ei_scale_ratio{{{N},infer_type="face-fp32",pod="b"}}',
)
UP = f'ei_redis_up{{{N},part="broker",pod="h1"}}'
REFUSED = f'ei_redis_refused{{{N},part="broker",pod="h1"}}'
WORKERS = f'ei_workers{{{N},infer_type="face-fp32",pod="h1"}}'


@pytest.fixture(scope="module")
def trigger(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    documents = generated(tmp_path_factory.mktemp("keda"), "scale/keda")
    (face,) = (
        each
        for each in documents
        if each["kind"] == "ScaledObject" and each["metadata"]["name"] == "ei-infer-face-fp32-app"  # type: ignore[index]
    )
    triggers: list[dict[str, Any]] = face["spec"]["triggers"]  # type: ignore[index]
    (found,) = (each["metadata"] for each in triggers if each["type"] == "prometheus")
    return dict(found)


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
        pytest.param({PODS[0].replace("face-fp32", "face-int8"): "1x20"}, None, id="another type"),
        pytest.param({PODS[0].replace("default", "other"): "1x20"}, None, id="another namespace"),
    ],
)
def test_the_demand_in_pods(
    trigger: dict[str, str], tmp_path: Path, series: dict[str, str], expected: float | None
) -> None:
    samples = [] if expected is None else [{"labels": "{}", "value": expected}]
    case = {
        "interval": "5s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": trigger["query"], "eval_time": "100s", "exp_samples": samples}],
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
