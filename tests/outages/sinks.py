"""The sinks of the outages: a server of its own for each, and a consumer that goes on by itself."""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from redis.exceptions import RedisError

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.outages.arrivals import Arrivals
from tests.outages.webhook import FINE
from tests.support.kafka_server import KafkaServer
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port
from tests.support.waiting import wait_for

_TOPIC = "events"
# What mosquitto may have in flight to its consumer (MQTT 5's receive maximum): so much it may send again after it or
# the connection ended. Without this limit it is 65,535, and a consumer that lags gets thousands of events twice.
_RECEIVES = 500
# Of a cycle of half a second, a slow server runs for a tenth.
_CYCLE_S, _RUNS_S = 0.5, 0.05


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True


class SinkSite(abc.ABC):
    """One sink. `batch` is how many of its events can be in flight at once."""

    name = ""
    batch = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.name
        self.folder.mkdir()
        self.arrivals = Arrivals()

    @property
    @abc.abstractmethod
    def spec(self) -> dict[str, Any]:
        """As in `sinks.yaml`."""

    @property
    @abc.abstractmethod
    def pid(self) -> int:
        """Of its server."""

    @property
    def own_repeats(self) -> int:
        """How many events the server itself may have sent to its consumer again."""
        return 0

    @abc.abstractmethod
    def start(self) -> None:
        """Starts the server."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Ends the server, which keeps what it has."""

    @abc.abstractmethod
    def stop_empty(self) -> None:
        """Ends the server, which loses what it has."""

    def start_again(self) -> None:
        """Starts the server with what it kept."""
        self.start()

    def close(self) -> None:
        """Ends all of it."""
        with contextlib.suppress(ProcessLookupError):
            self.stop()

    def freeze(self, seconds: float) -> None:
        """The server answers nothing for this time."""
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGCONT)

    def slow(self, seconds: float) -> None:
        """The server runs a tenth of this time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.freeze(_CYCLE_S - _RUNS_S)
            time.sleep(_RUNS_S)


class MqttSite(SinkSite):
    """mosquitto, and a subscriber whose session it keeps."""

    name, batch = "mqtt", 20

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        keeps = ("persistence true", f"persistence_location {self.folder}/", "max_queued_messages 0")
        self._broker = Mosquitto(self.folder, *keeps, "max_inflight_messages 0")
        self._client = Client(CallbackAPIVersion.VERSION2, "consumer", protocol=MQTTProtocolVersion.MQTTv5)
        self._subscribed = threading.Event()
        self._connections = 0
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)

    @property
    def spec(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "mqtt", "url": self._broker.url, "timeout_s": 5, "discovery": False}

    @property
    def pid(self) -> int:
        process = self._broker._process
        assert process is not None
        return process.pid

    def start(self) -> None:
        self._subscribed.clear()
        self._broker.start()
        if not self._client.is_connected() and self._client._thread is None:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 3600
            properties.ReceiveMaximum = _RECEIVES
            self._client.connect_async("127.0.0.1", self._broker.port, 10, clean_start=False, properties=properties)
            self._client.loop_start()
        self.ready()

    def ready(self) -> None:
        assert self._subscribed.wait(60), "the subscriber is not back"

    def stop(self) -> None:
        self._broker.stop(signal.SIGTERM)

    def stop_empty(self) -> None:
        self._broker.stop()
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        super().close()

    @property
    def own_repeats(self) -> int:
        return max(0, self._connections - 1) * _RECEIVES

    def _subscribe(self, client: Client, *_: Any) -> None:
        self._connections += 1
        client.subscribe("elastic-inference/events/#", qos=1)

    def _take(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.arrivals.add(bytes(message.payload), message.dup)


class WebhookSite(SinkSite):
    """A webhook; `mode` says how it answers (`webhook.py`)."""

    name, batch = "webhook", 20

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._read_to = 0
        self._ends = threading.Event()
        (self.folder / "got").touch()
        self.mode = FINE
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def spec(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._port}/events"
        return {"name": self.name, "kind": "webhook", "url": url, "batch": self.batch, "timeout_s": 5}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def mode(self) -> str:
        return (self.folder / "mode").read_text()

    @mode.setter
    def mode(self, text: str) -> None:
        (self.folder / "mode.new").write_text(text)
        (self.folder / "mode.new").replace(self.folder / "mode")

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.outages.webhook", str(self._port), str(self.folder)]
        self._process = subprocess.Popen(command)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    stop_empty = stop

    def slow(self, seconds: float) -> None:
        """Each answer takes half a second: 40 events a second."""
        self.mode = "slow 0.5"
        time.sleep(seconds)
        self.mode = FINE

    def close(self) -> None:
        self._ends.set()
        super().close()

    def _follow(self) -> None:
        while not self._ends.wait(0.05):
            with (self.folder / "got").open() as file:
                file.seek(self._read_to)
                text = file.read()
            whole, newline, _ = text.rpartition("\n")
            self._read_to += len(whole + newline)
            for line in whole.splitlines():
                event_id, revision, age_ms = line.split()
                self.arrivals.note(event_id, int(revision), float(age_ms))


class RedisSite(SinkSite):
    """Another Redis that writes its stream to disk, and a reader of the stream."""

    name, batch = "redis", 100

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = EmbeddedValkey(port=free_port(), options=("--appendonly", "yes"), folder=self.folder)
        self._last = b"0-0"
        self._ends = threading.Event()
        self._reader = threading.Thread(target=self._follow, daemon=True)

    @property
    def spec(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "redis", "url": self._server.url}

    @property
    def pid(self) -> int:
        assert self._server.pid is not None
        return self._server.pid

    def start(self) -> None:
        self._server.start(60)
        if not self._reader.is_alive():
            self._reader.start()

    def stop(self) -> None:
        self._server.stop()

    def stop_empty(self) -> None:
        self._server.kill()
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        self._last = b"0-0"

    def refuse(self, seconds: float) -> None:
        """It has no memory for another entry."""
        with redis.Redis(port=self._server.port) as client:
            client.config_set("maxmemory", "1")
            time.sleep(seconds)
            client.config_set("maxmemory", "0")

    def close(self) -> None:
        self._ends.set()
        super().close()

    def _follow(self) -> None:
        client = redis.Redis(port=self._server.port, socket_timeout=5, retry=None)
        while not self._ends.is_set():
            last = self._last
            try:
                rows: Any = client.xread({"events": last}, count=500, block=500)
            except (RedisError, OSError):
                time.sleep(0.1)
                continue
            for entry_id, fields in rows[0][1] if rows else ():
                self.arrivals.add(fields[b"json"])
                if self._last is last:
                    last = self._last = entry_id
                else:
                    break  # it has been emptied meanwhile


class KafkaSite(SinkSite):
    """A Kafka server of one node, and a consumer of its topic's only partition.

    The consumer joins no group: one whose session ends in an outage is assigned its partition again only 45 s after the
    server is back, and then reads again what it has read since its last commit.
    """

    name, batch = "kafka", 100

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = KafkaServer(self.folder)
        self._ends = threading.Event()
        self._again = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def spec(self) -> dict[str, Any]:
        brokers = [self._server.address]
        return {"name": self.name, "kind": "kafka", "brokers": brokers, "topic": _TOPIC, "timeout_s": 5}

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def start(self) -> None:
        self._server.start()
        self._ends = threading.Event()
        self._threads.append(threading.Thread(target=self._follow, args=(self._ends,), daemon=True))
        self._threads[-1].start()

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        wait_for(lambda: has_ended(self.pid), 60, "the end of Kafka")

    def start_again(self) -> None:
        """Starts it with the data that it had, which its tool does not."""
        jars = next(self.folder.glob("lib-*[0-9]"))
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["java", "-Xmx512m", "-cp", f"{jars}/*", "kafka.Kafka", "server.properties"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=process.wait, daemon=True).start()
        (self.folder / "pid").write_text(str(process.pid))

    def stop_empty(self) -> None:
        self._ends.set()
        for each in self._threads:
            each.join(30)
        self._server.stop()

    def close(self) -> None:
        self.stop_empty()

    def _follow(self, ends: threading.Event) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._server.address,
                "group.id": "never joined",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "allow.auto.create.topics": True,
                "topic.metadata.refresh.interval.ms": 2000,
                "reconnect.backoff.max.ms": 1000,
            }
        )
        consumer.assign([TopicPartition(_TOPIC, 0, OFFSET_BEGINNING)])
        while not ends.is_set():
            with contextlib.suppress(KafkaException):
                # `consume` with a time limit would wait for 500 of them.
                first = consumer.poll(0.1)
                for message in [first, *consumer.consume(500, 0)] if first is not None else ():
                    value = message.value()
                    if message.error() is None and value is not None:
                        self.arrivals.add(value)
        consumer.close()
