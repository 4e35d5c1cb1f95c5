"""Turns facts about a running system into one finding per link, with advice for the first broken one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from elastic_inference.base.ports import DASHBOARD_PORT, QUEUE_PORT

# As the alert EventsLate.
EVENT_LAG_S = 10.0
_SERVER_ADVICE = "Set up Redis as tools/run-redis.sh does: doc/redis.md, server settings."


class ChainLink(StrEnum):
    """The links in the order in which frames travel, then those without frames: housekeeping, events, autoscaler."""

    CAMERA = "camera"
    QUEUE = "queue"
    WORKER = "worker"
    BROKER = "broker"
    RELAY = "relay"
    GATEWAY = "gateway"
    HOUSEKEEPING = "housekeeping"
    EVENTS = "events"
    SCALING = "scaling"


class State(StrEnum):
    """The state of a link."""

    GOOD = "ok"
    BROKEN = "BROKEN"
    UNKNOWN = "?"


@dataclass(frozen=True)
class Finding:
    """The state of one link; `advice` says what to do if it is broken."""

    link: ChainLink
    state: State
    text: str
    advice: str = ""

    @classmethod
    def good(cls, link: ChainLink, text: str) -> Self:
        """A link that works."""
        return cls(link, State.GOOD, text)

    @classmethod
    def broken(cls, link: ChainLink, text: str, advice: str) -> Self:
        """A link that does not work."""
        return cls(link, State.BROKEN, text, advice)

    @classmethod
    def unknown(cls, link: ChainLink, text: str) -> Self:
        """A link that could not be checked, or is not in use."""
        return cls(link, State.UNKNOWN, text)


@dataclass(frozen=True)
class ProducerState:
    """One producer of one type: `state` is the source's, such as `live`."""

    name: str
    infer_type: str
    state: str


@dataclass(frozen=True)
class PoolCamera:
    """A camera of the pool that does not run: `state` is unassigned or quarantined."""

    name: str
    state: str
    reason: str


@dataclass(frozen=True)
class EventState:
    """The event service; `workers` and `unowned` partitions are None if this login may not see them."""

    partitions: int
    workers: int | None = None
    unowned: int | None = None
    lag_s: float = 0.0


@dataclass(frozen=True)
class IdleSink:
    """A sink that does not get its events: `state` is failing, paused, unassigned, or says how far it lags."""

    name: str
    state: str
    reason: str = ""


@dataclass
class Observations:
    """What the checks found. A part's `…_error` is None if it works, otherwise a sentence."""

    queue_address: str = ""
    queue_error: str | None = None
    queue_login_refused: bool = False
    queue_is_http: bool = False
    broker_error: str | None = None
    # Bad settings of a server that answers, with what to do.
    queue_problem: str | None = None
    broker_problem: str | None = None
    producers: list[ProducerState] = field(default_factory=list)
    # Cameras of the pool that nobody runs, as far as the gateway says.
    idle_cameras: list[PoolCamera] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)
    inferred: dict[str, str] = field(default_factory=dict)  # stream id → type
    janitor_runs: bool | None = None  # None if no type needs one
    relay_address: str = ""
    relay_error: str | None = None
    gateway_address: str = ""
    gateway_error: str | None = None
    video_error: str | None = None
    video_stream: str = ""
    events: EventState | None = None  # None if no event service has run for ten minutes
    events_hidden: bool = False  # this login may not see whether it runs
    # As far as the gateway says.
    idle_sinks: list[IdleSink] = field(default_factory=list)
    sinks_problem: str = ""


def find(facts: Observations) -> list[Finding]:
    """One finding per link, from the camera to events; the module `cluster` adds the scaling."""
    checks = (_camera, _queue, _worker, _broker, _relay, _gateway, _housekeeping, _events)
    return [check(facts) for check in checks]


def first_broken(findings: Iterable[Finding]) -> Finding | None:
    """The link to fix first; None if no link is broken."""
    order = list(ChainLink)
    broken = [finding for finding in findings if finding.state is State.BROKEN]
    return min(broken, key=lambda finding: order.index(finding.link), default=None)


def _camera(facts: Observations) -> Finding:
    link = ChainLink.CAMERA
    if facts.queue_error:
        return Finding.unknown(link, "unknown: the queue does not answer")
    down = [each for each in facts.producers if each.state not in ("live", "quiet")]
    if facts.idle_cameras:
        names = _some(
            f"{each.name} is {each.state}{f' ({each.reason})' if each.reason else ''}" for each in facts.idle_cameras
        )
        return Finding.broken(
            link,
            f"cameras of the pool that do not run: {names}",
            "unassigned: start a source worker, or more of them (in a cluster: kubectl get pods -l "
            "app=ei-camera-pool-app). quarantined: the log of its worker says how the camera's video ended a decoder.",
        )
    if not facts.producers and not any(facts.waiting.values()):
        return Finding.broken(
            link,
            "no producer pushes frames",
            f"Start a camera or a video: tools/run-css.sh -v 0 -q <address> -p {QUEUE_PORT} -t people, or "
            "tools/run-fss.sh -v <file> -q <address> -t people. "
            "In a cluster: kubectl apply -f kubernetes/sample-infer/.",
        )
    if down and len(down) == len(facts.producers):
        names = _some(f"{each.name} is {each.state}" for each in down)
        return Finding.broken(
            link,
            f"no source is live: {names}",
            "Check the camera's power, network, address and login; its producer's log says why it cannot be read.",
        )
    live = [f"{each.name} → {each.infer_type}" for each in facts.producers if each not in down]
    text = f"{len(live)} live: {_some(live)}" if live else "frames of legacy producers"
    if down:
        text += f"; {_some(f'{each.name} is {each.state}' for each in down)}"
    return Finding.good(link, text)


def _queue(facts: Observations) -> Finding:
    link = ChainLink.QUEUE
    if facts.queue_is_http:
        return Finding.broken(
            link,
            f"{facts.queue_address} answers HTTP: {DASHBOARD_PORT} is the dashboard, the queue is {QUEUE_PORT}",
            f"Give the queue's port with -p {QUEUE_PORT}.",
        )
    if facts.queue_error:
        advice = (
            "Give the user with -u and its password in QUEUE_PASSWORD or QUEUE_PASSWORD_FILE."
            if facts.queue_login_refused
            else "Start Redis (tools/run-redis.sh; in a cluster: kubectl get pods -l app=ei-redis-deployment), "
            "or correct the address (-q, -p)."
        )
        return Finding.broken(link, f"{facts.queue_address}: {facts.queue_error}", advice)
    if facts.queue_problem:
        return Finding.broken(link, f"{facts.queue_address} {facts.queue_problem}", _SERVER_ADVICE)
    waiting = ", ".join(f"{kind} {count}" for kind, count in sorted(facts.waiting.items())) or "no type yet"
    return Finding.good(link, f"{facts.queue_address} answers; frames waiting: {waiting}")


def _worker(facts: Observations) -> Finding:
    link = ChainLink.WORKER
    if facts.queue_error or facts.broker_error:
        return Finding.unknown(link, "unknown: Redis does not answer")
    wanted = {each.infer_type for each in facts.producers} | {kind for kind, count in facts.waiting.items() if count}
    missing = sorted(kind for kind in wanted if not facts.workers.get(kind))
    running = ", ".join(f"{kind} {count}" for kind, count in sorted(facts.workers.items()))
    if missing:
        kind = missing[0]
        return Finding.broken(
            link,
            f"no pod serves {_some(missing)}" + (f" (running: {running})" if running else ""),
            f"Start one: tools/run-ois.sh -t {kind} -i <queue address>. In a cluster: kubectl get pods -l "
            f"app=ei-infer-{kind}-app, then kubectl logs of those that are not Ready.",
        )
    if not facts.workers:
        return Finding.unknown(link, "no pods, and no frames that need one")
    return Finding.good(link, running)


def _broker(facts: Observations) -> Finding:
    link = ChainLink.BROKER
    if facts.broker_error:
        return Finding.broken(link, facts.broker_error, "Start Redis, or correct BROKER_URL of pods and gateway.")
    if facts.broker_problem:
        return Finding.broken(link, facts.broker_problem, _SERVER_ADVICE)
    if facts.inferred:
        return Finding.good(link, f"{len(facts.inferred)} streams with results: {_some(facts.inferred)}")
    if facts.workers and any(each.state in ("live", "quiet") for each in facts.producers):
        return Finding.broken(
            link,
            "pods are running, but no stream has a result",
            "Check the pod's log: frames may be invalid (ei_frames_invalid_total), or its model may not load. "
            "The pod's BROKER_URL must be the one that was checked here.",
        )
    return Finding.unknown(link, "answers, but has no results yet")


def _relay(facts: Observations) -> Finding:
    return _server(
        ChainLink.RELAY,
        facts.relay_address,
        facts.relay_error,
        hint="see the gateway",
        advice="Start it: tools/run-wss.sh. In a cluster: kubectl get pods -l app=ei-websocket-server-deployment. "
        "WEBSOCKET_SERVER_URL of the gateway must be its address.",
    )


def _gateway(facts: Observations) -> Finding:
    found = _server(
        ChainLink.GATEWAY,
        facts.gateway_address,
        facts.gateway_error,
        hint="give it with -g",
        advice="Start it: tools/run-gws.sh. In a cluster: kubectl get pods -l app=ei-gateway-server-deployment.",
    )
    if found.state is not State.GOOD or not facts.video_stream:
        return found
    if facts.video_error:
        text = f"{found.text}, but {facts.video_stream} does not come through: {facts.video_error}"
        return Finding.broken(found.link, text, "Check the logs of the gateway and the websocket server.")
    return Finding.good(found.link, f"{found.text}, {facts.video_stream} comes through")


def _server(link: ChainLink, address: str, error: str | None, *, hint: str, advice: str) -> Finding:
    """`hint` says where to find an address that is not known."""
    if error:
        return Finding.broken(link, f"{address}: {error}", advice)
    if not address:
        return Finding.unknown(link, f"its address is not known: {hint}")
    return Finding.good(link, f"{address} answers")


def _housekeeping(facts: Observations) -> Finding:
    link = ChainLink.HOUSEKEEPING
    if facts.queue_error:
        return Finding.unknown(link, "unknown: the queue does not answer")
    if facts.janitor_runs is None:
        return Finding.unknown(link, "no type in the queue needs it yet")
    if not facts.janitor_runs:
        return Finding.broken(
            link,
            "no janitor runs: queues are not trimmed, and their lengths and ei_workers may be missing",
            "Start it: tools/run-hks.sh. In a cluster: kubectl get pods -l app=ei-housekeeping-deployment.",
        )
    return Finding.good(link, "the janitor runs")


def _events(facts: Observations) -> Finding:
    link = ChainLink.EVENTS
    if facts.broker_error:
        return Finding.unknown(link, "unknown: the broker does not answer")
    if facts.events_hidden:
        return Finding.unknown(link, "unknown: this broker login may not read it, but the gateway's may")
    if facts.events is None:
        return Finding.unknown(link, "no event service runs, so there are no events")
    found = facts.events
    if found.workers == 0:
        return Finding.broken(
            link,
            "the event service no longer runs",
            "Start it: tools/run-evs.sh. In a cluster: kubectl get pods -l app=ei-event-deployment. If you stopped it "
            "for good, this goes away after ten minutes.",
        )
    if found.unowned:
        return Finding.broken(
            link,
            f"{found.unowned} of {found.partitions} partitions have no event worker",
            "See the log of the event service. In a cluster: kubectl logs -l app=ei-event-deployment.",
        )
    if found.lag_s >= EVENT_LAG_S:
        return Finding.broken(
            link,
            f"the newest unread result is {found.lag_s:.0f} s old",
            "Start another event service, or give it more CPU: kubectl scale deployment ei-event-deployment.",
        )
    return _sinks(facts, found)


def _sinks(facts: Observations, found: EventState) -> Finding:
    link = ChainLink.EVENTS
    if facts.sinks_problem:
        return Finding.broken(link, facts.sinks_problem, "Correct the sinks file: doc/integrations.md.")
    if facts.idle_sinks:
        names = _some(
            f"{each.name} {each.state}{f' ({each.reason})' if each.reason else ''}" for each in facts.idle_sinks
        )
        return Finding.broken(
            link,
            f"sinks that do not get their events: {names}",
            f"Mend what the reason says, then try it: POST /api/sinks/{facts.idle_sinks[0].name}/test "
            "(doc/integrations.md).",
        )
    if found.workers is None:
        return Finding.unknown(link, f"{found.partitions} partitions without lag; this login may not read who has them")
    return Finding.good(link, f"{found.partitions} partitions, event workers: {found.workers}")


def _some(names: Iterable[str], limit: int = 4) -> str:
    every: Sequence[str] = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more
