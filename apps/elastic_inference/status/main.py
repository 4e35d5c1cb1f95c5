"""`ei-status`: options, the walk, and its outcome as text or JSON."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from elastic_inference import config
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.status import cluster
from elastic_inference.status.findings import Finding, find, first_broken

DESCRIPTION = """\
Why do I see nothing? Walks camera → queue → worker → broker → relay → gateway of a running system, names the first
broken link and says what to do. Without options it looks at the demo that runs from this folder, else at the cluster
that kubectl points at."""
EPILOG = """\
The password of -u comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt; the gateway's token from GATEWAY_TOKEN
or GATEWAY_TOKEN_FILE. Exit code: 0 all well, 1 a link is broken, 2 the walk could not be made."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        "status.sh", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-q", "--queue", metavar="ADDRESS", help="address of the frame queue")
    parser.add_argument("-p", "--port", metavar="PORT", default="31003", help="its port (%(default)s)")
    parser.add_argument("-u", "--user", help="user of the frame queue")
    parser.add_argument("-g", "--gateway", metavar="URL", help="the gateway, such as http://node:31002")
    parser.add_argument("-w", "--websocket", metavar="URL", help="the websocket server, such as ws://127.0.0.1:31611")
    parser.add_argument("-k", "--kubernetes", action="store_true", help="look at the cluster that kubectl points at")
    parser.add_argument("-n", "--namespace", help="namespace in the cluster")
    parser.add_argument("--inside", action="store_true", help="look from within the gateway's pod, by its settings")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Walks and prints; the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        findings, warnings = _walk(options)
    except KeyboardInterrupt:
        return 130
    except ElasticInferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    broken = first_broken(findings)
    if options.json:
        rows = [
            {"link": each.link.value, "state": each.state.value, "text": each.text, "advice": each.advice}
            for each in findings
        ]
        print(
            json.dumps({"findings": rows, "first_broken": broken.link.value if broken else None, "warnings": warnings})
        )
        return 1 if broken else 0
    for each in findings:
        print(f"{each.link.value:<8} {each.state.value:<7} {each.text}")
    for warning in warnings:
        print(f"warning: {warning}")
    if broken:
        print(f"\nFirst broken link: {broken.link.value}. {broken.advice}")
        return 1
    print("\nEvery link that could be looked at works.")
    return 0


def _walk(options: argparse.Namespace) -> tuple[list[Finding], list[str]]:
    addresses = options.queue or options.gateway or options.websocket
    state = Path(".demo/demo.json")
    if options.inside:
        return _inside(), []
    if options.kubernetes or (not addresses and not state.exists()):
        run = cluster.kubectl(options.namespace)
        return cluster.look(run), cluster.autoscaler_conflicts(run)
    if addresses:
        return _at_addresses(options), []
    demo = json.loads(state.read_text())
    target = config.RedisTarget.model_validate({"url": f"redis://127.0.0.1:{demo['queue_port']}/0"})
    return _look(target, target, f"ws://127.0.0.1:{demo['websocket_port']}", demo["gateway"], ""), []


def _inside() -> list[Finding]:
    settings = config.load(config.GatewaySettings, os.environ)
    token = settings.token.get_secret_value() if settings.token else ""
    scheme = "https" if settings.gateway_tls_cert else "http"
    gateway = f"{scheme}://127.0.0.1:{settings.gateway_port}"
    return _look(settings.queue, settings.broker, settings.websocket_server_url, gateway, token)


def _at_addresses(options: argparse.Namespace) -> list[Finding]:
    environ = dict(os.environ)
    if options.queue:
        if "://" in options.queue:
            environ["QUEUE_URL"] = options.queue
        else:
            environ |= {"QUEUE_HOST": options.queue, "QUEUE_PORT": options.port}
    if options.user:
        environ["QUEUE_USERNAME"] = options.user
        if not environ.get("QUEUE_PASSWORD") and not environ.get("QUEUE_PASSWORD_FILE") and sys.stdin.isatty():
            environ["QUEUE_PASSWORD"] = getpass.getpass(f"Password of {options.user}: ")
    settings = config.load(config.GatewaySettings, environ)
    token = settings.token.get_secret_value() if settings.token else ""
    gateway = (options.gateway or "").rstrip("/")
    if gateway and not gateway.startswith(("http://", "https://")):
        gateway = f"http://{gateway}"
    return _look(settings.queue, settings.broker, options.websocket or "", gateway, token)


def _look(
    queue: config.RedisTarget, broker: config.RedisTarget, relay_url: str, gateway_url: str, token: str
) -> list[Finding]:
    from elastic_inference.status.probe import look  # noqa: PLC0415  tornado, only where it is wanted

    return find(asyncio.run(look(queue, broker, relay_url=relay_url, gateway_url=gateway_url, token=token)))


if __name__ == "__main__":
    sys.exit(main())
