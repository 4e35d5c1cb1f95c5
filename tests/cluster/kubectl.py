"""A thin wrapper of kubectl, for the tests on a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for

METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics', timeout=5).read().decode())"


class Kubectl:
    """kubectl in one namespace, with the cluster's environment."""

    def __init__(self, namespace: str, environ: Mapping[str, str]) -> None:
        self.namespace = namespace
        self.environ = {**os.environ, **environ}

    def run(self, *arguments: str, check: bool = True, stdin: str | None = None, timeout_s: float = 120) -> str:
        """What kubectl prints; AssertionError with its error message if it fails."""
        done = subprocess.run(
            ["kubectl", "-n", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=self.environ,
        )
        assert done.returncode == 0 or not check, f"kubectl {' '.join(arguments[:6])}: {done.stderr.strip()[-1500:]}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """`kubectl get … -o json`."""
        return json.loads(self.run("get", *arguments, "-o", "json"))

    def apply(self, *files: Path) -> str:
        """`kubectl apply -f`."""
        return self.run("apply", *[part for each in files for part in ("-f", str(each))])

    def pods(self, app: str) -> list[dict[str, Any]]:
        """Pods with the label `app` that are not being deleted."""
        found = self.get("pods", "-l", f"app={app}")["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def ready_pods(self, app: str) -> list[str]:
        """Names of those that are Ready."""
        return [
            each["metadata"]["name"]
            for each in self.pods(app)
            if any(c["type"] == "Ready" and c["status"] == "True" for c in each["status"].get("conditions", ()))
        ]

    def wait_rolled_out(self, timeout_s: float = 180) -> None:
        """Waits until every deployment of the namespace has all its pods, updated and Ready."""

        def all_there() -> bool:
            return not self.unready()

        try:
            wait_for(all_there, timeout_s, "every deployment to be rolled out", every_s=1)
        except AssertionError as error:
            pods = self.run("get", "pods", "-o", "wide")
            raise AssertionError(f"{error}\n{pods}\n{self.last_events()}\n{self.last_words()}") from None

    def unready(self) -> list[str]:
        """Deployments that lack a pod, with the number they have."""
        missing = []
        for each in self.get("deployments")["items"]:
            wanted, status = each["spec"].get("replicas", 1), each.get("status", {})
            settled = status.get("observedGeneration") == each["metadata"]["generation"]
            counts = [status.get(key, 0) for key in ("readyReplicas", "updatedReplicas", "replicas")]
            if not settled or counts != [wanted] * 3:
                missing.append(f"{each['metadata']['name']} {counts} of {wanted}")
        return missing

    def last_words(self) -> str:
        """The last lines that the pods of each deployment that lacks one wrote."""
        apps = [each.partition(" ")[0] for each in self.unready()]
        return "\n".join(f"{app}:\n{self.run('logs', f'deployment/{app}', '--tail=4', check=False)}" for app in apps)

    def last_events(self) -> str:
        """The last events, oldest first."""
        return "\n".join(self.run("get", "events", "--sort-by=.lastTimestamp").splitlines()[-15:])

    def metrics(self, pod: str) -> dict[str, float]:
        """A pod's metrics, asked from inside, since policies keep others out."""
        text = self.run("exec", pod, "--", "python", "-c", METRICS)
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
