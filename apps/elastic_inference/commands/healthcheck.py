"""The HEALTHCHECK of the images: asks the service in the same container whether it is alive.

It imports only the standard library, since it runs every few seconds. Kubernetes uses its own probes.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

from elastic_inference.base.ports import METRICS_PORT

TIMEOUT_S = 2.0


def check(port: int, host: str = "127.0.0.1") -> str:
    """Why the service at `port` is not alive; empty if it is."""
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/healthz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"{url} answered {error.code}: {error.read(400).decode(errors='replace').strip()}"
    except OSError as error:
        return f"{url} is unreachable: {error}"


def main() -> int:
    """Exit code 0 if the service is alive, else 1 and the reason."""
    port = os.environ.get("METRICS_PORT", str(METRICS_PORT))
    host = os.environ.get("METRICS_HOST", "").strip("[] ") or "127.0.0.1"
    why = check(int(port), host) if port.isdigit() else f"METRICS_PORT is {port!r}: expected a port"
    if why:
        sys.stderr.write(f"{why}\n")
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())
