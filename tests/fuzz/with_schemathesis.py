"""Runs Schemathesis: requests made from the gateway's own description, good ones and bad, to the real gateway."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile

from elastic_inference.flows.gateway.server import HERE
from tests.fuzz.outcome import Outcome
from tests.fuzz.services import Services
from tests.fuzz.with_atheris import FOLDER

NAME = "Schemathesis"
# A response of events never ends: the requests of `raw_requests` read its head.
# Cameras have rules that no schema tells, and no owner runs here: the target `changes of cameras` tries their bodies.
_NOT_TRIED = ("/api/events", "/api/cameras", "/api/cameras/{name}", "/api/cameras/probe")
EXCLUDED = [argument for path in _NOT_TRIED for argument in ("--exclude-path", path)]
CHECKS = "all"


def run_api(services: Services, examples: int, limit_s: float, number: int) -> Outcome:
    """About `examples` requests for each operation; with a limit, again and again until that time has passed."""
    outcome = Outcome(NAME, f"the API, {'with' if services.token else 'without'} a token")
    url = f"http://127.0.0.1:{services.gateway_port}"
    login = ["-H", f"Authorization: Bearer {services.token}"] if services.token else []
    bounds = ["--max-examples", str(examples), "--seed", str(number)]
    if limit_s:
        bounds += ["--max-time", str(max(1, round(limit_s)))]
    command = [str(FOLDER / "bin" / "schemathesis"), "run", str(HERE / "openapi.json"), "--url", url, *login]
    command += [*bounds, *EXCLUDED, "--checks", CHECKS, "--generation-deterministic", "--no-color"]
    with tempfile.TemporaryDirectory(prefix="ei-fuzz-") as folder:
        done = subprocess.run(
            [*command, "--request-timeout", "10"],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    counted = re.findall(r"([\d,]+) (?:generated|test cases?)", done.stdout)
    outcome.inputs = max((int(each.replace(",", "")) for each in counted), default=0)
    outcome.find = services.problem()
    if done.returncode or not outcome.inputs:
        outcome.find = f"exit code {done.returncode}\n{done.stdout[-12000:]}\n{done.stderr[-2000:]}\n{outcome.find}"
    return outcome
