"""Runs Schemathesis: requests made from the gateway's own description, good ones and bad, to the real gateway."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from elastic_inference.flows.gateway.server import HERE
from tests.fuzz.outcome import Outcome
from tests.fuzz.services import CAMERAS, Services
from tests.fuzz.with_atheris import FOLDER

NAME = "Schemathesis"
# A response of events never ends: the requests of `raw_requests` read its head.
EXCLUDED = ["--exclude-path", "/api/events"]
# Longer than the gateway itself waits for others: 12 s for the owner of the cameras, 65 s for an event worker.
ANSWER_WITHIN_S = 80
# Cameras have rules that no schema can express, such as what a URL is: a body that fits the schema may be refused.
# If-Match is checked before the body. A camera that is switched on here makes a stream without frames. Sinks have such
# rules too, and no event worker runs here; a cursor of the right form may still be invalid. What a type runs can be
# read after its choice has been removed, and so can the counts of a camera: a legacy producer may have its name.
_CONFIG = """\
[dictionaries]
names = {{ values = {names} }}
urls = {{ values = {urls} }}

[[operations]]
include-path-regex = "^/api/cameras"
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 412, 415, 422, 429, 503]
[operations.parameters]
"path.name" = {{ dictionary = "names", probability = 0.9 }}
"body.url" = {{ dictionary = "urls", probability = 0.8 }}

[[operations]]
include-path-regex = "^/api/(sinks|events/log)"
checks.positive_data_acceptance.enabled = false
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", 503]

[[operations]]
include-path-regex = "^/api/types/.*(model|canary)"
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 412, 415, 422, 429, 503]

[[operations]]
include-path-regex = "(/counts|/model)$"
checks.use_after_free.enabled = false

[[operations]]
include-path-regex = "snapshot"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", 503, 504]
"""
# An address where nobody answers, one that no camera may have, a file, and text that is not an address.
_URLS = (
    "rtsp://127.0.0.99/a?key=1",
    "http://127.0.0.99:1/",
    "rtsp://10.0.0.7/",
    "file:///a.mp4",
    "onvif://127.0.0.99/",
)


def run_api(services: Services, examples: int, limit_s: float, number: int) -> Outcome:
    """About `examples` requests for each operation; with a limit, again and again until that time has passed."""
    outcome = Outcome(NAME, f"the API, {'with' if services.token else 'without'} a token")
    url = f"http://127.0.0.1:{services.gateway_port}"
    login = ["-H", f"Authorization: Bearer {services.token}"] if services.token else []
    bounds = ["--max-examples", str(examples), "--seed", str(number)]
    if limit_s:
        bounds += ["--max-time", str(max(1, round(limit_s)))]
    command = [
        str(FOLDER / "bin" / "schemathesis"),
        "--config-file",
        "schemathesis.toml",
        "run",
        str(HERE / "openapi.json"),
        "--url",
        url,
        *login,
    ]
    command += [*bounds, *EXCLUDED, "--generation-deterministic", "--no-color"]
    with tempfile.TemporaryDirectory(prefix="ei-fuzz-") as folder:
        Path(folder, "schemathesis.toml").write_text(_CONFIG.format(names=json.dumps(CAMERAS), urls=json.dumps(_URLS)))
        done = subprocess.run(
            [*command, "--request-timeout", f"{ANSWER_WITHIN_S}"],
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
