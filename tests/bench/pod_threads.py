"""Runs a service's entry point, and writes the ids of Python's threads to a file at each SIGUSR1.

`python pod_threads.py FILE ENTRY`. Started by `pod_cost` with the Python of any build, so it imports nothing of ours.
"""

import json
import os
import runpy
import signal
import sys
import threading
from pathlib import Path


def _tell(*_: object) -> None:
    ids = [thread.native_id for thread in threading.enumerate()]
    written = Path(f"{FILE}.new")
    written.write_text(json.dumps(ids))
    os.replace(written, FILE)


if __name__ == "__main__":
    FILE, entry = sys.argv[1:]
    signal.signal(signal.SIGUSR1, _tell)
    sys.argv = [entry]
    sys.path[0] = str(Path(entry).parent)
    runpy.run_path(entry, run_name="__main__")
