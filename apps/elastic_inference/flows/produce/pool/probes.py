"""Answers the gateway's requests to probe a camera: the source worker is where the cameras' network is.

Run by the source worker, in threads of its own. Any worker may answer; the address rules hold as for cameras.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import redis
from pydantic import TypeAdapter

from elastic_inference.adapters.camera_registry.reader import CameraReader
from elastic_inference.adapters.camera_registry.requests import (
    REPLY_LIFE_S,
    Reply,
    Request,
    read_request,
    reply_value,
)
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.source.probe import probe_file, probe_settings
from elastic_inference.base.config import CameraSettings
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_changes import read_model, reveal, same_host
from elastic_inference.domain.camera_documents import MAX_PREVIEW_BYTES, PROBE_LIMIT_S, CameraProbe, ProbeRequest
from elastic_inference.domain.camera_errors import CameraRefusal, sentence
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.produce.camera_plan import camera_settings

log = logging.getLogger(__name__)

# Probes that one worker makes at once.
THREADS = 2
WATCH_S = 1.5
# Of the 10 s, so that the answer still comes in time.
_LIMIT_S = PROBE_LIMIT_S - 1.0
_PAUSE_S = 1.0
_PROBE: TypeAdapter[CameraProbe] = TypeAdapter(CameraProbe)


class ProbeAnswers:
    """`start` begins to take requests, `close` ends that; a probe that runs is left to its time-out."""

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._rules = settings.address_rules
        self._stopping = threading.Event()
        self._throttle = Throttle()
        self._threads = [
            threading.Thread(target=self._run, name=f"probes-{number}", daemon=True) for number in range(THREADS)
        ]

    def start(self) -> None:
        """Begins."""
        for each in self._threads:
            each.start()

    def close(self) -> None:
        """Takes no more requests."""
        self._stopping.set()

    def _run(self) -> None:
        client = connect(self._settings.queue, key=keys.CAMERA_PROBES, name=keys.pod_name())
        while not self._stopping.is_set():
            try:
                self._take(client)
            except (redis.RedisError, OSError) as error:
                if note := self._throttle.note(type(error)):
                    log.warning("requests to probe cameras can't be read: %s %s", error, note)
                self._stopping.wait(_PAUSE_S)
            except Exception:
                # Top of a thread: one bad request must not end the others.
                log.exception("a probe failed")
        client.close()

    def _take(self, client: redis.Redis) -> None:
        taken: Any = client.blpop([keys.CAMERA_PROBES], timeout=1)
        if not taken:
            return
        clock: Any = client.time()
        request = read_request(taken[1], clock[0] + clock[1] / 1e6)
        if request is None:
            return
        reply = self._answer(client, request)
        key = keys.camera_reply(request.id)
        client.lpush(key, reply_value(reply))
        client.expire(key, REPLY_LIFE_S)

    def _answer(self, client: redis.Redis, request: Request) -> Reply:
        try:
            found = self._probe(self._complete(client, request.spec))
        except CameraRefusal as refusal:
            return Reply(refusal.status, message=str(refusal), fields=refusal.fields)
        except ElasticInferenceError as error:
            return Reply(400, message=sentence(str(error)))
        return Reply(200, _PROBE.dump_python(found, mode="json"))

    def _complete(self, client: redis.Redis, given: Mapping[str, Any]) -> ProbeRequest:
        """The request with what is known of the camera that it names, if it goes to that camera's host."""
        asked = read_model(ProbeRequest, given)
        known: CameraSpec | None = None
        if asked.name is not None:
            camera = CameraReader(client).read([asked.name]).get(asked.name)
            if camera is None:
                raise CameraRefusal(404, f"There is no camera {asked.name}.")
            known = camera.spec
        if known is None or not same_host(known, asked.url):
            return asked
        login = asked.login if "login" in given else known.login
        return asked.model_copy(update={"url": reveal("url", asked.url, known), "login": login})

    def _probe(self, asked: ProbeRequest) -> CameraProbe:
        images: list[bytes] = []
        keep: Callable[[bytes], None] = images.append
        if asked.url.startswith("file:"):
            path = self._rules.file(asked.url)
            # The path inside the worker is nothing for a client to know.
            report = replace(probe_file(path, WATCH_S, _LIMIT_S, keep), camera=asked.url)
        else:
            fields = asked.model_dump(include={"url", "transport", "certificate"})
            settings = camera_settings(CameraSpec(name="probe", login=asked.login, **fields), self._settings)
            report = probe_settings(settings, WATCH_S, _LIMIT_S, self._rules, keep)
        image = images[0] if images and len(images[0]) <= MAX_PREVIEW_BYTES else None
        return CameraProbe(report, base64.b64encode(image).decode() if image else None)
