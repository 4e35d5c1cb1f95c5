"""Shows and changes the model of an inference type, by the gateway's API: console command `ei-model`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from elastic_inference.base import config
from elastic_inference.base.log import one_line
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.model_views import TypeModel
from elastic_inference.domain.model_wish import DEFAULT_SHARE, DEFAULT_TIME_FACTOR, Figures

DEFAULT_GATEWAY = "http://localhost:31002"
LIMIT_S = 10.0
MAX_ANSWER_BYTES = 4 << 20
EXIT_REFUSED, EXIT_ARGUMENTS = 1, 2
_TYPE_MODEL = TypeAdapter(TypeModel)
# For each action: method and path below `/api/types/<type>`.
_ACTIONS = {
    "show": ("GET", "model"),
    "switch": ("PUT", "model"),
    "reset": ("DELETE", "model"),
    "canary": ("PUT", "canary"),
    "promote": ("POST", "canary/promote"),
    "drop": ("DELETE", "canary"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ei-model",
        description="Shows and changes the model that the pods of an inference type run, without a gap.",
        epilog="The gateway's token comes from GATEWAY_TOKEN or GATEWAY_TOKEN_FILE. doc/models.md says what happens.",
    )
    parser.add_argument("-g", "--gateway", default=DEFAULT_GATEWAY, help="the gateway's address (default: %(default)s)")
    parser.add_argument("type", help="the inference type, such as face")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("show", help="what was asked for, and what each pod runs")
    switch = actions.add_parser("switch", help="change to a model")
    actions.add_parser("reset", help="change to the model of the settings")
    canary = actions.add_parser("canary", help="try a model beside the running one")
    for each in (switch, canary):
        each.add_argument("model", help="a model in the pods' models folder, such as yolox-nano_FP32")
        each.add_argument(
            "--max-time-factor",
            type=float,
            default=DEFAULT_TIME_FACTOR,
            help="it fails if a frame takes more than this many times as long (default: %(default)s)",
        )
        each.add_argument(
            "--min-agreement",
            type=float,
            default=0.0,
            help="it fails if it agrees less with the running model, 0..1 (default: %(default)s)",
        )
    canary.add_argument(
        "--share", type=float, default=DEFAULT_SHARE, help="share of the frames, 0..1 (default: %(default)s)"
    )
    actions.add_parser("promote", help="change to the canary's model")
    actions.add_parser("drop", help="end the canary")
    return parser


def ask(gateway: str, options: argparse.Namespace, token: str) -> TypeModel:
    """Sends one request. Raises ElasticInferenceError with a sentence if it is refused or not answered."""
    method, path = _ACTIONS[options.action]
    body = None
    if method == "PUT":
        fields = ("model", "max_time_factor", "min_agreement", *(("share",) if options.action == "canary" else ()))
        body = json.dumps({name: getattr(options, name) for name in fields}).encode()
    kind = quote(options.type, safe="")
    request = urllib.request.Request(  # noqa: S310  the scheme is checked by `main`
        f"{gateway.rstrip('/')}/api/types/{kind}/{path}", body, method=method
    )
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:  # noqa: S310
            return _TYPE_MODEL.validate_json(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        message = _message(error.read(MAX_ANSWER_BYTES)) or f"the gateway answers {error.code}"
        raise ElasticInferenceError(message) from None
    except ValidationError:
        raise ElasticInferenceError(f"{gateway} is no gateway of this version") from None
    except OSError as error:
        raise ElasticInferenceError(f"the gateway {gateway} does not answer: {error}") from None


def lines(found: TypeModel) -> Iterator[str]:
    """What is shown of a type."""
    yield f"{found.type}: {found.choice.model if found.choice else 'the model of the settings'}"
    if found.failure is not None:
        yield f"  failed ({found.failure.reason}, {found.failure.pod}): {found.failure.message}"
    if found.canary is not None:
        yield f"  canary: {found.canary.model} on {found.canary.share:.3g} of the frames"
    if found.canary_failure is not None:
        yield f"  canary failed ({found.canary_failure.reason}, {found.canary_failure.pod}): " + (
            found.canary_failure.message
        )
    for pod in found.pods:
        stage = pod.stage.value if pod.stage else "has not reported (it has just started, or is an older version)"
        yield f"  {pod.pod}: {pod.model} {pod.precision}, {stage}{_figures(pod.figures)}"


def _figures(found: Figures | None) -> str:
    if found is None:
        return ""
    facts: Mapping[str, tuple[float | None, float | None]] = {
        "confidence": (found.confidence, found.canary_confidence),
        "CPU ms": (_ms(found.frame_s), _ms(found.canary_frame_s)),
    }
    pairs = [f"{name} {_number(one)}/{_number(other)}" for name, (one, other) in facts.items()]
    return f"; canary: {found.frames} frames, agreement {_number(found.agreement)}, " + ", ".join(pairs)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _message(body: bytes) -> str:
    try:
        found: Any = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Exit codes: 0, 1 if the gateway refuses or does not answer, 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    if not options.gateway.startswith(("http://", "https://")):
        sys.stderr.write("error: the gateway's address begins with http:// or https://\n")
        return EXIT_ARGUMENTS
    names = ("GATEWAY_TOKEN", "GATEWAY_TOKEN_FILE")
    try:
        token = config.load(config.GatewaySettings, {name: os.environ.get(name, "") for name in names}).token
    except ElasticInferenceError as error:
        sys.stderr.write(f"error: {one_line(str(error))}\n")
        return EXIT_ARGUMENTS
    try:
        found = ask(options.gateway, options, token.get_secret_value() if token else "")
    except ElasticInferenceError as error:
        sys.stderr.write(f"error: {one_line(str(error))}\n")
        return EXIT_REFUSED
    for line in lines(found):
        print(one_line(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
