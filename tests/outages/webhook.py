"""A webhook as a process, which can be frozen: `python -m tests.outages.webhook PORT FOLDER`.

It appends `id rev age_ms` of each event that it took to FOLDER/got. FOLDER/mode says how it answers: a status with a
Retry-After or, for 413, with the share of refused events (one of N); or `slow` and seconds.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            events = [each["data"] for each in body] if isinstance(body, list) else [body]
            mode = (folder / "mode").read_text()
            status, headers = answer_to(mode, events)
            if status == 200:
                now_ms = time.time() * 1000
                lines = "".join(f"{each['id']} {each['rev']} {now_ms - each['at_ms']:.1f}\n" for each in events)
                with lock, (folder / "got").open("a") as file:
                    file.write(lines)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        allow_reuse_address = True
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A worker that is killed, or no longer waits for the answer, is nothing to tell of."""

    Server(("127.0.0.1", port), Handler).serve_forever(0.05)


if __name__ == "__main__":
    main()
