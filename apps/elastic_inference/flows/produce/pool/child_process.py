"""The source worker's side of a child process: starts it, tells it what to run, and examines its crashes.

Called by `children`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.pool.channel import Channel, Message

_CRASH_BYTES = 64 * 1024
END_LIMIT_S = 3.0


@dataclass(slots=True)
class Assignment:
    """A camera assigned to a child."""

    revision: int
    spec: CameraSpec
    epoch: int
    until: float


class ChildProcess:
    """One running child. Not thread-safe, except `request_metrics`."""

    def __init__(self, number: int) -> None:
        """Starts the process. Messages wait in the socket until it is ready to read them.

        Raises OSError if the machine has no descriptor, process or memory left.
        """
        self.number = number
        self.started_at = time.monotonic()
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.enter_context(ours)
            with theirs:
                self._crash_file = os.memfd_create("crash")
                undo.callback(os.close, self._crash_file)
                descriptors = (theirs.fileno(), self._crash_file)
                self._process = subprocess.Popen(  # noqa: S603  our own module
                    [sys.executable, "-m", "elastic_inference.flows.produce.pool.child", *map(str, descriptors)],
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                )
            undo.pop_all()
        self.channel = Channel(ours)
        self.cameras: dict[str, Assignment] = {}
        self.reports: dict[str, Message] = {}
        self.cpu_s = 0.0
        self.silent_s = 0.0
        self.hangs = False
        self._lease_late = False
        self.follows = False  # true after its first message: it now reads at once

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def put(self, name: str, camera: Assignment) -> None:
        """Adds a camera, or changes it."""
        self.cameras[name] = camera
        self._send(
            {
                "op": "set",
                "spec": spec_message(camera.spec),
                "epoch": camera.epoch,
                "until": camera.until,
            }
        )

    def remove(self, name: str) -> None:
        """Ends a camera."""
        if self.cameras.pop(name, None) is not None:
            self.reports.pop(name, None)
            self._send({"op": "remove", "name": name})

    def extend(self, until: Mapping[str, float]) -> None:
        """Tells it until when (monotonic) each of its cameras may push."""
        own = {name: until[name] for name in self.cameras if name in until}
        for name, at in own.items():
            self.cameras[name].until = at
        # While the child does not read, only the newest times are kept for it.
        self._lease_late = bool(own) and self.channel.behind
        if own and not self._lease_late:
            self._send({"op": "lease", "until": own})

    def flush(self) -> None:
        """Sends more of what it could not accept before."""
        if self.channel.behind and not self.channel.flush():
            self.hangs = True
        if self._lease_late and not self.channel.behind:
            self.extend({name: camera.until for name, camera in self.cameras.items()})

    def request_metrics(self, number: int) -> None:
        """Asks it for its metrics."""
        self._send({"op": "metrics", "id": number})

    def receive(self) -> list[Message] | None:
        """Its new messages, or None if it has ended. The last report is kept here."""
        messages = self.channel.receive()
        if messages is None:
            return None
        self.silent_s, self.follows = 0.0, True
        for message in messages:
            if message["op"] == "report":
                self.cpu_s = message["cpu_s"]
                self.reports = {name: each for name, each in message["cameras"].items() if name in self.cameras}
        return messages

    def opening(self) -> list[str]:
        """The cameras that it is opening now, as far as is known."""
        return [name for name in self.cameras if self.reports.get(name, {}).get("opening", True)]

    def end(self) -> tuple[int, str]:
        """Waits for a process that has closed its channel; kills it if it hangs. Returns exit code and crash report."""
        self.channel.close()
        if self.hangs:
            self._process.kill()
        try:
            code = self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        report = os.pread(self._crash_file, _CRASH_BYTES, 0).decode("utf-8", "replace")
        os.close(self._crash_file)
        return code, report

    def begin_end(self) -> None:
        """Asks it to end, by closing its input."""
        self.channel.shut()

    def _send(self, message: Mapping[str, Any]) -> None:
        if not self.channel.send(message):
            self.hangs = True


def spec_message(spec: CameraSpec) -> Message:
    """A camera's specification with its login, only for the channel."""
    message: Message = spec.model_dump(mode="json", exclude={"login"}, exclude_none=True)
    if spec.login is not None:
        message["login"] = {"user": spec.login.user, "password": spec.login.password.get_secret_value()}
    return message
