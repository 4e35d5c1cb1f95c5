"""`ei-status`: options, checks, and the outcome as text or JSON."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elastic_inference.base import config
from elastic_inference.base.log import one_line
from elastic_inference.base.ports import DASHBOARD_PORT, QUEUE_PORT
from elastic_inference.commands.status import cluster
from elastic_inference.commands.status.findings import Finding, find, first_broken
from elastic_inference.domain.errors import ElasticInferenceError, SettingError

DESCRIPTION = """\
Why do I see nothing? Checks camera → queue → worker → broker → relay → gateway of a running system, then housekeeping,
events and their sinks, and in a cluster the autoscalers. It names the first broken link and says what to do. Without
options it checks the demo that runs in this folder, or else the cluster of kubectl's current context."""
EPILOG = """\
The password of -u comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt; the gateway's token from GATEWAY_TOKEN
or GATEWAY_TOKEN_FILE. Exit code: 0 no broken link, 1 a link is broken, 2 the check could not run."""

# Each argument of a process ends with a zero byte.
_DEMO_COMMAND = re.compile(rb"(^|[/\0])ei-demo\0|elastic_inference[./]commands[./]demo[./]main")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; SystemExit with code 2 if they contradict each other."""
    parser = argparse.ArgumentParser(
        "status.sh", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-q", "--queue", metavar="ADDRESS", help="address of the frame queue")
    parser.add_argument("-p", "--port", metavar="PORT", default=str(QUEUE_PORT), help="its port (%(default)s)")
    parser.add_argument("-u", "--user", help="user of the frame queue")
    parser.add_argument("-g", "--gateway", metavar="URL", help=f"the gateway, such as http://node:{DASHBOARD_PORT}")
    parser.add_argument("-w", "--websocket", metavar="URL", help="the websocket server, such as ws://127.0.0.1:31611")
    parser.add_argument("-k", "--kubernetes", action="store_true", help="check the cluster of kubectl's context")
    parser.add_argument("-n", "--namespace", help="the same, in this namespace")
    parser.add_argument("--inside", action="store_true", help="check from inside the gateway's pod, with its settings")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    options.kubernetes |= options.namespace is not None
    if options.kubernetes and (options.queue or options.gateway or options.websocket):
        parser.error("-k and -n check a cluster, -q, -g and -w addresses: use one or the other")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks and prints; returns the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        findings, warnings = _check(options)
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
        print(f"{each.link.value:<12} {each.state.value:<7} {one_line(each.text)}")
    for warning in warnings:
        print(f"warning: {one_line(warning)}")
    if broken:
        print(f"\nFirst broken link: {broken.link.value}. {one_line(broken.advice)}")
        return 1
    print("\nEvery link that could be checked works.")
    return 0


def _check(options: argparse.Namespace) -> tuple[list[Finding], list[str]]:
    addresses = options.queue or options.gateway or options.websocket
    if options.inside:
        return _inside(), []
    demo = None if options.kubernetes or addresses else running_demo(Path(".demo/demo.json"))
    if demo is not None:
        target = config.RedisTarget(config.Secret(f"redis://127.0.0.1:{demo['queue_port']}/0"))
        # The demo's gateway reads its token from the environment, and so does this command.
        names = ("GATEWAY_TOKEN", "GATEWAY_TOKEN_FILE")
        token = config.load(config.GatewaySettings, {name: os.environ.get(name, "") for name in names}).token
        relay = f"ws://127.0.0.1:{demo['websocket_port']}"
        return _check_addresses(target, target, relay, demo["gateway"], token.get_secret_value() if token else ""), []
    if addresses:
        return _at_addresses(options), []
    return cluster.check(cluster.kubectl(options.namespace))


def running_demo(state: Path) -> dict[str, Any] | None:
    """The state file of the demo in this folder; None if no demo runs (a killed one leaves its file behind)."""
    try:
        demo = json.loads(state.read_text())
        pid, _, _, _ = demo["pid"], demo["queue_port"], demo["websocket_port"], demo["gateway"]
        os.kill(pid, 0)
        # Another process may have this id by now.
        command = Path(f"/proc/{pid}/cmdline")
        alive = not command.exists() or bool(_DEMO_COMMAND.search(command.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return demo if alive else None


def _inside() -> list[Finding]:
    settings = config.load(config.GatewaySettings, os.environ)
    token = settings.token.get_secret_value() if settings.token else ""
    scheme = "https" if settings.gateway_tls_cert else "http"
    gateway = f"{scheme}://127.0.0.1:{settings.gateway_port}"
    return _check_addresses(settings.queue, settings.broker, settings.websocket_server_url, gateway, token)


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
    try:
        if options.websocket:
            environ["WEBSOCKET_SERVER_URL"] = options.websocket
        settings = config.load(config.GatewaySettings, environ)
    except SettingError as error:
        if options.websocket and error.name == "WEBSOCKET_SERVER_URL":
            raise SettingError("-w", error.value, error.expected) from None
        raise
    token = settings.token.get_secret_value() if settings.token else ""
    gateway = (options.gateway or "").rstrip("/")
    if gateway and not gateway.startswith(("http://", "https://")):
        gateway = f"http://{gateway}"
    return _check_addresses(settings.queue, settings.broker, options.websocket or "", gateway, token)


def _check_addresses(
    queue: config.RedisTarget, broker: config.RedisTarget, relay_url: str, gateway_url: str, token: str
) -> list[Finding]:
    from elastic_inference.commands.status.collect_facts import collect_facts  # noqa: PLC0415  tornado is needed only here

    return find(asyncio.run(collect_facts(queue, broker, relay_url=relay_url, gateway_url=gateway_url, token=token)))


if __name__ == "__main__":
    sys.exit(main())
