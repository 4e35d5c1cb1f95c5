"""paho's client for a broker that is not trusted: it takes only the packets that a publisher may get. Used by `mqtt`.

paho itself collects a packet of up to 256 MB, keeps every message of QoS 2 until the broker releases it, and queues an
answer to each ping. Our client subscribes to nothing, so a broker has no reason for any of these.
"""

from __future__ import annotations

from paho.mqtt.client import Client
from paho.mqtt.enums import MessageType, MQTTErrorCode

# The longest text of a reason, and what surrounds it.
MAX_PACKET_BYTES = 128 * 1024
_EXPECTED = frozenset((MessageType.CONNACK, MessageType.PUBACK, MessageType.PINGRESP, MessageType.DISCONNECT))


class PublishingClient(Client):
    """`problem` says why it has ended the connection; empty if it has not."""

    problem = ""

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MAX_PACKET_BYTES:
            self.problem = f"sent a packet of more than {MAX_PACKET_BYTES >> 10} KiB"
            raise ConnectionError(self.problem)
        return super()._sock_recv(bufsize)

    def _packet_handle(self) -> MQTTErrorCode:
        if self._in_packet["command"] & 0xF0 not in _EXPECTED:
            self.problem = "sent a packet that no publisher expects"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._packet_handle()
