"""The MQTT 5 sink: each event with QoS 1, retained states, a last will, and Home Assistant's discovery.

Each connection starts over: states and discovery are published again, since the broker may have lost them.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from elastic_inference.adapters.sinks.access import SinkAccess
from elastic_inference.adapters.sinks.base import (
    DeliveryError,
    Item,
    LoginRefusedError,
    RefusedError,
    UnavailableError,
)
from elastic_inference.adapters.sinks.mqtt_client import PublishingClient
from elastic_inference.adapters.sinks.mqtt_state import States, event_topic
from elastic_inference.adapters.sinks.tls import ended_words, tls_context, tls_words
from elastic_inference.domain.events.event import Event
from elastic_inference.domain.sink_spec import MqttSink

KEEPALIVE_S = 15
# How many messages wait for the broker's confirmation at once, if the broker does not want fewer (Receive Maximum).
IN_FLIGHT = 20
_LOGIN = (0x86, 0x87, 0x8A, 0x8C)
_REFUSED = (0x90, 0x95, 0x99)
_WITH_WILL = 0x04
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)  # only Linux has it


class Mqtt:
    """Driven by the caller's thread: nothing happens between calls."""

    max_batch = IN_FLIGHT

    def __init__(self, spec: MqttSink, access: SinkAccess, worker: str) -> None:
        """`worker` is empty for the worker that delivers: the client id is then the same everywhere, so that the broker
        ends the connection of a former worker. Another text makes a client that does not touch states and will."""
        self._spec = spec
        self._access = access
        self._worker = worker
        self._states = States(spec.topic)
        self._found: set[tuple[str, str | None]] = set()
        self._client: PublishingClient | None = None
        self._limit: int | None = None
        # How the connection ended, and whether the broker said so.
        self._end: ReasonCode | None = None
        self._was_told = False
        self._codes: dict[int, int] = {}
        # Messages that wait for their confirmation, and how many may.
        self._unconfirmed: set[int] = set()
        self._window = IN_FLIGHT

    def recall(self, event: Event) -> None:
        """Updates the state without publishing it."""
        self._states.take(event)

    def deliver(self, items: Sequence[Item]) -> None:
        """Publishes events, then the states that they changed."""
        client = self._connected()
        for index, item in enumerate(items):
            if self._limit is not None and len(item.document) + 1024 > self._limit:
                if index:
                    self._publish_items(client, items[:index])
                raise RefusedError(f"the event is larger than the broker's maximum of {self._limit} bytes", index)
        self._publish_items(client, items)

    def idle(self) -> None:
        """Keeps the connection open, or reconnects: a broker that has restarted needs the states."""
        client = self._connected()
        if client.loop(0.01) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._drop()

    def close(self) -> None:
        """Disconnects. The broker publishes the will, since nobody delivers now."""
        client = self._client
        if client is not None:
            with contextlib.suppress(OSError, ValueError):
                client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=0 if self._worker else _WITH_WILL))
                client.loop(0.1)
        self._drop()

    def _publish_items(self, client: Client, items: Sequence[Item]) -> None:
        changed: dict[tuple[str, str | None], None] = {}
        infos = []
        for item in items:
            infos.append(self._send(client, event_topic(self._spec.topic, item.event), item.document, False, item))
            if not self._worker and (subject := self._states.take(item.event)):
                changed[subject] = None
        states = self._send_states(client, changed)
        self._confirm(client, infos)
        try:
            self._confirm(client, states)
        except DeliveryError as error:
            # The events have arrived; the next connection publishes all states.
            self._drop()
            raise UnavailableError(str(error), len(items)) from None

    def _send_states(self, client: Client, subjects: Iterable[tuple[str, str | None]]) -> list[MQTTMessageInfo]:
        spec, infos = self._spec, []
        for subject in subjects:
            if spec.discovery and subject not in self._found:
                for topic, payload in self._states.discovery("homeassistant", *subject):
                    infos.append(self._send(client, topic, payload.encode(), True))
                self._found.add(subject)
            infos += [
                self._send(client, topic, payload.encode(), True) for topic, payload in self._states.messages(*subject)
            ]
        return infos

    def _send(
        self, client: Client, topic: str, payload: bytes, retain: bool, item: Item | None = None
    ) -> MQTTMessageInfo:
        properties = None
        if item is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = "application/json"
            properties.UserProperty = [("id", item.event.id), ("rev", str(item.event.rev))] + (
                [("resent", "true")] if item.resent else []
            )
        if not self._wait(client, lambda: len(self._unconfirmed) < self._window):
            # No further message may be sent; which ones have arrived is not known, so all come again.
            self._raise_end(0, done=False, alone=False)
        info = client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        self._unconfirmed.add(info.mid)
        return info

    def _confirm(self, client: Client, infos: Sequence[MQTTMessageInfo]) -> None:
        """Waits for the broker's confirmations. Raises DeliveryError with the number that came in order."""
        mids = [info.mid for info in infos]
        done = self._wait(client, lambda: self._unconfirmed.isdisjoint(mids))
        for index, mid in enumerate(mids):
            code = self._codes.pop(mid, None)
            if code is None:
                self._raise_end(index, done=done, alone=len(mids) == 1)
            if code >= 0x80:
                for rest in mids[index + 1 :]:
                    self._codes.pop(rest, None)
                self._drop()
                self._raise_code(code, index)

    def _raise_end(self, delivered: int, *, done: bool, alone: bool) -> NoReturn:
        """Raises what the end of the connection, or its silence, says. `alone`: one message was on its way."""
        end, problem = self._end, self._client.problem if self._client else ""
        self._drop()
        if problem:
            raise UnavailableError(f"{self._spec.destination} {problem}: see what runs there", delivered)
        if end is not None and end.value in _REFUSED and alone:
            raise RefusedError(f"the broker refuses the event ({end})", delivered)
        if end is not None and end.value in _REFUSED:
            raise RefusedError(f"the broker refuses an event ({end})", delivered, whole_batch=True)
        raise UnavailableError(self._lost(end, done), delivered)

    def _raise_code(self, code: int, index: int) -> None:
        words = f"the broker refuses the event (reason code {code:#x})"
        if code in _LOGIN:
            raise LoginRefusedError(f"{words}: check the rights of this sink's user", index)
        if code in _REFUSED:
            raise RefusedError(words, index)
        raise UnavailableError(words, index)

    def _lost(self, end: ReasonCode | None, done: bool) -> str:
        destination = self._spec.destination
        if end is not None and not self._was_told:
            # paho calls this an unspecified error.
            return f"{destination} closed the connection without a reason: see whether it runs, and its log"
        if end is not None:
            return f"{destination} ended the connection ({end})"
        if done:
            return f"{destination} is unreachable"
        return f"{destination} did not confirm within {self._spec.timeout_s:g} s"

    def _wait(self, client: Client, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self._spec.timeout_s
        while not condition():
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._end is not None:
                return condition()
            _hurry(client)
            if client.loop(min(left_s, 0.1)) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return condition()
        return True

    def _connected(self) -> PublishingClient:
        if self._client is not None and self._client.is_connected() and self._end is None:
            return self._client
        self._drop()
        client, answer = self._open()
        code = answer[0] if answer else None
        if code is None or code.value >= 0x80:
            self._drop()
            if code is not None and code.value in _LOGIN:
                words = f"{self._spec.destination} refuses the login ({code})"
                raise LoginRefusedError(f"{words}: check `user` and `password`")
            if code is None and client.problem:
                raise UnavailableError(f"{self._spec.destination} {client.problem}: see what runs there")
            if code is None and self._spec.secure and self._end is not None:
                raise UnavailableError(ended_words(self._spec))
            why = str(code) if code is not None else f"no answer within {self._spec.timeout_s:g} s"
            raise UnavailableError(f"{self._spec.destination} does not accept the connection ({why})")
        if not self._worker:
            self._found.clear()
            try:
                self._confirm(client, [self._send(client, f"{self._spec.topic}/status", b"online", True)])
                self._confirm(client, self._send_states(client, list(self._states.subjects())))
            except DeliveryError as error:
                error.delivered = 0
                raise
        return client

    def _open(self) -> tuple[PublishingClient, list[ReasonCode]]:
        """A client whose connection has been asked for, and the answer of the broker if there is one."""
        spec = self._spec
        parts = urlsplit(spec.url)
        host, secure = str(parts.hostname), parts.scheme == "mqtts"
        address = self._access.address(host)
        name = f"ei-{spec.topic.replace('/', '-')}-{spec.name}{self._worker}"
        client = PublishingClient(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        client.connect_timeout = spec.timeout_s
        client.max_inflight_messages_set(IN_FLIGHT)
        if spec.user is not None:
            client.username_pw_set(spec.user, self._access.secret(spec.password))
        if (context := tls_context(spec, self._access)) is not None:
            client.tls_set_context(context)
        if not self._worker:
            client.will_set(f"{spec.topic}/status", b"offline", qos=1, retain=True)
        answer: list[ReasonCode] = []
        self._codes, self._unconfirmed = {}, set()
        self._end, self._limit, self._window = None, None, IN_FLIGHT

        def on_connect(_client: Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
            self._limit = getattr(properties, "MaximumPacketSize", None)
            self._window = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))
            if not answer:
                answer.append(code)

        def on_publish(_client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
            self._codes[mid] = code.value
            self._unconfirmed.discard(mid)

        def on_disconnect(
            _client: Client, _data: Any, flags: DisconnectFlags, code: ReasonCode, _properties: Any
        ) -> None:
            self._end, self._was_told = code, flags.is_disconnect_packet_from_server

        client.on_connect, client.on_publish, client.on_disconnect = on_connect, on_publish, on_disconnect
        try:
            client.connect(address, parts.port or (8883 if secure else 1883), KEEPALIVE_S, clean_start=True)
        except (OSError, ValueError) as error:
            if secure and (words := tls_words(error, spec)):
                raise UnavailableError(words) from None
            why = " ".join(str(error).split())[:150]
            raise UnavailableError(f"{spec.destination} can't be reached ({why})") from None
        self._client = client
        self._wait(client, lambda: bool(answer))
        return client, answer

    def _drop(self) -> None:
        """Closes the connection without a DISCONNECT; the broker then publishes the will."""
        client, self._client = self._client, None
        if client is not None and (connection := client.socket()) is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _hurry(client: Client) -> None:
    """Makes the kernel send and acknowledge without delay; it returns to its defaults after each read.

    Otherwise each side holds back small packets until the other has acknowledged the last ones, which takes 40 ms.
    """
    connection = client.socket()
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if _QUICK_ACK is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
