"""A webhook as a process, which can be frozen: `python -m tests.outages.webhook PORT FOLDER`.

It appends `id rev age_ms` of each event that it took to FOLDER/got. FOLDER/mode says how it answers: a status with a
Retry-After or, for 413, with the share of refused events (one of N); or `slow` and seconds.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.webhook_server import Received, WebhookServer

FINE = "200 0"


def answer_to(mode: str, events: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer."""
    word, value = mode.split()
    if word == "slow":
        time.sleep(float(value))
        return 200, {}
    status, number = int(word), int(value)
    if status == 413:
        return (413 if any(order_of(each["id"]) % number == 0 for each in events) else 200), {}
    return status, {"retry-after": value} if status == 429 else {}


def order_of(event_id: str) -> int:
    """The order of the result that an event came of."""
    return int(event_id.rpartition("/")[2].split("-")[1])


def main() -> None:
    """Runs until it is killed."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    lock = threading.Lock()

    def answer(received: Received) -> tuple[int, dict[str, str]]:
        events = received.documents
        status, headers = answer_to((folder / "mode").read_text(), events)
        if status == 200:
            now_ms = time.time() * 1000
            lines = "".join(f"{each['id']} {each['rev']} {now_ms - each['at_ms']:.1f}\n" for each in events)
            with lock, (folder / "got").open("a") as file:
                file.write(lines)
        return status, headers

    server = WebhookServer(port, keeps=False)
    server.answer = answer
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
