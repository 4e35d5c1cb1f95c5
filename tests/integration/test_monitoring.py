"""The monitoring that ships: rules by promtool, every panel and rule against a real Prometheus and real services."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from elastic_inference.domain.errors import InvalidReason
from tests.support.manifests import PROJECT, Peer, allowed
from tests.support.monitoring import (
    Prometheus,
    config_map,
    dashboard_queries,
    generated,
    pod,
    tool,
    with_static_targets,
)
from tests.support.ports import free_port
from tests.support.system import ServiceProcess, System
from tests.support.viewer import Viewer
from tests.support.waiting import wait_for

DOCUMENT = PROJECT / "doc" / "inference_metrics.md"
EXAMPLES = [Path(__file__).parent / f"monitoring_{name}.yaml" for name in ("rules", "alerts")]


@pytest.fixture(scope="module")
def monitoring(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    return generated(tmp_path_factory.mktemp("monitoring"), "monitoring")


@pytest.fixture(scope="module")
def rules(monitoring: list[dict[str, object]]) -> str:
    return config_map(monitoring, "ei-prometheus-config", "rules.yml")


@pytest.fixture(scope="module")
def config(monitoring: list[dict[str, object]]) -> str:
    return config_map(monitoring, "ei-prometheus-config", "prometheus.yml")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_configuration(config: str, rules: str, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(json.dumps(with_static_targets(config, [], tmp_path)))
    (tmp_path / "rules.yml").write_text(rules)
    said = run(tool("promtool"), "check", "config", str(tmp_path / "prometheus.yml"))
    assert re.search(r"[1-9]\d* rules found", said), said
    interval, timeout = (yaml.safe_load(config)["global"][key] for key in ("scrape_interval", "scrape_timeout"))
    assert (interval, timeout) == ("5s", "4s"), "as often as METRICS_WINDOW_S"


def test_alerts_reach_an_alertmanager_that_is_named(config: str, tmp_path: Path) -> None:
    assert "alerting" not in yaml.safe_load(config)
    made = generated(tmp_path, "monitoring", "--set", "ALERTMANAGER=alertmanager.watch.svc:80")
    told = config_map(made, "ei-prometheus-config", "prometheus.yml")
    (tmp_path / "prometheus.yml").write_text(json.dumps(with_static_targets(told, [], tmp_path)))
    (tmp_path / "rules.yml").write_text(config_map(made, "ei-prometheus-config", "rules.yml"))
    run(tool("promtool"), "check", "config", str(tmp_path / "prometheus.yml"))
    (manager,) = yaml.safe_load(told)["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager.watch.svc:80"]}]
    policies = [each for each in made if each["kind"] == "NetworkPolicy"]
    prometheus, elsewhere = Peer({"app": "ei-prometheus"}), Peer(address="10.244.9.9")
    assert {port for port in (80, 9093, 9095) if allowed(policies, prometheus, elsewhere, port)} == {80, 9093}


def test_every_rule_does_what_its_examples_say(rules: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rules)
    copies = [shutil.copy(each, tmp_path) for each in EXAMPLES]
    run(tool("promtool"), "test", "rules", *map(str, copies))


def test_every_rule_has_an_example(rules: str) -> None:
    examples = [test for each in EXAMPLES for test in yaml.safe_load(each.read_text())["tests"]]
    expected = [
        test["alertname"] for each in examples for test in each.get("alert_rule_test", ()) if test["exp_alerts"]
    ]
    queries = [test["expr"] for each in examples for test in each.get("promql_expr_test", ())]
    for group in yaml.safe_load(rules)["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["alert"] in expected
            else:
                assert any(rule["record"] in query for query in queries), rule["record"]


def test_the_operators_rules_are_the_same(rules: str, tmp_path: Path) -> None:
    operator = generated(tmp_path, "monitoring/operator")
    by_kind = {each["kind"]: each for each in operator}
    assert set(by_kind) == {"PodMonitor", "PrometheusRule"}
    assert by_kind["PrometheusRule"]["spec"] == yaml.safe_load(rules)


def test_the_dashboard_is_complete(monitoring: list[dict[str, object]]) -> None:
    dashboard = json.loads(config_map(monitoring, "ei-grafana-dashboard", "elastic-inference.json"))
    assert dashboard["uid"]
    assert dashboard["schemaVersion"] >= 39
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["targets"], panel["title"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_dashboard_asks_the_data_source_that_is_chosen_and_ours_at_first(
    monitoring: list[dict[str, object]],
) -> None:
    dashboard = json.loads(config_map(monitoring, "ei-grafana-dashboard", "elastic-inference.json"))
    (ours,) = yaml.safe_load(config_map(monitoring, "ei-grafana-provisioning", "datasources.yaml"))["datasources"]
    chosen, *variables = dashboard["templating"]["list"]
    assert (chosen["name"], chosen["type"], chosen["query"]) == ("datasource", "datasource", ours["type"])
    assert chosen["current"] == {"text": ours["name"], "value": ours["uid"]}
    queried = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    askers = [*variables, *queried, *(target for panel in queried for target in panel["targets"])]
    assert {each["datasource"]["uid"] for each in askers} == {"${datasource}"}


def test_the_dashboard_keeps_namespaces_apart_and_names_the_target(tmp_path: Path) -> None:
    made = generated(tmp_path, "monitoring", "--set", "RATIO_TARGET=0.65")
    dashboard = json.loads(config_map(made, "ei-grafana-dashboard", "elastic-inference.json"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            if "{{infer_type}}" in target["legendFormat"]:
                assert "{{namespace}}" in target["legendFormat"], panel["title"]
            for grouped in re.findall(r"by \(([^)]*)\)", target["expr"]):
                assert "infer_type" not in grouped or "namespace" in grouped, panel["title"]
            if "_frames_dropped_" in target["expr"] or "_frames_invalid_" in target["expr"]:
                assert 'infer_type=~"$infer_type"' in target["expr"], panel["title"]
    described = {panel["title"]: panel.get("description", "") for panel in dashboard["panels"]}
    assert "Ratio 0.65 is the target" in described["Scale ratio and pods"]


def test_every_reason_of_an_invalid_frame_is_explained() -> None:
    explained = DOCUMENT.read_text().partition("Reasons of `ei_frames_invalid_total`")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in explained.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(["reason", *(each.value for each in InvalidReason)])


def test_grafana_and_prometheus_are_at_their_node_ports_and_the_password_is_a_secret(
    monitoring: list[dict[str, object]],
) -> None:
    services = {each["metadata"]["name"]: each["spec"] for each in monitoring if each["kind"] == "Service"}  # type: ignore[index]
    ports = {name: spec["ports"][0].get("nodePort") for name, spec in services.items()}
    assert ports == {"ei-grafana": 31008, "ei-prometheus": 31009, "ei-prometheus-adapter": None}
    secrets = [each for each in monitoring if each["kind"] == "Secret"]
    assert len(secrets) == 1
    password = secrets[0]["stringData"]["grafana-password"]  # type: ignore[index]
    assert len(password) >= 24
    assert str(monitoring).count(password) == 1


def services_of(system: System, clip: Path, model: Path) -> dict[str, ServiceProcess]:
    """One of each service, by its component; all ready."""
    services = {
        "websocket-server": system.websocket_server(),
        "gateway": system.gateway(),
        "housekeeping": system.service("housekeeping", {"SCALER_PORT": str(free_port())}),
        "events": system.service("events"),
        "inference": system.infer("face", {"INFER_MODEL_PATH": str(model)}),
        "producer": system.file(clip, "face", "gate-1", {"VIDEO_FPS": "5", "FRAME_WIDTH": "320"}),
        "sources": system.source_worker(),
    }
    for service in services.values():
        service.wait_ready()
    return services


def check_labels(prometheus: Prometheus, services: dict[str, ServiceProcess]) -> None:
    wait_for(lambda: len(prometheus.query("up")) >= len(services), 30, "the first scrapes")
    labels = {each["metric"]["pod"]: each["metric"] for each in prometheus.query("up")}
    assert set(labels) == {f"ei-{part}-0" for part in services}
    assert {key: labels["ei-gateway-0"][key] for key in ("namespace", "app", "component", "job")} == {
        "namespace": "default",
        "app": "ei-gateway",
        "component": "gateway",
        "job": "elastic-inference",
    }


def check_documented(prometheus: Prometheus) -> None:
    text = DOCUMENT.read_text()
    explained = {re.sub(r"_total$", "", name) for name in re.findall(r"^\| `(ei_\w+)`", text, re.MULTILINE)}
    # A worker exports them for each sink, zone and line that it has; tests/integration/deliver and events look at them.
    sinks = {name for name in explained if name.startswith(("ei_sink_", "ei_event_zone_", "ei_event_line_"))}
    # A pod exports its canary's figures while it has one; test_model_switch looks at them.
    figures = {"ei_canary_agreement", "ei_canary_confidence", "ei_canary_frame_seconds"}

    for name in sorted(explained - sinks - figures):
        # Some come with the first pod, or the first result, that their service sees.
        wait_for(lambda name=name: name in exported(prometheus), 60, f"{name}, which is in doc/inference_metrics.md,")
    assert exported(prometheus) - explained == set(), "not in doc/inference_metrics.md"


def exported(prometheus: Prometheus) -> set[str]:
    """The names of our metrics that Prometheus has, as the document writes them."""
    names = [name for name in prometheus.get("label/__name__/values") if name.startswith("ei_")]
    return {re.sub(r"_(bucket|count|sum|created|total)$", "", name) for name in names}


def check_panels(prometheus: Prometheus, dashboard: dict[str, Any]) -> None:
    empty: list[str] = []

    def none_is_empty() -> bool:
        empty[:] = [name for name, query in dashboard_queries(dashboard) if not prometheus.query(query)]
        return not empty

    try:
        wait_for(none_is_empty, 60, "every panel to show something")
    except AssertionError:
        pytest.fail(f"panels without data: {empty}")


def check_rules(prometheus: Prometheus, rules: str) -> None:
    groups = yaml.safe_load(rules)["groups"]
    recorded = [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]
    wait_for(lambda: all(prometheus.query(name) for name in recorded), 90, "every recording rule to have a value")
    unhealthy: dict[str, str] = {}

    def every_rule_is_healthy() -> bool:
        # a rule that was not evaluated yet is "unknown"
        states = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        unhealthy.clear()
        unhealthy.update({rule["name"]: rule.get("lastError", "") for rule in states if rule["health"] != "ok"})
        return not unhealthy

    try:
        wait_for(every_rule_is_healthy, 60, "the first evaluation of every rule")
    except AssertionError:
        pytest.fail(f"unhealthy rules: {unhealthy}")


def test_every_panel_rule_and_documented_metric_is_there(
    monitoring: list[dict[str, object]],
    sample_clips: dict[str, Path],
    embedded_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    config, rules = (config_map(monitoring, "ei-prometheus-config", name) for name in ("prometheus.yml", "rules.yml"))
    dashboard = json.loads(config_map(monitoring, "ei-grafana-dashboard", "elastic-inference.json"))
    with System() as system:
        services = services_of(system, sample_clips["carphone_pristine"], embedded_models["blazeface"])
        targets = [(pod(f"ei-{part}", part), service.metrics_port) for part, service in services.items()]
        targets.append((pod("ei-redis", "redis", port="redis"), system.valkey.port))
        targets.append((pod("ei-old", "inference", phase="Failed"), services["inference"].metrics_port))
        viewer = Viewer(f"ws://127.0.0.1:{system.gateway_port}", "gate-1:face:inferred")
        with Prometheus(tmp_path, config, rules, targets) as prometheus, viewer:
            viewer.wait_for(lambda _: True, 30, "a result")
            check_labels(prometheus, services)
            check_panels(prometheus, dashboard)
            check_rules(prometheus, rules)
            check_documented(prometheus)
