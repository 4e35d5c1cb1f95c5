"""Answers the gateway's requests to probe a camera, since source workers can reach the cameras' network.

Run by the source worker, in threads of its own; each probe is a process. Any worker may answer; the address rules apply
as for cameras.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import redis

from elastic_inference.adapters.camera_registry.camera_reader import CameraReader
from elastic_inference.adapters.camera_registry.camera_values import read_object
from elastic_inference.adapters.camera_registry.requests import (
    MAX_REPLY_BYTES,
    REPLY_LIFE_S,
    Reply,
    Request,
    read_request,
    reply_value,
)
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base.config import CameraSettings
from elastic_inference.base.log import Throttle
from elastic_inference.base.settings.setting import text_of
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_changes import read_model, reveal, same_host
from elastic_inference.domain.camera_documents import PROBE_LIMIT_S, ProbeRequest
from elastic_inference.domain.camera_errors import CameraRefusal, sentence
from elastic_inference.domain.errors import ElasticInferenceError

log = logging.getLogger(__name__)

# Maximum number of concurrent probes of one worker.
THREADS = 2
WATCH_S = 1.5
# Part of the 10 s that the client waits, so that the answer comes in time.
_LIMIT_S = PROBE_LIMIT_S - 2.0
# A request that has waited longer, for other probes, leaves too little of that time.
_WAIT_S = 4.0
_PAUSE_S = 1.0
# The process that probes, and how long it may take to start and to end.
CHILD = "elastic_inference.flows.produce.pool.probe_child"
_START_S, _END_S = 1.5, 0.3
_WAITED = "Other cameras are being probed: try again in a moment."
_TOO_BUSY = (
    "The source worker has too little CPU time to open the camera in time: try again, or give its node or pod more CPU."
)
# The worker's settings that it needs.
_SETTINGS = {
    "camera_networks",
    "video_dir",
    "camera_ca_dir",
    "source_stall_s",
    "video_decode_device",
    "max_frame_pixels",
}


class ProbeAnswers:
    """Answers requests from `start` to `close`, which does not wait for a running probe: it ends by its time-out."""

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
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
                if str(error).startswith("WRONGTYPE"):
                    self._remove(client)
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
        now_s = clock[0] + clock[1] / 1e6
        request = read_request(taken[1], now_s)
        if request is None:
            return
        reply = self._answer(client, request, max(0.0, now_s - request.time_ms / 1000))
        key = keys.camera_reply(request.id)
        with client.pipeline(transaction=True) as pipe:
            pipe.lpush(key, reply_value(reply))
            pipe.expire(key, REPLY_LIFE_S)
            pipe.execute()

    def _remove(self, client: redis.Redis) -> None:
        """Removes a list of the wrong type, which a foreign program has written."""
        with contextlib.suppress(redis.RedisError, OSError):
            client.unlink(keys.CAMERA_PROBES)

    def _answer(self, client: redis.Redis, request: Request, waited_s: float) -> Reply:
        if waited_s > _WAIT_S:
            return Reply(429, message=_WAITED)
        try:
            found = self._probe(self._complete(client, request.spec), _LIMIT_S - waited_s)
        except CameraRefusal as refusal:
            return Reply(refusal.status, message=str(refusal), fields=refusal.fields)
        except ElasticInferenceError as error:
            return Reply(400, message=sentence(str(error)))
        return Reply(200, found)

    def _complete(self, client: redis.Redis, given: Mapping[str, Any]) -> ProbeRequest:
        """The request, completed with the login and query of the camera that it names if the host is the same."""
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

    def _probe(self, asked: ProbeRequest, limit_s: float) -> dict[str, Any]:
        """The document of a CameraProbe, within that time. Raises ElasticInferenceError."""
        fields: dict[str, Any] = asked.model_dump(mode="json", exclude={"name", "login"})
        if asked.login is not None:
            fields["login"] = {"user": asked.login.user, "password": asked.login.password.get_secret_value()}
        settings = {name: getattr(self._settings, name) for name in _SETTINGS}
        task = {
            "asked": fields,
            "settings": {name.upper(): text_of(value) for name, value in settings.items() if value is not None},
            "watch_s": WATCH_S,
            "limit_s": limit_s,
            # This clock is the same for all processes of the machine.
            "until_monotonic": time.monotonic() + limit_s + _START_S - _END_S,
        }
        # By standard input: arguments and environment show in the list of processes.
        try:
            done = subprocess.run(  # noqa: S603  our own module
                [sys.executable, "-m", CHILD],
                input=json.dumps(task).encode(),
                stdout=subprocess.PIPE,
                timeout=limit_s + _START_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            # It ends by itself in time, unless it hangs or hardly runs.
            raise CameraRefusal(503, _TOO_BUSY) from None
        answer = read_object(done.stdout, MAX_REPLY_BYTES)
        if done.returncode < 0:  # by a signal
            raise ElasticInferenceError("The video of this camera crashes the decoder.")
        if "late" in answer:
            raise CameraRefusal(503, _TOO_BUSY)
        if done.returncode != 0 or not answer:
            # Its traceback is in this process's log.
            raise ElasticInferenceError("The probe itself failed: see the source worker's log.")
        if "error" in answer:
            raise ElasticInferenceError(str(answer["error"]))
        found: dict[str, Any] = answer["found"]
        return found
