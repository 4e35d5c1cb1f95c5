"""A real MQTT broker, and a subscriber that remembers what it got."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.conftest import missing_tool
from tests.support.freezable import Freezable
from tests.support.outbox import Mark, mark
from tests.support.ports import free_port
from tests.support.waiting import wait_for


def mosquitto_binary() -> str:
    """The program, or a skip."""
    found = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        missing_tool("mosquitto")
    return str(found)


class Mosquitto(Freezable):
    """Keeps nothing on disk: after `stop` and `start` it is empty."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        lines = [f"listener {self.port} 127.0.0.1", "user root", "persistence false", "log_type none", *more]
        self._tls = any(line.startswith("certfile ") for line in more)
        if not any(line.startswith("allow_anonymous") for line in more):
            lines.append("allow_anonymous true")
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For a sink."""
        return f"mqtt{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Starts it, and waits until it listens."""
        self._process = subprocess.Popen(
            [mosquitto_binary(), "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._listens, 20, "mosquitto")
        return self

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends it: at once, or in an orderly way with SIGTERM, so that it saves what `persistence true` keeps."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Subscriber:
    """Subscribes to everything; connects again by itself, with a session that the broker keeps while it lives."""

    def __init__(self, port: int, name: str = "subscriber", base: str = "elastic-inference") -> None:
        self.got: list[Mark] = []
        self.retained: dict[str, str] = {}
        self.newest: dict[str, str] = {}
        self._base = base
        self._lock = threading.Lock()
        self._client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port, 10, clean_start=False)
        self._ready = threading.Event()
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.loop_start()

    def wait_ready(self) -> Self:
        """Waits until it is subscribed."""
        assert self._ready.wait(20)
        return self

    def _subscribe(self, client: Client, *_: Any) -> None:
        client.subscribe("#", qos=1)

    def _take(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        with self._lock:
            if message.topic.startswith(f"{self._base}/events/"):
                self.got.append(mark(bytes(message.payload)))
                return
            self.newest[message.topic] = message.payload.decode()
            if message.retain:
                self.retained[message.topic] = message.payload.decode()

    def close(self) -> None:
        """Ends it."""
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Self:
        return self.wait_ready()

    def __exit__(self, *_: object) -> None:
        self.close()
