#!/usr/bin/env bash
# One would guess: a function made with functions-framework (@functions_framework.cloud_event, for Knative, Cloud Run
# and the like) takes all forms of CloudEvents over HTTP, or refuses one that it does not take with 415 or 400.
# What happens (functions-framework 3.10.2 with cloudevents 1.12.0, November 2026): it takes the binary and the
# structured form. A batch (application/cloudevents-batch+json, a form of the HTTP binding too) is taken for an event of
# Google's format from before CloudEvents, and answered with 500; the log has a TypeError about an argument that must be
# a mapping. To a sender 500 means "try again": it repeats the batch without end and holds up what comes after.
# Remedy: no batches to functions, or @functions_framework.http and cloudevents.http.from_dict for each element.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check functions-framework==3.10.2 cloudevents==1.12.0
python="$folder/venv/bin/python"
cat >"$folder/main.py" <<'PYTHON'
import functions_framework


@functions_framework.cloud_event
def take(event):
    print("taken:", event["id"], flush=True)
PYTHON
port=$("$python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
"$folder/venv/bin/functions-framework" --source "$folder/main.py" --target take --host 127.0.0.1 --port "$port" \
    >"$folder/log" 2>&1 &
server=$!
"$python" - "$port" "$folder/log" <<'PYTHON'
import json
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

port, log = sys.argv[1], Path(sys.argv[2])


def event(number):
    return {"specversion": "1.0", "type": "zone.entered", "source": "/door", "id": str(number), "data": {"n": number}}


def post(body, headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


deadline = time.monotonic() + 60
while True:
    try:
        attributes = {f"ce-{name}": value for name, value in event(1).items() if name != "data"}
        binary = post(event(1)["data"], {"content-type": "application/json", **attributes})
        break
    except urllib.error.URLError:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
structured = post(event(2), {"content-type": "application/cloudevents+json"})
batch = post([event(3), event(4)], {"content-type": "application/cloudevents-batch+json"})
taken = [line for line in log.read_text().splitlines() if line.startswith("taken:")]
reason = [line for line in log.read_text().splitlines() if line.startswith("TypeError")]
print("functions-framework", version("functions-framework"), "cloudevents", version("cloudevents"))
print(f"binary {binary}, structured {structured}, batch {batch}")
print("; ".join(taken))
print(*reason[:1])
assert (binary, structured) == (200, 200) and taken == ["taken: 1", "taken: 2"]
assert batch == 500 and reason, "batches are taken, or refused as such, now: the behaviour has changed"
print("as described: a batch is answered with 500")
PYTHON
