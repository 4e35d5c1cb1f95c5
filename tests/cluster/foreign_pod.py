"""What a pod that does not belong to the suite can connect to."""

from __future__ import annotations

import json
import time

from tests.cluster.conftest import PATIENCE_S, Installation
from tests.support.waiting import wait_for

ASK = """
import json, socket, sys, time
opens, asked = json.loads(sys.argv[1]), json.loads(sys.argv[2])
def connects(host, port):
    try:
        socket.create_connection((host, port), 3).close()
        return True
    except OSError:
        return False
deadline = time.monotonic() + 60
while not connects(*opens) and time.monotonic() < deadline:
    time.sleep(0.5)
print(json.dumps({f"{host}:{port}": connects(host, port) for host, port in asked}), flush=True)
"""


def ask_from(
    here: Installation, namespace: str, opens: tuple[str, int], asked: list[tuple[str, int]]
) -> dict[str, bool]:
    """What a foreign pod can connect to. Waits until it reaches `opens`, when the network plugin knows the pod."""
    name = f"foreign-{time.monotonic_ns()}"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "foreign"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "ask",
                    "image": f"{here.registry}/ei-websocket-server:{here.tag}",
                    "command": ["python", "-c", ASK, json.dumps(opens), json.dumps(asked)],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    here.kubectl.run("-n", namespace, "apply", "-f", "-", stdin=json.dumps(pod))
    try:
        done = wait_for(
            lambda: here.kubectl.get("-n", namespace, "pod", name)["status"]["phase"] in ("Succeeded", "Failed"),
            PATIENCE_S,
            f"the foreign pod in {namespace}",
            every_s=0.5,
        )
        assert done
        answer: dict[str, bool] = json.loads(here.kubectl.run("-n", namespace, "logs", name).strip().splitlines()[-1])
        return answer
    finally:
        here.kubectl.run("-n", namespace, "delete", "pod", name, "--wait=false", "--grace-period=0", check=False)
