"""From facts about a running system to findings, one a link, and what to do about the first broken one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Link(StrEnum):
    """The chain, in the order in which frames travel; last what sets the number of workers in a cluster."""

    CAMERA = "camera"
    QUEUE = "queue"
    WORKER = "worker"
    BROKER = "broker"
    RELAY = "relay"
    GATEWAY = "gateway"
    SCALING = "scaling"


class State(StrEnum):
    """What is known of a link."""

    GOOD = "ok"
    BROKEN = "BROKEN"
    UNKNOWN = "?"


@dataclass(frozen=True)
class Finding:
    """What is known of one link; `advice` says what to do where it is broken."""

    link: Link
    state: State
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Source:
    """One producer of one type: `state` is `live`, `stalled` or `reconnecting`."""

    name: str
    infer_type: str
    state: str


@dataclass
class Facts:
    """What was seen. A part's `…_error` is None where it works, and a sentence where it doesn't."""

    queue_address: str = ""
    queue_error: str | None = None
    queue_login_refused: bool = False
    queue_is_http: bool = False
    broker_error: str | None = None
    sources: list[Source] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)
    inferred: dict[str, str] = field(default_factory=dict)  # stream id → type
    relay_address: str = ""
    relay_error: str | None = None
    gateway_address: str = ""
    gateway_error: str | None = None
    picture_error: str | None = None
    picture_stream: str = ""


def find(facts: Facts) -> list[Finding]:
    """One finding a link, from the camera to the gateway; `cluster` adds the scaling."""
    return [_camera(facts), _queue(facts), _worker(facts), _broker(facts), _relay(facts), _gateway(facts)]


def first_broken(findings: Iterable[Finding]) -> Finding | None:
    """The link to mend first; None where all is well."""
    order = list(Link)
    broken = [finding for finding in findings if finding.state is State.BROKEN]
    return min(broken, key=lambda finding: order.index(finding.link), default=None)


def _camera(facts: Facts) -> Finding:
    if facts.queue_error:
        return Finding(Link.CAMERA, State.UNKNOWN, "can't be told: the queue does not answer")
    wrong = [source for source in facts.sources if source.state != "live"]
    if not facts.sources and not any(facts.waiting.values()):
        return Finding(
            Link.CAMERA,
            State.BROKEN,
            "nobody pushes frames",
            "Attach a camera or a clip: tools/run-css.sh -v 0 -q <address> -p 31003 -t people, or "
            "tools/run-fss.sh -v <file> -q <address> -t people. "
            "In a cluster: kubectl apply -f kubernetes/sample-infer/.",
        )
    if wrong and len(wrong) == len(facts.sources):
        names = _some(f"{source.name} is {source.state}" for source in wrong)
        return Finding(
            Link.CAMERA,
            State.BROKEN,
            f"no source is live: {names}",
            "Look at the camera's power, network, address and login; its producer's log says why it can't read it.",
        )
    live = [f"{source.name} → {source.infer_type}" for source in facts.sources if source.state == "live"]
    text = f"{len(live)} live: {_some(live)}" if live else "frames of plain producers"
    if wrong:
        text += f"; {_some(f'{source.name} is {source.state}' for source in wrong)}"
    return Finding(Link.CAMERA, State.GOOD, text)


def _queue(facts: Facts) -> Finding:
    if facts.queue_is_http:
        return Finding(
            Link.QUEUE,
            State.BROKEN,
            f"{facts.queue_address} answers HTTP: 31002 is the dashboard, the queue is 31003",
            "Give the queue's port with -p 31003.",
        )
    if facts.queue_error:
        advice = (
            "Give the user with -u and its password in QUEUE_PASSWORD or QUEUE_PASSWORD_FILE."
            if facts.queue_login_refused
            else "Start Redis (tools/run-redis.sh; in a cluster: kubectl get pods -l app=ei-redis-deployment), "
            "or correct the address (-q, -p)."
        )
        return Finding(Link.QUEUE, State.BROKEN, f"{facts.queue_address}: {facts.queue_error}", advice)
    waiting = ", ".join(f"{kind} {count}" for kind, count in sorted(facts.waiting.items())) or "no type yet"
    return Finding(Link.QUEUE, State.GOOD, f"{facts.queue_address} answers; frames waiting: {waiting}")


def _worker(facts: Facts) -> Finding:
    if facts.queue_error or facts.broker_error:
        return Finding(Link.WORKER, State.UNKNOWN, "can't be told: Redis does not answer")
    wanted = {source.infer_type for source in facts.sources} | {kind for kind, count in facts.waiting.items() if count}
    missing = sorted(kind for kind in wanted if not facts.workers.get(kind))
    there = ", ".join(f"{kind} {count}" for kind, count in sorted(facts.workers.items()))
    if missing:
        kind = missing[0]
        return Finding(
            Link.WORKER,
            State.BROKEN,
            f"nobody infers {_some(missing)}" + (f" (there is: {there})" if there else ""),
            f"Start one: tools/run-ois.sh -t {kind} -i <queue address>. In a cluster: kubectl get pods -l "
            f"app=ei-infer-{kind}-app, and kubectl logs of what is not Ready.",
        )
    if not facts.workers:
        return Finding(Link.WORKER, State.UNKNOWN, "none, and no frames that ask for one")
    return Finding(Link.WORKER, State.GOOD, there)


def _broker(facts: Facts) -> Finding:
    if facts.broker_error:
        return Finding(
            Link.BROKER, State.BROKEN, facts.broker_error, "Start Redis, or correct BROKER_URL of workers and gateway."
        )
    if facts.inferred:
        return Finding(Link.BROKER, State.GOOD, f"{len(facts.inferred)} streams with results: {_some(facts.inferred)}")
    if facts.workers and any(source.state == "live" for source in facts.sources):
        return Finding(
            Link.BROKER,
            State.BROKEN,
            "workers are there, but no stream has a result",
            "Look at the worker's log: frames may be refused (ei_frames_invalid_total), or its model may not load. "
            "BROKER_URL of the worker must be the one that was asked here.",
        )
    return Finding(Link.BROKER, State.UNKNOWN, "answers, and has no results yet")


def _relay(facts: Facts) -> Finding:
    if facts.relay_error:
        return Finding(
            Link.RELAY,
            State.BROKEN,
            f"{facts.relay_address}: {facts.relay_error}",
            "Start it: tools/run-wss.sh. In a cluster: kubectl get pods -l app=ei-websocket-server-deployment. "
            "WEBSOCKET_SERVER_URL of the gateway must be its address.",
        )
    if not facts.relay_address:
        return Finding(Link.RELAY, State.UNKNOWN, "its address is not known; see the gateway")
    return Finding(Link.RELAY, State.GOOD, f"{facts.relay_address} answers")


def _gateway(facts: Facts) -> Finding:
    if facts.gateway_error:
        return Finding(
            Link.GATEWAY,
            State.BROKEN,
            f"{facts.gateway_address}: {facts.gateway_error}",
            "Start it: tools/run-gws.sh. In a cluster: kubectl get pods -l app=ei-gateway-server-deployment.",
        )
    if not facts.gateway_address:
        return Finding(Link.GATEWAY, State.UNKNOWN, "its address is not known: give it with -g")
    if facts.picture_error:
        return Finding(
            Link.GATEWAY,
            State.BROKEN,
            f"{facts.gateway_address} answers, but {facts.picture_stream} does not come through: {facts.picture_error}",
            "Look at the gateway's and the websocket server's logs.",
        )
    came = f", {facts.picture_stream} comes through" if facts.picture_stream else ""
    return Finding(Link.GATEWAY, State.GOOD, f"{facts.gateway_address} answers{came}")


def _some(names: Iterable[str], limit: int = 4) -> str:
    every: Sequence[str] = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more
