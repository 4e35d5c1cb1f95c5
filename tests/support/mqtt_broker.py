"""A real MQTT broker, and every message that arrives there.

Started as a process by the dashboard's end-to-end tests, until its input ends. Writes JSON lines to standard output:
first `{"url": …}`, then `{"topic": …, "payload": …}` for each message.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.mosquitto import Mosquitto


def main() -> None:
    """Entry point."""
    with tempfile.TemporaryDirectory(prefix="ei-mosquitto-") as folder, Mosquitto(Path(folder)) as broker:
        client = Client(CallbackAPIVersion.VERSION2, "test", protocol=MQTTProtocolVersion.MQTTv5)
        client.on_connect = subscribe
        client.on_subscribe = lambda *_: say(url=broker.url)
        client.on_message = take
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        sys.stdin.read()
        client.disconnect()
        client.loop_stop()


def subscribe(client: Client, *_: Any) -> None:
    """Asks for everything."""
    client.subscribe("#", qos=1)


def take(_client: Client, _data: Any, message: MQTTMessage) -> None:
    """Writes a message."""
    say(topic=message.topic, payload=message.payload.decode())


def say(**fields: str) -> None:
    """Writes one JSON line to standard output."""
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
