"""Our Prometheus rules, scrape configuration and dashboard, and a real Prometheus that uses them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.manifests import PROJECT, generate, load
from tests.support.ports import free_port
from tests.support.waiting import wait_for


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`; skips without it on a laptop, fails in CI."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is missing: install Debian's package `prometheus`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def generated(folder: Path, template: str, *arguments: str) -> list[dict[str, Any]]:
    """The documents that the templates under `kubernetes/<template>` give with additional `arguments`."""
    out = folder / template.replace("/", "-")
    out.mkdir(parents=True)
    generate("-r", "registry.example.org", "-f", str(PROJECT / "kubernetes" / template), "-o", str(out), *arguments)
    return load(*sorted(out.glob("*.yaml")))


def config_map(documents: Sequence[Mapping[str, Any]], name: str, key: str) -> str:
    """One file of a ConfigMap."""
    found = [each for each in documents if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} ConfigMaps are called {name}"
    return str(found[0]["data"][key])


def dashboard_queries(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(panel's title and letter, query for every namespace and type) of each query of a Grafana dashboard."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "20s")
            yield f"{panel['title']} {target['refId']}", re.sub(r"\$(namespace|infer_type)", ".*", query)


def with_static_targets(config: str, targets: Sequence[tuple[Mapping[str, str], int]], folder: Path) -> dict[str, Any]:
    """Our Prometheus configuration with fixed targets, (a pod's discovered labels, port), and a fast pace.

    Debian's Prometheus has no Kubernetes discovery; the relabelling stays ours.
    """
    loaded: dict[str, Any] = yaml.safe_load(config)
    loaded["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    loaded["rule_files"] = [str(folder / "rules.yml")]
    job = loaded["scrape_configs"][0]
    assert [each["role"] for each in job.pop("kubernetes_sd_configs")] == ["pod"]
    job["static_configs"] = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {f"__meta_kubernetes_{key}": value for key, value in labels.items()},
        }
        for labels, port in targets
    ]
    return loaded


def pod(app: str, component: str, phase: str = "Running", port: str = "web") -> dict[str, str]:
    """The labels that discovery gives one of our pods."""
    return {
        "namespace": "default",
        "pod_name": f"{app}-0",
        "pod_phase": phase,
        "pod_container_port_name": port,
        "pod_label_app": app,
        "pod_label_app_kubernetes_io_component": component,
    }


class Prometheus:
    """A real Prometheus over our configuration with `targets` in place of a cluster's pods."""

    def __init__(self, folder: Path, config: str, rules: str, targets: Sequence[tuple[Mapping[str, str], int]]) -> None:
        self._folder = folder
        self.port = free_port()
        (folder / "rules.yml").write_text(rules)
        # JSON is YAML
        (folder / "prometheus.yml").write_text(json.dumps(with_static_targets(config, targets, folder)))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )
        wait_for(self._ready, 60, "Prometheus to be ready")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def get(self, path: str, **parameters: str) -> Any:
        """`data` of a response of its API; AssertionError with Prometheus' own message when it refuses."""
        query = urllib.parse.urlencode(parameters)
        request = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode(errors='replace')}") from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query that are numbers."""
        result: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return [each for each in result if each["value"][1] != "NaN"]

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
